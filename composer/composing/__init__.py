"""Composing with a trained network.

In reading order: `sampling` (temperature, top-k, top-p), `rules` (constraints on what may be sampled), `beam`,
`lengths` (pieces of a given length), `composer` (a checkpoint to a composed piece), `arguments` (its keyword
arguments), `setting` (the sampling of a run), `live` (to a MIDI port); `safetensors_file` and `onnx_file` are exports,
which few users need.
"""
