"""From pieces to batches.

In reading order: `vocabulary` (classes of note, velocity and time), `splits` (training and held-out windows),
`leakage` (held-out windows that also occur in training), `window_sets` (start positions of windows), `windows`
(windows as tensors), `augmentation`, `streams` (consecutive windows for truncated BPTT), `prepare` (all of it for one
run) and `datamodule`.
"""
