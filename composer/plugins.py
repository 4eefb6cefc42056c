"""Plugins: packages outside this one that register parts (`registry.register`) and may bring configs in their `conf/`.

A plugin is enabled by whoever runs a command, never by a file that the command reads: by `plugins=[my_package.parts]`
on the command line, by the environment variable `COMPOSER_PLUGINS=my_package.parts,other`, or by being installed with
an entry point of the group `composer.plugins`. What a run directory or a checkpoint names is not imported.
"""

from __future__ import annotations

import hashlib
import importlib
import os
import sys
import traceback
import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import metadata, util
from pathlib import Path
from typing import Any

from composer import registry
from composer.errors import ComposerError

# Environment variable with the modules of plugins, separated by commas.
VARIABLE = "COMPOSER_PLUGINS"
ENTRY_POINTS = "composer.plugins"
# Folder of a plugin's package with its configs.
CONF = "conf"
# Files that are no part of a plugin's code.
_IGNORED = ("__pycache__",)
_MAX_CODE_BYTES = 64 << 20


@dataclass(frozen=True, slots=True)
class Plugin:
    """An enabled plugin.

    Attributes:
        module: the dotted name that enables it, such as `my_package.parts`.
        package: the first component of this name.
        root: the folder of the package, or the file of a module that is in no package.
        version: of its distribution; None where it is not installed.
    """

    module: str
    package: str
    root: Path
    version: str | None

    @property
    def conf(self) -> Path | None:
        """The folder of its configs; None where it has none."""
        folder = self.root / CONF
        return folder if self.root.is_dir() and folder.is_dir() else None

    def files(self) -> dict[str, Path]:
        """Return every file of its code and configs, by its path below the folder that holds the package.

        Raises:
            ComposerError: the files are too large for code.
        """
        if self.root.is_file():
            return {self.root.name: self.root}
        found = {path.relative_to(self.root.parent): path for path in self.root.rglob("*") if path.is_file()}
        kept = {
            place.as_posix(): path
            for place, path in sorted(found.items())
            if not any(part in _IGNORED or part.startswith(".") for part in place.parts)
        }
        size = sum(path.stat().st_size for path in kept.values())
        if size > _MAX_CODE_BYTES:
            raise ComposerError(
                f"plugins=[{self.module}]: {self.root} holds {size >> 20} MiB, more than the {_MAX_CODE_BYTES >> 20} "
                "that a sweep copies; keep data out of the package"
            )
        return kept

    def digest(self) -> str:
        """Return SHA-256 over its files."""
        total = hashlib.sha256()
        for name, path in self.files().items():
            total.update(f"{name}\0{hashlib.sha256(path.read_bytes()).hexdigest()}\n".encode())
        return total.hexdigest()


# By module, in the order in which they were enabled.
_ENABLED: dict[str, Plugin] = {}
# Modules that every command enables: those of the environment variable and of entry points.
_ALWAYS: set[str] = set()
# Entry points that could not be imported, with the reason.
_BROKEN: dict[str, str] = {}


def enabled() -> list[Plugin]:
    """Return the enabled plugins, in the order in which they were enabled."""
    return list(_ENABLED.values())


def packages() -> list[Plugin]:
    """Return one enabled plugin of each package, in alphabetical order."""
    by_package = {plugin.package: plugin for plugin in reversed(enabled())}
    return [by_package[name] for name in sorted(by_package)]


def enable_installed() -> None:
    """Enable the plugins of `COMPOSER_PLUGINS` and of installed entry points; a second call changes nothing.

    Raises:
        ComposerError: a module of the variable cannot be imported. An entry point that fails is a warning.
    """
    named = [name.strip() for name in os.environ.get(VARIABLE, "").split(",") if name.strip()]
    enable(named)
    _ALWAYS.update(named)
    for point in metadata.entry_points(group=ENTRY_POINTS):
        _ALWAYS.add(point.module)
        if point.module in _BROKEN:
            continue
        try:
            enable([point.module])
        except ComposerError as error:
            _BROKEN[point.module] = str(error)
            warnings.warn(f"the plugin {point.name} is left out: {error}", stacklevel=2)


def enable(modules: Iterable[str]) -> None:
    """Import modules that register parts.

    Raises:
        ComposerError: a module cannot be found or fails; one line that names it.
    """
    for module in modules:
        if module in _ENABLED:
            continue
        where = f"plugins=[{module}]"
        if not all(part.isidentifier() for part in module.split(".")):
            raise ComposerError(f"{where}: must be the name of a module, such as my_package.parts")
        if module.split(".")[0] == __name__.split(".")[0]:
            raise ComposerError(f"{where}: is this package itself")
        with _current_folder():
            try:
                importlib.import_module(module)
            except ModuleNotFoundError as error:
                if error.name is not None and (module == error.name or module.startswith(f"{error.name}.")):
                    raise ComposerError(
                        f"{where}: there is no module {error.name}; install its package, or work in the folder that "
                        "holds it"
                    ) from error
                raise ComposerError(f"{where}: needs the package {error.name}, which is not installed") from error
            except ComposerError as error:
                raise ComposerError(f"{where}: {error}") from error
            except Exception as error:
                reason = (str(error).splitlines() or [""])[0]
                raise ComposerError(f"{where}: fails when it is imported ({type(error).__name__}: {reason})") from error
            _ENABLED[module] = _plugin(module)


@contextmanager
def _current_folder() -> Iterator[None]:
    """Find modules in the current folder too, after all others."""
    here = str(Path.cwd())
    if here in sys.path or "" in sys.path:
        yield
        return
    before = set(sys.modules)
    sys.path.append(here)
    try:
        yield
    finally:
        files = (getattr(sys.modules[name], "__file__", None) for name in set(sys.modules) - before)
        if not any(file is not None and Path(file).is_relative_to(here) for file in files):
            sys.path.remove(here)
        elif here not in os.environ.get("PYTHONPATH", "").split(os.pathsep):
            # For the processes of a launcher too.
            paths = os.environ.get("PYTHONPATH")
            os.environ["PYTHONPATH"] = os.pathsep.join([paths, here] if paths else [here])


def _plugin(module: str) -> Plugin:
    package = module.split(".")[0]
    found = util.find_spec(package)
    assert found is not None
    folders = list(found.submodule_search_locations or [])
    root = Path(folders[0]) if folders else Path(str(found.origin))
    names = metadata.packages_distributions().get(package, [])
    return Plugin(module, package, root, metadata.version(names[0]) if names else None)


def enable_named(overrides: Sequence[str], *, record: bool) -> list[str]:
    """Enable the plugins that `plugins=[A,B]` among overrides names, after the installed ones.

    Args:
        overrides: as typed; `plugins=A` and `plugins=A,B` are lists too, since plugins are never swept.
        record: whether the command has the key `plugins`; else it is taken out.

    Returns:
        The overrides for Hydra.

    Raises:
        ComposerError: a plugin cannot be imported.
    """
    enable_installed()
    changed = []
    for text in overrides:
        if text.partition("=")[0].lstrip("+") != "plugins":
            changed.append(text)
            continue
        names = [name.strip().strip("'\"") for name in text.partition("=")[2].strip("[]").split(",")]
        names = [name for name in names if name]
        enable(names)
        changed += [f"plugins=[{','.join(names)}]"] if record else []
    return changed


def argument(modules: Sequence[str]) -> str:
    """Return ` plugins=[A,B]` for a command that needs plugins which only the command line enables; else nothing."""
    named = [module for module in modules if module not in _ALWAYS]
    return f" plugins=[{','.join(named)}]" if named else ""


def of_parts(parts: Iterable[tuple[str, str]]) -> list[str]:
    """Return the modules that must be enabled for parts, given by kind and name, without those of this package."""
    owners = registry.owners()
    own = __name__.split(".")[0]
    modules = {owners[part] for part in parts if part in owners and owners[part].split(".")[0] != own}
    return sorted({_enabled_for(module) for module in modules})


def _enabled_for(module: str) -> str:
    """Return the enabled plugin whose package holds a module; the module itself where none does."""
    for plugin in enabled():
        if plugin.package == module.split(".")[0]:
            return plugin.module
    return module


def about(modules: Iterable[str]) -> dict[str, Any]:
    """Return version and digest of plugins by module; a module that is no enabled plugin has neither."""
    known = {name: _ENABLED.get(name) for name in modules}
    return {
        name: {"version": None if p is None else p.version, "sha256": None if p is None else p.digest()}
        for name, p in known.items()
    }


def frozen_files() -> Iterator[tuple[str, Path]]:
    """Yield the files of all enabled plugins, by their path below the folder that holds their packages."""
    for plugin in packages():
        yield from plugin.files().items()


def check_all_named() -> None:
    """Refuse parts that no enabled plugin has registered, for a sweep, whose jobs import nothing else.

    Raises:
        ComposerError: names the part and its module.
    """
    known = {__name__.split(".")[0], *(plugin.package for plugin in enabled())}
    for (kind, name), module in sorted(registry.owners().items()):
        if module.split(".")[0] not in known:
            remedy = "move it to a module and add plugins=[MODULE]"
            if module != "__main__":
                remedy = f"add plugins=[{module}]"
            raise ComposerError(
                f"{kind}={name} is registered by {module}, which the jobs of a sweep do not import: {remedy}"
            )


def fault(error: BaseException) -> ComposerError | None:
    """Return an error of one line where the code of an enabled plugin raised `error`, or called what did; else None."""
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        path = Path(frame.filename)
        for plugin in packages():
            if path == plugin.root or path.is_relative_to(plugin.root):
                reason = (str(error).splitlines() or [""])[0]
                place = f"{frame.name} in {path.name}, line {frame.lineno}"
                return ComposerError(
                    f"the plugin {plugin.module} failed: {place}: {type(error).__name__}: {reason} "
                    "(COMPOSER_DEBUG=1 shows the traceback)"
                )
    return None
