"""The Python API: what `import composer` offers, without torch until something is trained, composed or scored.

In reading order: `runs` (load and find runs, compose, evaluate), `training` (train and resume), `sweeps`, `comparison`,
`pieces` (read MIDI files), `overrides` (keyword arguments as keys of a config), `frames` (tables for pandas), `display`
(HTML for notebooks).
"""
