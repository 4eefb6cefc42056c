"""One file per command, named after the command.

`train`, `generate`, `export`, `live`, `evaluate`, `compare`, `explore`, `render`, `report` and `copying`; each has a
function `run` (`train`: `start` and `resume`) that takes the typed config. `new`, which no config describes, takes its
command line.
"""
