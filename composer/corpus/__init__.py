"""Sets of pieces: read from files, kept on disk, described.

In reading order: `corpus` (pieces with their names), `read_many` (files read in parallel), `store` and `build_store`
(a corpus on disk that need not fit in memory), `metadata` (which piece belongs to which split), `duplicates`
(pieces that share music), `chorales` (the bundled chorales).
"""
