"""What the modules may know of each other, read from their sources."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parent.parent / "composer"
# A module imports only what stands before it, so nothing goes round in circles and each can be understood alone.
ORDER = [
    "errors",
    "config.scales",
    "config.schema",
    "music.prelude",
    "music.markings",
    "evaluation.legend",
    "music.events",
    "music.notes",
    "music.tonality",
    "evaluation.copying",
    "evaluation.structure",
    "runs.layout",
    "composing.setting",
    "runs.code",
    "sweeps.jobs",
    "music.midi_bytes",
    "music.midi",
    "corpus.read_many",
    "data.vocabulary",
    "music.rhythm",
    "evaluation.phrases",
    "evaluation.surprise",
    "evaluation.distance",
    "evaluation.quality",
    "corpus.store",
    "data.bar_position",
    "progress",
    "corpus.build_store",
    "data.permutation",
    "data.window_sets",
    "data.splits",
    "corpus.duplicates",
    "evaluation.reference",
    "corpus.metadata",
    "data.leakage",
    "corpus.chorales",
    "corpus.corpus",
    "data.prepare",
    "evaluation.baselines",
    "data.augmentation",
    "data.windows",
    "data.streams",
    "data.datamodule",
    "nets.network",
    "nets.stepping",
    "nets.recurrent",
    "nets.transformer",
    "nets.build",
    "training.metrics",
    "training.losses",
    "training.module",
    "runs.tensorboard",
    "runs.record",
    "runs.checkpoint",
    "composing.safetensors_file",
    "composing.onnx_file",
    "training.callback",
    "composing.rules",
    "composing.sampling",
    "composing.beam",
    "composing.lengths",
    "sweeps.overlays",
    "render.player",
    "config.compose",
    "evaluation.statistics",
    "compare.runs",
    "compare.reading",
    "compare.comparability",
    "compare.effects",
    "compare.table_formats",
    "compare.tables",
    "reporting.plot_style",
    "compare.figures",
    "compare.conclusions",
    "commands.compare",
    "evaluation.calibration",
    "evaluation.times",
    "evaluation.scores",
    "evaluation.context",
    "evaluation.pieces",
    "reporting.evaluation_figures",
    "runs.manifest",
    "reporting.run_tables",
    "reporting.evaluation_text",
    "explore.histograms",
    "explore.measure",
    "explore.report_text",
    "commands.explore",
    "composing.composer",
    "evaluation.choose_sampling",
    "composing.live",
    "render.notes",
    "score.beats",
    "score.meter",
    "score.parts",
    "score.quantize",
    "score.voices",
    "score.spelling",
    "score.measures",
    "score.musicxml",
    "score.engrave",
    "render.audio",
    "render.pianoroll",
    "render.media",
    "evaluation.samples",
    "commands.evaluate",
    "commands.train",
    "commands.render",
    "render.listening",
    "commands.copying",
    "commands.report",
    "cli",
    "__main__",
]
MODULES = sorted(PACKAGE.rglob("*.py"))


def imported(tree: ast.AST) -> Iterator[str]:
    """Every module that is imported anywhere, in functions too, with the names taken from a package."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            assert node.module is not None
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def of_composer(tree: ast.AST) -> set[str]:
    """The package's own modules that are imported, by their dotted name in it."""
    names = {name.removeprefix("composer.") for name in imported(tree) if name.startswith("composer.")}
    # `from composer.x import y`: y may be a module or what stands in one.
    return {name for name in names if source_of(name).exists()}


def source_of(module: str) -> Path:
    return PACKAGE / f"{module.replace('.', '/')}.py"


def name_of(path: Path) -> str:
    return ".".join(path.relative_to(PACKAGE).with_suffix("").parts)


def top_level(tree: ast.AST) -> set[str]:
    return {name.split(".")[0] for name in imported(tree)}


def statements(tree: ast.Module) -> ast.Module:
    """The import statements that run when the module is imported."""
    return ast.Module([node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)], [])


def parse(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def by_name(path: Path) -> str:
    return name_of(path)


def test_every_module_has_its_place_in_the_order() -> None:
    assert sorted(ORDER) == sorted(name_of(path) for path in MODULES if path.stem != "__init__")


def test_a_package_inside_is_a_folder_and_no_more() -> None:
    for path in MODULES:
        if path.stem == "__init__" and path.parent != PACKAGE:
            assert not top_level(parse(path)), "only a docstring"


@pytest.mark.parametrize("module", ORDER)
def test_a_module_imports_only_earlier_ones(module: str) -> None:
    assert of_composer(parse(source_of(module))) <= set(ORDER[: ORDER.index(module)])


def test_the_package_itself_imports_nothing_until_load_is_called() -> None:
    tree = parse(PACKAGE / "__init__.py")
    assert of_composer(tree) == {"composing.composer"}
    assert top_level(statements(tree)) == {"__future__", "typing"}


def test_only_the_configuration_knows_hydra_and_omegaconf() -> None:
    knowing = {by_name(path) for path in MODULES if top_level(parse(path)) & {"hydra", "omegaconf"}}
    assert knowing == {"config.compose"}


# All that `composer compare` needs.
COMPARE = ["commands.compare", "reporting.plot_style", *(m for m in ORDER if m.startswith("compare."))]
QUICK = [
    "errors",
    "config.scales",
    "config.schema",
    "music.prelude",
    "evaluation.baselines",
    "runs.layout",
    "runs.code",
    "sweeps.jobs",
    "config.compose",
    *COMPARE,
    "cli",
]
QUICK += [
    "music.midi_bytes",
    "corpus.read_many",
    "corpus.store",
    "corpus.build_store",
    "corpus.chorales",
    "corpus.corpus",
    "data.splits",
    "corpus.duplicates",
    "data.prepare",
    "reporting.run_tables",
]
QUICK += [
    "music.notes",
    "evaluation.copying",
    "evaluation.quality",
    "evaluation.structure",
    "evaluation.reference",
    "commands.copying",
]
QUICK += [
    "evaluation.legend",
    "music.tonality",
    "music.rhythm",
    "evaluation.phrases",
    "evaluation.surprise",
    "evaluation.distance",
]
QUICK += [
    "music.events",
    "music.midi",
    *(module for module in ORDER if module.startswith(("render.", "score.", "explore."))),
]


@pytest.mark.parametrize("module", QUICK)
def test_what_the_quick_commands_need_does_not_know_torch(module: str) -> None:
    heavy = {"torch", "pytorch_lightning", "lightning_fabric", "tensorboard"}
    assert not top_level(statements(parse(source_of(module)))) & heavy


@pytest.mark.parametrize("module", COMPARE)
def test_comparing_needs_only_modules_without_torch(module: str) -> None:
    quick = {"errors", "config.schema", "runs.layout", "config.compose", "evaluation.statistics", *COMPARE}
    assert of_composer(parse(source_of(module))) <= quick


def test_only_what_draws_knows_matplotlib() -> None:
    assert {path.stem for path in MODULES if "matplotlib" in top_level(parse(path))} == {
        "plot_style",
        "figures",
        "evaluation_figures",
        "histograms",
        "pianoroll",
    }


@pytest.mark.parametrize("path", MODULES, ids=by_name)
def test_nothing_read_from_a_file_can_become_code(path: Path) -> None:
    text, tree = path.read_text(encoding="utf-8"), parse(path)
    assert "_target_" not in text
    assert "pickle" not in text
    called = {node.func.id for node in ast.walk(tree) if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)}
    assert not called & {"eval", "exec", "compile", "__import__"}
    assert not top_level(tree) & {"dill", "joblib", "shelve", "marshal"}
    assert "weights_only=False" not in text


@pytest.mark.parametrize("path", MODULES, ids=by_name)
def test_a_module_says_what_it_is_for(path: Path) -> None:
    text = ast.get_docstring(parse(path))
    assert text
    assert len(text.splitlines()[0]) > 20


def test_no_module_is_a_drawer_for_everything() -> None:
    assert not [path for path in MODULES if re.search(r"util|helper|common|misc", path.stem)]
