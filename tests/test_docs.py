"""The commands and snippets of the README and the docs are real."""

import ast
import inspect
import logging
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import composer
from composer import cli
from composer.composing.composer import Composer
from composer.config import compose as configs
from composer.config import keys
from composer.config.commands import SCHEMAS
from composer.config.explain import explain

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def blocks(language: str) -> list[tuple[str, str]]:
    found = []
    for page in PAGES:
        for body in re.findall(rf"```{language}\n(.*?)```", page.read_text(), flags=re.DOTALL):
            found.append((page.name, body))
    return found


def commands() -> list[tuple[str, str]]:
    lines = [(page, line) for page, body in blocks("sh") for line in body.splitlines()]
    return [(page, line.split("#")[0].strip()) for page, line in lines if "composer" in line]


@pytest.mark.slow
@pytest.mark.parametrize(("page", "line"), commands())
def test_every_documented_command_composes(page: str, line: str) -> None:
    program, command, *arguments = shlex.split(line)
    if page in ("hydra.md", "extend.md"):
        pytest.skip("another test runs it")
    if program in ("python3", "make", "tensorboard") or program.endswith("pip"):
        pytest.skip("not one of our commands")
    assert program.endswith("composer"), page
    if command == "new":
        assert len(arguments) == 1
        return
    if command == "explain":
        assert arguments[0] in explain(arguments)
        return
    if command == "compare":
        arguments = keys.path_first(arguments, "sweep", command)
    if command == "report":
        arguments = keys.path_first(arguments, "folder", command)
    arguments = cli.file_first(arguments, command) if command in ("render", "copying") else arguments
    with_run = ("generate", "live", "evaluate", "export", "copying")
    arguments = cli.run_first(arguments, command) if command in with_run else arguments
    overrides = keys.overrides_of(keys.as_typed(arguments, command))
    keys.check_keys(keys.parse_overrides(overrides), command)
    # What a search draws, such as interval(0,1), is no value.
    resumed = [override for override in overrides if not override.startswith("resume=") and "(" not in override]
    # A sweep's values are composed one by one: the first of each stands for all.
    single = [re.sub(r"=([^\[,]+),.*", r"=\1", override) for override in resumed]
    assert configs.compose(*single, command=command) is not None


# Pages whose blocks of Python are run.
RUN = ("lightning.md", "python.md", "extend.md")


@pytest.mark.parametrize(("page", "body"), [block for block in blocks("python") if block[0] not in RUN])
def test_every_documented_snippet_uses_what_exists(page: str, body: str) -> None:
    tree = ast.parse(body)
    called = {node.func.attr for node in ast.walk(tree) if isinstance(node, ast.Call) and hasattr(node.func, "attr")}
    assert called <= {"load", "generate", "save"}, page
    assert callable(composer.load)
    keywords = {k.arg for node in ast.walk(tree) if isinstance(node, ast.Call) for k in node.keywords}
    known = set(inspect.signature(Composer.generate).parameters)
    assert keywords <= known


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_between_pages_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", page.read_text()):
        if not target.startswith("http"):
            assert (page.parent / target).exists(), target


def test_every_key_named_in_the_docs_exists() -> None:
    roots_of_commands = (SCHEMAS[name] for name in SCHEMAS)
    known = {key for schema in roots_of_commands for key in keys.schema_keys(schema)}
    roots = {key.split(".")[0] for key in known if "." in key}
    # Of docs/extend.md the keys are those of its own network.
    for page in (page for page in PAGES if page.name != "extend.md"):
        for name in re.findall(r"`([a-z_]+\.[a-z_0-9]+)(?:=[^`]*)?`", page.read_text()):
            if name.split(".")[0] in roots and not name.endswith((".yaml", ".py", ".json", ".csv", ".png")):
                assert name in known, (page.name, name)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_the_example_of_an_own_network_runs(tmp_path: Path) -> None:
    module, checks = (body for page, body in blocks("python") if page == "extend.md")
    (tmp_path / "my_parts.py").write_text(module)
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}

    def run(*command: str) -> str:
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    assert "composer new my-lab" in [text for page, text in commands() if page == "extend.md"]
    (command,) = [text for page, text in commands() if page == "extend.md" and "model.expansion=4" in text]
    small = ["trainer.max_epochs=1", "sampling_grid.pieces=0", "logging.sample_media=false", "hydra.run.dir=run"]
    run(sys.executable, "-m", "composer.cli", *command.split()[1:], *small)
    run(sys.executable, "-m", "composer.cli", "generate", "run", "plugins=[my_parts]", "events=20", "primer=none")
    run(sys.executable, "-c", f"from my_parts import Pool\n{checks}")


@pytest.mark.slow
@pytest.mark.filterwarnings(
    "ignore:.*does not have many workers.*", "ignore:.*isinstance.treespec, LeafSpec.*:FutureWarning"
)
@pytest.mark.filterwarnings("ignore:.*logging interval.*")
def test_the_examples_for_lightning_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    for page, body in blocks("python"):
        if page == "lightning.md":
            exec(compile(body, page, "exec"), names)
    assert (tmp_path / "piece.mid").exists()
    assert (tmp_path / "logs").is_dir()
    assert (tmp_path / "from_my_run.mid").exists()
    assert (tmp_path / "my_run" / "metrics.csv").read_text().count("\n") == 3


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*isinstance.treespec, LeafSpec.*:FutureWarning")
def test_the_examples_for_python_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    # What the example for messages changes.
    monkeypatch.setattr(logging.root, "handlers", [])
    monkeypatch.setattr(logging.root, "level", logging.WARNING)
    names: dict[str, Any] = {}
    for page, body in blocks("python"):
        if page == "python.md":
            exec(compile(body, page, "exec"), names)
    assert names["run"].metrics.index.tolist() == [1, 2, 3]
    assert names["best"] == names["run"].metrics["loss/val"].min()
    assert len(names["variants"]) == 3
    assert names["comparison"].arms == ["model.hidden_size=16", "model.hidden_size=32"]
    assert (tmp_path / "compared" / "report.md").exists()
    assert (tmp_path / "curves.pdf").exists()
    assert names["roll"].shape == (128, 90)
    assert [note.start for note in names["midi"].instruments[0].notes[:2]] == [0.0, pytest.approx(2 / 3, abs=1e-3)]
    assert "there is no key model.hiden_size; did you mean model.hidden_size" in capsys.readouterr().out
