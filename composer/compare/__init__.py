"""Comparison of the runs of one or more sweeps, for `composer compare`.

In reading order: `runs` and `reading` (the runs and their metrics), `comparability` (which may be compared), `effects`
(paired differences), `conclusions` (in words), `account` (what was trained), `rounding`, `tables`, `table_formats` and
`latex`, `bands` (learning curves), `captions`, `curve_figures` and `figures`.
"""
