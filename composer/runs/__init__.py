"""The folder of a run and what is written there.

In reading order: `layout` (names of files), `checkpoint` (saving and resuming exactly), `record` (the events of a run),
`tensorboard` (event files), `code` (a snapshot of the code), `manifest` (one JSON file that describes the run).
"""
