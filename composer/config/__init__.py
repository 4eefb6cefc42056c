"""Typed configs: the schema of every key, and Hydra's composition of them.

In reading order: `limits` (what values may be), `data`, `model`, `optimizers`, `trainer`, `loggers`, `callbacks`,
`training`, `sampling` and `commands` (a dataclass per group of keys or per option, each field with its limits),
`scales` (musical scales), `paths`, `keys` (keys on the command line), `compose` (Hydra's config as dataclasses),
`run_file` (the config of a run, read back), `plain` (groups in checkpoints), `reference` (every key in words), `help`
and `explain` (where a terminal shows it) and `completion` (in shells). The values are those of `conf/`, and nowhere
else: `composer COMMAND --cfg job` shows them.
"""
