"""`composer export`: write the weights as safetensors, or the network as ONNX."""

from __future__ import annotations

from pathlib import Path

from composer.composing import onnx_file as onnxfile
from composer.composing import safetensors_file as export
from composer.composing.composer import Composer
from composer.config import run_file
from composer.config.commands import ExportConfig
from composer.files import display_path, user_path
from composer.progress import say, working
from composer.runs import checkpoint as ckpt


def run(config: ExportConfig) -> Path:
    """Write a run's weights as safetensors, or its network as ONNX; the file."""
    with working("reading the network"):
        composer = Composer.load(config.run, config.checkpoint)
    path = user_path(config.output)
    if path.suffix == onnxfile.SUFFIX:
        with working("translating the network to ONNX and checking it"):
            onnxfile.write(path, composer.model, composer.plain())
        say(f"{display_path(path)}  {path.stat().st_size:,} bytes; run it with onnxruntime (docs/compose.md)")
        return path
    yaml = run_file.to_yaml(composer.config)
    values = ckpt.composer_values(yaml, composer.vocabulary, composer.origin)
    values["sampling"] = composer.setting.to_plain()
    export.write(path, composer.model.state_dict(), values)
    say(
        f"{display_path(path)}  {path.stat().st_size:,} bytes; compose with: composer generate run={display_path(path)}"
    )
    return path
