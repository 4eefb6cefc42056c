"""`composer new`: make a project with an experiment, an ablation and a plugin of one part. Needs no torch, no Hydra."""

from __future__ import annotations

import keyword
import re
import sys
from importlib import util
from pathlib import Path
from string import Template

from composer.config.paths import CONF_DIR, PACKAGE
from composer.errors import ComposerError, UsageError
from composer.files import check_folder_name, display_path, special, user_path, write_text

USAGE = """composer new: make a project of your own that runs at once.

  composer new FOLDER        an experiment, an ablation, a penalty as a plugin, and its test
  composer new .             in the current folder, which must be empty

The plugin, the experiment and the ablation are named after the folder: my-lab gives my_lab."""
TEMPLATES = PACKAGE / "project"
# Template and file of the project; NAME is the name of its module.
FILES = {
    "part.py": "NAME.py",
    "experiment.yaml": "conf/experiment/NAME.yaml",
    "ablation.yaml": "conf/ablation/NAME.yaml",
    "test.py": "tests/test_NAME.py",
    "README.md": "README.md",
    "pyproject.toml": "pyproject.toml",
    "gitignore": ".gitignore",
}
SUFFIX = ".template"
# Folders of the project, which a module of the same name would hide.
_TAKEN = ("conf", "tests", "outputs")
# What may be in the folder already.
_KEPT = (".git",)
_MAX_NAME_LENGTH = 40


def new(arguments: list[str]) -> None:
    """Make the project that a command line names, and print its files and the commands that come next.

    Raises:
        UsageError: the command line does not name one folder.
        ComposerError: the folder is not empty or cannot be written, or no module can be named after it.
    """
    if any(argument in ("--help", "-h") for argument in arguments):
        print(USAGE)
        return
    flags = [argument for argument in arguments if argument.startswith("-")]
    if flags:
        raise UsageError(f"{flags[0]}: there is no such flag; composer new FOLDER")
    if len(arguments) != 1:
        problem = f"{arguments[1]}: one folder at a time" if arguments else "name the folder"
        raise UsageError(f"{problem}: composer new FOLDER")
    folder = user_path(arguments[0])
    name = make(folder)
    print(f"{display_path(folder)}: a project with the plugin {name}\n")
    width = max(len(path) for path in FILES.values()) - len("NAME") + len(name)
    for template, path in FILES.items():
        print(f"  {path.replace('NAME', name):<{width}}  {_MEANINGS[template]}")
    enter = [] if folder.resolve() == Path.cwd() else [f"cd {display_path(folder)}"]
    commands = [
        f"composer train --config-dir conf experiment={name}",
        f"composer train -m --config-dir conf ablation={name}",
    ]
    print("\n".join(["\nnext:", *(f"  {command}" for command in [*enter, *commands])]))


_MEANINGS = {
    "part.py": "a penalty with a key of its own: change it, or replace it",
    "experiment.yaml": "trains with it",
    "ablation.yaml": "without and with it, three seeds each",
    "test.py": "composer's checks of the penalty",
    "README.md": "the commands",
    "pyproject.toml": "for pip install -e .",
    "gitignore": "keeps runs out of git",
}


def make(folder: Path) -> str:
    """Write a project into a folder, which is made where it is missing; return the name of its module.

    Raises:
        ComposerError: the folder is not empty or cannot be written, or no module can be named after it.
    """
    kind = special(folder)
    if folder.exists() and kind != "a folder":
        raise ComposerError(f"{folder}: {kind or 'a file'}, not a folder; choose another name")
    check_folder_name(folder)
    name = module_name(folder.resolve().name)
    found = sorted(path.name for path in folder.iterdir() if path.name not in _KEPT) if folder.is_dir() else []
    if found:
        raise ComposerError(f"{folder}: is not empty (it holds {found[0]}); choose a new folder")
    for path, text in rendered(name).items():
        write_text(folder / path, text)
    return name


def rendered(name: str) -> dict[str, str]:
    """Return the texts of a project's files by their path in it; `name` is that of its module."""
    texts = {}
    for template, path in FILES.items():
        text = (TEMPLATES / f"{template}{SUFFIX}").read_text(encoding="utf-8")
        texts[path.replace("NAME", name)] = Template(text).substitute(name=name)
    return texts


def module_name(folder: str) -> str:
    """Return the name of a module after that of a folder: lower-case letters, digits and underscores.

    Where Python, an installed package or a config of composer has the name, `_project` is added.

    Raises:
        ComposerError: nothing is left of the name, or it is too long.
    """
    name = re.sub(r"[^a-z0-9]+", "_", folder.lower()).strip("_")
    if not name:
        raise ComposerError(f"{folder}: no module can be named after it; choose a name with a letter from a to z")
    if len(name) > _MAX_NAME_LENGTH:
        raise ComposerError(f"{folder}: is too long to name a module after it; at most {_MAX_NAME_LENGTH} characters")
    if name[0].isdigit():
        name = f"project_{name}"
    return f"{name}_project" if _is_taken(name) else name


def _is_taken(name: str) -> bool:
    if keyword.iskeyword(name) or name in sys.stdlib_module_names or name in _TAKEN:
        return True
    if any((CONF_DIR / group / f"{name}.yaml").exists() for group in ("experiment", "ablation")):
        return True
    # A folder without modules, such as the project's own, is a namespace without a file.
    found = util.find_spec(name)
    return found is not None and found.origin is not None
