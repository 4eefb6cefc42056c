"""What the modules may know of each other, read from their sources."""

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parent.parent / "composer"
# Packages and top-level modules in the order of imports: each imports only itself and those before it.
ORDER = [
    *(
        "errors",
        "random_streams",
        "standard_streams",
        "files",
        "terminal",
        "progress",
        "registry",
        "plugins",
        "config",
        "music",
        "nets",
        "corpus",
        "score",
        "data",
        "render",
        "runs",
    ),
    *(
        "training",
        "composing",
        "testing",
        "sweeps",
        "evaluation",
        "reporting",
        "compare",
        "explore",
        "commands",
        "api",
        "cli",
        "__main__",
    ),
]
# What a notebook shows of a piece is drawn by a later package, which is imported when a piece is shown.
WHEN_SHOWN = {"music.events": {"api.display"}}
# Commands that start without torch.
QUICK = ("compare", "explore", "render", "copying")
HEAVY = {"torch", "pytorch_lightning", "lightning_fabric", "tensorboard"}
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


@cache
def imports_when_imported(module: str) -> frozenset[str]:
    """Modules of the package that importing `module` imports directly."""
    return frozenset(of_composer(statements(parse(source_of(module)))))


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


def package_of(module: str) -> str:
    return module.split(".")[0]


def needed(module: str) -> set[str]:
    """Modules of the package that are imported when `module` is imported."""
    found, left = set(), [module]
    while left:
        name = left.pop()
        if name not in found:
            found.add(name)
            left += imports_when_imported(name)
    return found


def test_every_package_has_its_place_in_the_order() -> None:
    assert sorted(ORDER) == sorted({package_of(name_of(path)) for path in MODULES} - {"__init__"})


def test_a_package_inside_is_a_folder_and_no_more() -> None:
    for path in MODULES:
        if path.stem == "__init__" and path.parent != PACKAGE:
            assert not top_level(parse(path)), "only a docstring"


@pytest.mark.parametrize("path", MODULES, ids=by_name)
def test_a_module_imports_only_earlier_packages(path: Path) -> None:
    module = name_of(path)
    if path.stem == "__init__":
        return
    allowed = ORDER[: ORDER.index(package_of(module)) + 1]
    upward = {name for name in of_composer(parse(path)) if package_of(name) not in allowed}
    assert upward == WHEN_SHOWN.get(module, set())
    assert upward.isdisjoint(imports_when_imported(module))


def test_no_module_imports_itself_through_others() -> None:
    for path in MODULES:
        if path.stem != "__init__":
            module = name_of(path)
            assert not any(module in needed(name) for name in imports_when_imported(module)), module


def test_the_package_itself_imports_nothing_until_it_is_used() -> None:
    tree = parse(PACKAGE / "__init__.py")
    assert not of_composer(statements(tree))
    assert top_level(statements(tree)) == {"__future__", "importlib", "typing"}


def test_only_the_configuration_knows_hydra_and_omegaconf() -> None:
    knowing = {by_name(path) for path in MODULES if top_level(parse(path)) & {"hydra", "omegaconf"}}
    assert knowing == {
        "config.compose",
        "config.explain",
        "config.help",
        "config.keys",
        "config.plain",
        "config.run_file",
        "config.texts",
        "sweeps.hydra",
        "sweeps.job_configs",
    }


def test_only_public_parts_of_hydra_are_used() -> None:
    assert not [path for path in MODULES if "hydra._internal" in path.read_text(encoding="utf-8")]


@pytest.mark.parametrize("module", ["cli", *(f"commands.{command}" for command in QUICK)])
def test_quick_commands_start_without_torch(module: str) -> None:
    heavy = {name for name in needed(module) if top_level(statements(parse(source_of(name)))) & HEAVY}
    # What `composer explore` writes is an event file.
    assert heavy == ({"runs.tensorboard"} if module == "commands.explore" else set())


def test_only_what_draws_knows_matplotlib() -> None:
    assert {path.stem for path in MODULES if "matplotlib" in top_level(parse(path))} == {
        "plot_style",
        "curve_figures",
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


def test_names_of_tests_have_at_most_60_characters() -> None:
    for path in Path(__file__).parent.rglob("test_*.py"):
        names = [node.name for node in ast.walk(parse(path)) if isinstance(node, ast.FunctionDef)]
        assert [name for name in names if name.startswith("test_") and len(name) > 60] == [], path
