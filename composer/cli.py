"""`composer COMMAND ...`: one line for every mistake, exit status 1 (2 for a wrong command line)."""

from __future__ import annotations

import difflib
import logging
import os
import re
import sys
import traceback
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

from composer import __version__, plugins, standard_streams, terminal
from composer.config.commands import (
    SCHEMAS,
    CompareConfig,
    CopyingConfig,
    EvaluateConfig,
    ExploreConfig,
    ExportConfig,
    GenerateConfig,
    LiveConfig,
    RenderConfig,
    ReportConfig,
)
from composer.config.completion import completion
from composer.config.compose import compose
from composer.config.keys import path_first, schema_keys
from composer.config.texts import exists, quoted
from composer.config.training import TrainConfig
from composer.errors import ComposerError, UsageError
from composer.files import printable
from composer.progress import wipe, working
from composer.runs.code import frozen_conf
from composer.sweeps.hydra import hydra_command
from composer.sweeps.jobs import jobs, objective_of
from composer.sweeps.processes import end_with_parent

# What a command says while it imports what it needs.
_LOADING = "loading the libraries"
_TORCH = "loading PyTorch"


def train(arguments: list[str]) -> None:
    """`composer train [overrides]`, `composer train -m ...`, `composer train resume=RUN_DIR`."""
    end_with_parent()
    resumed = [argument for argument in arguments if argument.startswith("resume=")]
    if resumed:
        from composer.commands import requests

        if not any(argument.startswith("-") for argument in arguments):
            requests.run_directory(resumed[-1].removeprefix("resume="))
        with working(_TORCH):
            from composer.commands.train import resume

        rest = plugins.enable_named([a for a in arguments if a not in resumed], record=False)
        resume(resumed[-1].removeprefix("resume="), rest)
        return

    def job(config: TrainConfig, folder: Path) -> float:
        if config.resume is not None:
            raise UsageError(f"resume={config.resume}: only composer train resume=RUN_DIR resumes a run")
        with working(_TORCH):
            from composer.commands.train import start

        return objective_of(start(config, folder))

    _run_command("train", arguments, job, _load_summary)


def _load_summary() -> Callable[[Path], None]:
    """What a sweep ends with: the comparison of its arms, and TensorBoard's runs of them."""
    from composer.commands.compare import run
    from composer.compare import figures  # noqa: F401, imported late by `run` else
    from composer.sweeps.overlays import write_overlays

    return lambda folder: _summarise_sweep(folder, run, write_overlays)


def _summarise_sweep(folder: Path, run: Callable[[CompareConfig], Path], write_overlays: Callable[..., None]) -> None:
    figures: list[Path] = []
    try:
        print()
        figures = sorted(
            run(compose(f"sweep={quoted(str(folder))}", command="compare", conf=frozen_conf(folder))).glob("*.png")
        )
    except Exception as error:  # the runs are done: nothing here may look like their failure
        warnings.warn(f"not compared: {(str(error) or repr(error)).splitlines()[0]}", stacklevel=2)
    with working("writing the means over the seeds for TensorBoard"):
        write_overlays(folder, jobs(folder), figures)


def generate(arguments: list[str]) -> None:
    """`composer generate [RUN_DIR_OR_CKPT] [sampling=PRESET] [key=value ...]`."""

    def job(config: GenerateConfig, folder: Path) -> list[str]:
        with working(_TORCH):
            from composer.commands.generate import run

        return [str(path) for path in run(config)]

    _run_command("generate", run_first(arguments, "generate"), job)


def evaluate(arguments: list[str]) -> None:
    """`composer evaluate RUN_DIR_OR_CKPT [data.path=FILE_OR_FOLDER]`."""

    def job(config: EvaluateConfig, folder: Path) -> str:
        with working(_TORCH):
            from composer.commands.evaluate import run

        return str(run(config))

    _run_command("evaluate", run_first(arguments, "evaluate"), job)


def compare(arguments: list[str]) -> None:
    """`composer compare SWEEP_DIR [key=value ...]`; needs no torch."""

    def job(config: CompareConfig, folder: Path) -> str:
        with working(_LOADING):
            from composer.commands.compare import run

        return str(run(config))

    if not arguments:
        raise UsageError("name the folder of the runs: composer compare SWEEP_DIR")
    _run_command("compare", path_first(arguments, "sweep", "compare"), job)


def export(arguments: list[str]) -> None:
    """`composer export RUN_DIR_OR_CKPT output=FILE.safetensors`."""

    def job(config: ExportConfig, folder: Path) -> str:
        with working(_TORCH):
            from composer.commands.export import run

        return str(run(config))

    _run_command("export", run_first(arguments, "export"), job)


def explore(arguments: list[str]) -> None:
    """`composer explore [data=midi data.path=FILE_OR_FOLDER] [encoding=...] [data.split=...]`."""

    def job(config: ExploreConfig, folder: Path) -> str:
        with working(_LOADING):
            from composer.commands.explore import run

        return str(run(config))

    _run_command("explore", arguments, job)


def render(arguments: list[str]) -> None:
    """`composer render FILE.mid [key=value ...]`."""

    def job(config: RenderConfig, folder: Path) -> str:
        with working(_LOADING):
            from composer.commands.render import run

        return str(run(config))

    _run_command("render", file_first(arguments, "render"), job)


def report(arguments: list[str]) -> None:
    """`composer report [RUN_DIR_OR_SWEEP_DIR] [key=value ...]`."""

    def job(config: ReportConfig, folder: Path) -> str:
        with working(_TORCH):
            from composer.commands.report import run

        return str(run(config))

    _run_command("report", path_first(arguments, "folder", "report"), job)


def copying(arguments: list[str]) -> None:
    """`composer copying FILE.mid RUN_DIR [key=value ...]`."""

    def job(config: CopyingConfig, folder: Path) -> str:
        with working(_LOADING):
            from composer.commands.copying import run

        return str(run(config))

    _run_command("copying", run_first(file_first(arguments, "copying"), "copying"), job)


def live(arguments: list[str]) -> None:
    """`composer live RUN_DIR_OR_CKPT [port=NAME] [sampling=PRESET] [key=value ...]`."""

    def job(config: LiveConfig, folder: Path) -> None:
        with working(_TORCH):
            from composer.commands.live import run

        run(config)

    _run_command("live", run_first(arguments, "live"), job)


def explain(arguments: list[str]) -> None:
    """`composer explain KEY_OR_GROUP ...`; needs no torch."""
    from composer.commands.explain import run

    print(printable(run(arguments)))


def new(arguments: list[str]) -> None:
    """`composer new FOLDER`; needs neither Hydra nor torch."""
    from composer.commands.new import new

    new(arguments)


def _run_command(
    command: str,
    arguments: list[str],
    job: Callable[[Any, Path], Any],
    load_summary: Callable[[], Callable[[Path], None]] | None = None,
) -> None:
    """Run a command by Hydra; each job first checks its paths, before it imports torch."""

    def checked(config: Any, folder: Path) -> Any:
        from composer.commands import requests

        requests.check(command, config, folder)
        return job(config, folder)

    hydra_command(command, arguments, checked, *([] if load_summary is None else [load_summary]))


def run_first(arguments: list[str], command: str) -> list[str]:
    """Let a run stand without its key: `RUN_DIR n=4` as `run='RUN_DIR' n=4`.

    Raises:
        UsageError: more than one run.
    """
    named = any(argument.startswith("run=") for argument in arguments)
    return arguments if named else path_first(arguments, "run", command)


def file_first(arguments: list[str], command: str) -> list[str]:
    """A file that is named without a key, as an override: `a b.mid` as `file='a b.mid'`."""
    if not arguments or arguments[0].startswith("-"):
        return arguments
    key = re.match(r"[+~]*([a-z_.]+)=", arguments[0])
    if key is not None and (key[1] in schema_keys(SCHEMAS[command]) or not exists(arguments[0])):
        return arguments
    return [f"file={quoted(arguments[0])}", *arguments[1:]]


# The commands import torch when a job runs and not before, so that help and --cfg are quick.
COMMANDS: dict[str, tuple[Callable[[list[str]], None], str]] = {
    "train": (train, "train a network: one run, a sweep with -m, or resume=RUN_DIR"),
    "generate": (generate, "compose: RUN_DIR_OR_CKPT, or the run that comes with composer"),
    "evaluate": (evaluate, "score a run on held-out music: RUN_DIR_OR_CKPT"),
    "compare": (compare, "tables, statistics and figures of a sweep: SWEEP_DIR"),
    "explore": (explore, "look at music: histograms, what the encoding makes of it, how far the split leaks"),
    "export": (export, "write a run's weights for sharing, or ONNX: RUN_DIR_OR_CKPT output=NAME.safetensors"),
    "report": (report, "a page that shows and plays a run or a sweep: DIR, or the newest"),
    "render": (render, "make a MIDI file readable and audible: FILE.mid"),
    "copying": (copying, "what a MIDI file copies from a run's training music: FILE.mid RUN_DIR"),
    "explain": (explain, "what a key, a group or an option is: KEY_OR_GROUP"),
    "live": (live, "play to a MIDI port while composing: RUN_DIR_OR_CKPT port=NAME"),
    "new": (new, "make a project of your own: configs, a plugin, its test: FOLDER"),
}


def main(arguments: list[str] | None = None) -> None:
    """Run a command and exit with its status."""
    standard_streams.set_up()
    # A log that cannot be written, on a full disk, is no reason for a traceback: the record's own files tell it.
    logging.raiseExceptions = False
    status = _main(sys.argv[1:] if arguments is None else arguments)
    problem = standard_streams.failure()
    if problem is not None:
        print(f"composer: {problem}", file=sys.stderr)
    sys.exit(status or int(problem is not None))


def _main(arguments: list[str]) -> int:
    if arguments in ([], ["-h"], ["--help"], ["help"]):
        print(usage())
        return 0 if arguments else 2
    if arguments == ["--version"]:
        print(f"composer {__version__}")
        return 0
    command, *rest = arguments
    if command == "completion":
        try:
            print(completion(rest, [*COMMANDS, "completion"]))
        except UsageError as error:
            print(f"composer: {error}", file=sys.stderr)
            return error.exit_status
        return 0
    if command not in COMMANDS:
        near = difflib.get_close_matches(command, COMMANDS, n=1)
        hint = f"; did you mean {near[0]}?" if near else f"; there are {', '.join(COMMANDS)}"
        _complain(f"composer: there is no command {command}{hint}")
        return 2
    return run(command, rest)


def usage() -> str:
    """The help text."""
    commands = [f"  {name:<10}  {text}" for name, (_, text) in COMMANDS.items()]
    text = "\n".join(
        [
            "usage: composer COMMAND [key=value ...]",
            "",
            *commands,
            "",
            'eval "$(composer completion bash)" completes commands, keys and values (also zsh, fish).',
            "composer COMMAND --help lists a command's keys; README.md shows the way.",
        ]
    )
    return terminal.wrap(text, terminal.text_width())


def run(command: str, arguments: list[str]) -> int:
    """Run one command; the exit status."""
    # A warning is a line for the user, not a place in the source.
    warnings.showwarning = _show_warning  # type: ignore[assignment]
    try:
        COMMANDS[command][0](arguments)
    except ComposerError as error:
        _complain(f"composer {command}: {error}")
        if os.environ.get("COMPOSER_DEBUG"):
            traceback.print_exception(error)
        return error.exit_status
    except KeyboardInterrupt:
        print(f"composer {command}: stopped", file=sys.stderr)
        return 130
    except Exception as error:
        fault = plugins.fault(error)
        if fault is None or os.environ.get("COMPOSER_DEBUG"):
            raise
        _complain(f"composer {command}: {fault}")
        return fault.exit_status
    return 0


def _show_warning(message: Warning | str, category: type[Warning], *rest: object) -> None:
    _complain(f"warning: {message}")


def _complain(text: str) -> None:
    """Print a line on standard error, wrapped on a terminal alone: programs that read it expect one line."""
    wipe()
    print(terminal.wrap(printable(text), terminal.width_of(sys.stderr)), file=sys.stderr)


if __name__ == "__main__":
    main()
