"""Sweeps of training runs with Hydra.

In reading order: `jobs` (a sweep that stops, resumes and freezes its code), `standing` (how far a job is), `watch`
(what a sweep shows), `processes` (one per job), `job_configs` (their configs), `hydra` (Hydra's entry point) and
`overlays` (TensorBoard pages that show the runs of a sweep over one another).
"""
