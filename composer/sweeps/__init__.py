"""Hydra sweeps.

In reading order: `jobs` (a sweep that stops, resumes and freezes its code) and `overlays` (TensorBoard pages that
show the runs of a sweep over one another).
"""
