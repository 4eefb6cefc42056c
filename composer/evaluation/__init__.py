"""Measures of predictions and of music.

In reading order: `baselines` (what a run has to beat), `scores` (accuracy and cross-entropy of a split),
`whole_pieces` (every event of held-out pieces), `calibration`, `context` (how far back the network looks),
`statistics` (paired differences and intervals), `reference` (the music to compare with), `copying`, `structure`,
`quality` and `distance` (features of composed and human music), `samples`.
"""
