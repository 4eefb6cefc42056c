"""Typed configs: the schema of every key, and Hydra's composition of them.

In reading order: `schema` (one dataclass per group of keys, with their limits), `scales` (musical scales by name),
`compose` (registers the schema with Hydra, composes and checks configs, reads the config of an earlier run).
"""
