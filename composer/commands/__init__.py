"""One file per command, named after the command.

`train`, `evaluate`, `compare`, `explore`, `render`, `report` and `copying`; each has a function `run` that takes the
typed config and returns after printing.
"""
