"""Objects by name, `package.module:object`: how a user's own code is named in TOML and on the command line."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Collection
from importlib import metadata
from pathlib import Path
from typing import Any

from prunebench.errors import ImportedNameError, MissingExtraError, UnknownNameError, did_you_mean, first_line


def load_object(name: str, *, kind: str, forms: str = "package.module:object", folder: Path | None = None) -> Any:
    """The object called `package.module:object`.

    Args:
        kind: what it should be, for messages.
        forms: what names look like, for messages.
        folder: where modules are looked for first; else the current folder.

    Raises:
        ImportedNameError: not of that form, no such module or object, or a module that fails when imported.
    """
    module_name, colon, attribute = name.partition(":")
    if not (colon and module_name and attribute):
        raise ImportedNameError(f"unknown {kind} {name!r}: expected {forms}")
    module = _import(module_name, folder or Path(), name, kind)
    found: Any = module
    for part in attribute.split("."):
        if not hasattr(found, part):
            hint = did_you_mean(part, [each for each in dir(found) if not each.startswith("_")])
            raise ImportedNameError(f"{kind} '{name}': module '{module_name}' has no '{part}'{hint}")
        found = getattr(found, part)
    return found


def _import(module_name: str, folder: Path, name: str, kind: str) -> Any:
    folder = folder.resolve()
    path = str(folder)
    if path not in sys.path:
        sys.path.insert(0, path)
    top = module_name.partition(".")[0]
    loaded = sys.modules.get(top)
    here = [folder / f"{top}.py", folder / top / "__init__.py"]
    if loaded is not None and any(file.is_file() for file in here):
        origin = getattr(loaded, "__file__", None)
        if origin is None or Path(origin).resolve() not in here:  # of the same name in another folder
            for each in [each for each in sys.modules if each == top or each.startswith(f"{top}.")]:
                del sys.modules[each]
            sys.path.remove(path)
            sys.path.insert(0, path)
    importlib.invalidate_caches()
    try:
        return importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name and (module_name == error.name or module_name.startswith(f"{error.name}.")):
            raise ImportedNameError(f"{kind} '{name}': no module '{module_name}' in '{folder}' or installed") from error
        raise ImportedNameError(f"{kind} '{name}': module '{module_name}' fails: {first_line(error)}") from error
    except Exception as error:  # somebody else's code may raise anything
        raise ImportedNameError(f"{kind} '{name}': module '{module_name}' fails: {first_line(error)}") from error


def import_extra(module: str, *, extra: str) -> Any:
    """A module of a package that only an extra of prunebench installs.

    Raises:
        MissingExtraError: it is not installed; names the extra.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        package = module.partition(".")[0]
        raise MissingExtraError(f"this needs {package}: pip install 'prunebench[{extra}]'") from error


def load_extension(name: str, *, kind: str, group: str, known: Collection[str], folder: Path | None = None) -> Any:
    """An extension that is none of prunebench's own: an installed package's, or `package.module:object`.

    A class is made an object of.

    Args:
        group: the entry-point group that packages name theirs in.
        known: names of prunebench's own, for messages.

    Raises:
        UnknownNameError: no such extension.
        ImportedNameError: it cannot be imported.
    """
    if name in entry_point_names(group):
        found = load_entry_point(group, name, kind=kind)
    elif ":" in name:
        found = load_object(name, kind=kind, folder=folder)
    else:
        raise UnknownNameError(kind, name, [*known, *entry_point_names(group)])
    if not isinstance(found, type):
        return found
    try:
        return found()
    except Exception as error:  # somebody else's code may raise anything
        raise ImportedNameError(f"{kind} '{name}' cannot be made: {first_line(error)}") from error


def entry_point_names(group: str) -> list[str]:
    """The names that installed packages give in an entry-point group, sorted."""
    return sorted({point.name for point in metadata.entry_points(group=group)})


def load_entry_point(group: str, name: str, *, kind: str) -> Any:
    """Load the object that an installed package gives under `name`.

    Raises:
        UnknownNameError: no package does.
        ImportedNameError: it cannot be imported.
    """
    points = {point.name: point for point in metadata.entry_points(group=group)}
    if name not in points:
        raise UnknownNameError(kind, name, points)
    try:
        return points[name].load()
    except Exception as error:  # somebody else's code may raise anything
        raise ImportedNameError(
            f"{kind} '{name}' ({points[name].value}) cannot be imported: {first_line(error)}"
        ) from error
