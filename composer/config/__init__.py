"""Typed configs: the schema of every key, and Hydra's composition of them.

In reading order: `limits` (limits of values, which the fields carry), `data`, `model`, `training`, `sampling` and `commands` (one dataclass
per group of keys), `scales` (musical scales), `paths`, `keys` (keys on the command line), `compose` (Hydra's config
as dataclasses) and `run_file` (the config of a run, read back).
"""
