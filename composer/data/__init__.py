"""Data: from pieces to batches, for corpora in memory and on disk.

In reading order: `vocabulary` (classes of note, velocity and time), `tokens` (the events of a corpus as classes),
`window_sets` (start positions of windows), `permutation` (a random order without an array), `splits` (training and
held-out windows), `leakage` (held-out windows that also occur in training), `encoded_rhythm` (the
rhythm before and after encoding), `prepare` (all these steps for one run), `bar_position` (the place in the bar as a
further input), `augmentation`, `windows` (windows as tensors), `streams` (consecutive windows for truncated BPTT) and
`datamodule`.
"""
