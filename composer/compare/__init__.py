"""Comparison of the runs of one or more sweeps, for `composer compare`.

In reading order: `runs` and `reading` (the runs and their metrics), `comparability` (which may be compared), `effects`
(paired differences), `conclusions` (in words), `tables` and `table_formats`, `figures`.
"""
