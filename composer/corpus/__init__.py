"""Corpora: sets of pieces read from files or from a store on disk, with their metadata.

In reading order: `corpus` (pieces with their names), `read_many` (files read in parallel), `store` and `build_store`
(a corpus on disk that need not fit in memory), `metadata` (splits and groups from a CSV file), `duplicates`
(copies and near-copies), `chorales` (Bach's chorales from music21), `jsb_chorales` (the same as piano rolls on the
published split).
"""
