"""Measures of predictions and of music.

In reading order: `baselines` (what a run has to beat), `scores` (accuracy and cross-entropy of a split), `calibration`,
`context` (how far back the network looks), `statistics` (paired differences and intervals), `reference` (the music
to compare with), `copying`, `structure`, `quality` and `distance` (features of composed and human music), `samples`.
"""
