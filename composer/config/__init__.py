"""Typed configs: the schema of every key, and Hydra's composition of them.

In reading order: `limits` (what values may be), `data`, `model`, `training`, `sampling` and `commands` (a dataclass per
group of keys, each field with its limits), `scales` (musical scales), `paths`, `keys` (keys on the command line),
`compose` (Hydra's config as dataclasses) and `run_file` (the config of a run, read back). The values are those of
`conf/`, and nowhere else: `composer COMMAND --cfg job` shows them.
"""
