"""PyTorch files read by torch's restricted unpickler, with what is no tensor replaced by what cannot do anything.

Checkpoints carry more than weights: an `argparse.Namespace` of settings, numpy scalars of a history, a framework's own
objects. Torch refuses the whole file for them. Here every name that torch does not allow leads to an empty stand-in, so
that nothing of the pickle is looked up, imported or called, and the tensors beside it are read by torch's rules.
"""

from __future__ import annotations

import _compat_pickle
import builtins
import pickle
import pickletools
import sys
import zipfile
from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import torch

from prunebench.errors import CheckpointError

DATA_MODULES = frozenset(
    {
        "argparse",
        "collections",
        "datetime",
        "decimal",
        "enum",
        "fractions",
        "functools",
        "pathlib",
        "re",
        "types",
        "uuid",
    }
)
"""Whose names stand for settings and histories. Others of Python's own, `os.system` say, no honest checkpoint has."""

PROTOCOL = 2
"""The pickle protocol of `torch.save`, and the one that torch's restricted unpickler reads."""

SAVED = "and save torch.save(model.state_dict(), ...)"
AGAIN = "save it again as safetensors or as torch.save(model.state_dict(), ...)"
OWN_TENSOR = "holds a tensor of a class that only its own code can load: load it where that is, and save plain tensors"
PICKLED_MODEL = f"holds a whole pickled model, which only its own code can load: load it where that is, {SAVED}"
LEGACY_PICKLES = 4
"""A file from before torch 1.6 is a magic number, a version, the system, and then the object: four pickles in a row."""


def read_pickled(path: Path) -> Any:
    """Read what `torch.save` wrote: tensors and plain Python values as they are, everything else as empty stand-ins.

    Raises:
        CheckpointError: damaged, truncated, not written by `torch.save`, or a pickle that would run code.
    """
    protocol = 0
    try:
        with path.open("rb") as file:  # not the path: newer versions of torch choose the format by its suffix
            names, protocol = _asked_for(path, file)
            file.seek(0)
            with torch.serialization.safe_globals([(_stand_in(name), name) for name in names]):
                return torch.load(file, map_location="cpu", weights_only=True)
    except CheckpointError:
        raise
    except pickle.UnpicklingError as error:
        if protocol > PROTOCOL:
            raise CheckpointError(
                f"'{path}' is pickled by protocol {protocol}: save it again with torch.save's own, {PROTOCOL}"
            ) from error
        if "persistent_load" in str(error):  # how files from before torch 1.6 hold modules
            raise CheckpointError(f"'{path}' {PICKLED_MODEL}") from error
        raise CheckpointError(
            f"refused to load '{path}': it is no plain state_dict (a pickle that could run code, or a damaged file); "
            f"{AGAIN}"
        ) from error
    except Exception as error:  # torch.load raises RuntimeError, EOFError, KeyError, ... on damaged files
        if "inherit from Tensor" in str(error):  # a stand-in does not
            raise CheckpointError(f"'{path}' {OWN_TENSOR}") from error
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise CheckpointError(f"cannot read '{path}', it is damaged, truncated or no checkpoint: {reason}") from error


def stands_for(value: object) -> str | None:
    """The name of what `value` stands in for; None for anything else."""
    return vars(value).get(_NAME) if isinstance(value, (_Nothing, OrderedDict)) else None


def is_pickled_model(value: object) -> bool:
    """True where `value` stands in for an `nn.Module`."""
    return stands_for(value) is not None and "_modules" in vars(value)


_NAME = "prunebench stand-in"


class _Nothing:
    """An object that takes any state and keeps none of it."""

    def __setstate__(self, state: object) -> None:
        pass


def _stand_in(name: str) -> type:
    """A class that makes, whatever it is called with, an object that takes items and attributes and does nothing.

    That is an `OrderedDict`, the one kind that torch's unpickler lets have both; a list for a deque, which is filled by
    appending. Numpy's objects and partial functions are given a state that neither takes.
    """

    def __new__(cls: type, *args: object) -> object:  # noqa: N807 - it becomes one
        del args
        if name == "collections.deque":
            return []
        made: Any = object.__new__(cls) if name.startswith(("numpy.", "functools.")) else OrderedDict()
        vars(made)[_NAME] = name
        return made

    return type("StandIn", (_Nothing,), {"__new__": __new__})


def _asked_for(path: Path, file: IO[bytes]) -> tuple[set[str], int]:
    """The names that a pickle asks for, as Python 3 calls them, and its protocol, found without unpickling it."""
    names: set[str] = set()
    protocol, by_torch, ended = 0, zipfile.is_zipfile(file), False
    try:
        for opcode, argument in _opcodes(file):
            by_torch |= argument == torch.serialization.MAGIC_NUMBER
            ended |= opcode == "STOP"
            if opcode == "PROTO":
                protocol = max(protocol, argument)
            if opcode == "GLOBAL":
                module, _, name = argument.partition(" ")
                module, name = _compat_pickle.NAME_MAPPING.get((module, name), (module, name))
                names.add(f"{_compat_pickle.IMPORT_MAPPING.get(module, module)}.{name}")
    except Exception:  # noqa: S110 - damage, which torch.load then meets as well
        pass
    if harmful := sorted(name for name in names if _could_run_code(name)):
        raise CheckpointError(
            f"refused to load '{path}': it names {', '.join(map(repr, harmful[:3]))}, so it could run code; {AGAIN}"
        )
    if protocol and ended and not by_torch:
        raise CheckpointError(
            f"'{path}' is a pickle that torch.save did not write: load it where you trust it, {SAVED}"
        )
    return names, protocol


def _opcodes(file: IO[bytes]) -> Iterator[tuple[str, Any]]:
    if zipfile.is_zipfile(file):
        with zipfile.ZipFile(file) as archive:
            for member in archive.namelist():
                if member.endswith("/data.pkl"):
                    with archive.open(member) as pickled:
                        yield from ((opcode.name, argument) for opcode, argument, _ in pickletools.genops(pickled))
        return
    file.seek(0)
    for _ in range(LEGACY_PICKLES):
        yield from ((opcode.name, argument) for opcode, argument, _ in pickletools.genops(file))


def _could_run_code(name: str) -> bool:
    """True for a name of Python's own that is no data: harmless as a stand-in, but such a file is not to be trusted."""
    module, _, attribute = name.rpartition(".")
    if module == "builtins":
        return not isinstance(getattr(builtins, attribute, None), type)
    package = module.partition(".")[0]
    return package in sys.stdlib_module_names - DATA_MODULES and name not in {
        "_codecs.encode",
        "copyreg._reconstructor",
    }
