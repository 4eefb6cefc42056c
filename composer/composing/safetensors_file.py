"""Weights as safetensors: written by `composer export`, and read back.

The file holds the tensors of the network and, as its metadata, the config, the vocabulary and the primer as JSON: data,
no code, readable without torch. It composes as the checkpoint does (`composer generate run=FILE.safetensors`).
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch

from composer.errors import ComposerError
from composer.files import read_regular, write_atomic
from composer.runs.checkpoint import FORMAT, MAX_BYTES, check_finite

SUFFIX = ".safetensors"
_KEY = "composer"


def _safetensors() -> Any:
    try:
        import safetensors.torch
    except ImportError as error:
        raise ComposerError("safetensors is not installed; pip install 'lstm-composer[safetensors]'") from error
    return safetensors


def write(path: Path, state: dict[str, torch.Tensor], values: dict[str, Any]) -> None:
    """Write weights all or nothing.

    Args:
        path: the file.
        state: the network's tensors by name.
        values: what a checkpoint holds under `composer`.

    Raises:
        ComposerError: safetensors is not installed, or the file cannot be written.
    """
    origin = {**values["origin"], "primer": values["origin"]["primer"].tolist()}
    metadata = {_KEY: json.dumps({**values, "origin": origin})}
    content = _safetensors().torch.save({name: tensor.contiguous() for name, tensor in state.items()}, metadata)
    write_atomic(path, lambda stream: stream.write(content))


def read(path: Path) -> dict[str, Any]:
    """Read what `write` wrote, in the layout of a checkpoint.

    Raises:
        ComposerError: safetensors is not installed, or the file is missing, damaged, too large or not from composer.
    """
    safetensors = _safetensors()
    try:
        content = read_regular(path, MAX_BYTES)
        # The header is JSON of a length that the first eight bytes state.
        header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
        state = {f"model.{name}": tensor for name, tensor in safetensors.torch.load(content).items()}
        values = json.loads(header["__metadata__"][_KEY])
        values["origin"]["primer"] = torch.tensor(values["origin"]["primer"], dtype=torch.uint8)
        if values["format"] != FORMAT:
            raise ComposerError(f"{path}: written by another version of composer")
    except (KeyError, TypeError, ValueError, RuntimeError, RecursionError, safetensors.SafetensorError) as error:
        raise ComposerError(f"{path}: not weights that composer exported, or damaged ({error})") from error
    check_finite(path, state)
    return {"state_dict": state, "composer": values}
