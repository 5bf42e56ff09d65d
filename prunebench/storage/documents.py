"""JSON documents that are kept: schema version, content digest, one form. What they hold lives elsewhere.

A document is a JSON object with an integer `schema_version` and a `digest`: SHA-256 over everything else in it, in a
canonical form. A file that was edited, cut, or merged by hand no longer has its digest and is refused. Spaces and the
order of the keys are not content.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any, NoReturn, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from prunebench.errors import RecordError

WIDTH = 120

Content = dict[str, Any]

KINDS = {
    "run_digest": "a record",
    "status": "a record",
    "record": "a baseline",
    "points": "a sensitivity scan",
    "trials": "a plan",
    "verdicts": "a comparison",
    "checks": "a check of an export",
    "comparisons": "a comparison of times",
}
"""Kinds of documents, each by a field that no other kind has: so that a sound file is not called damaged."""

M = TypeVar("M", bound=BaseModel)

Count = Annotated[int, Field(ge=0, lt=2**63)]
Fraction = Annotated[float, Field(ge=0, le=1)]
Percent = Annotated[float, Field(ge=0, le=100)]
Seconds = Annotated[float, Field(ge=0, le=1e9)]  # thirty years
Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


def refuse_contradictions(name: str, found: Iterable[str]) -> None:
    """Raise an error with the first of the contradictions `found` in a document, where there are any.

    Raises:
        RecordError: there are.
    """
    if broken := list(found):
        more = f"; {len(broken) - 3} more" if len(broken) > 3 else ""
        raise RecordError(f"{name} contradicts itself: {'; '.join(broken[:3])}{more}")


class Shown:
    """Something that notebooks show as more than its `repr`."""

    def _repr_html_(self) -> str:
        # By name: the room of reports is above this one, and needs matplotlib.
        html: str = import_module("prunebench.report.notebook").html_of(self)
        return html


class Part(BaseModel):
    """A piece of a document: cannot change, and takes no unknown field, no other type, no NaN.

    What `model_copy` changed is checked once it becomes a part of another.
    """

    model_config = ConfigDict(
        frozen=True, extra="forbid", strict=True, allow_inf_nan=False, revalidate_instances="always"
    )


def render(content: Content) -> str:
    """The text of a document: its digest added, keys sorted, indented by one space, lists of numbers side by side."""
    return _render({**content, "digest": content_digest(content)}, indent=0) + "\n"


def content_digest(content: Content) -> str:
    """SHA-256 over everything but the digest itself."""
    kept = {key: value for key, value in content.items() if key != "digest"}
    canonical = json.dumps(kept, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(canonical.encode("ascii")).hexdigest()


def read_document(path: Path) -> Content:
    """The object in the file, as it stands there. Its version and digest are not checked yet.

    Raises:
        RecordError: it cannot be read, is not JSON (twice the same key, NaN), or is not an object.
    """
    try:
        return parse_document(path.read_bytes(), path=path)
    except OSError as error:
        raise RecordError(f"cannot read '{path}': {error.strerror or error}") from error


def parse_document(data: bytes, *, path: Path) -> Content:
    """The object in the bytes of a file, as `read_document` reads it; `path` is what errors call it.

    Raises:
        RecordError: as `read_document`.
    """
    try:
        content = json.loads(data.decode("utf-8"), object_pairs_hook=_unique, parse_constant=_not_a_number)
    except (ValueError, RecursionError) as error:
        raise RecordError(f"'{path}' is not a record: not JSON: {error}") from error
    if not isinstance(content, dict):
        raise RecordError(f"'{path}' is not a record: expected a JSON object, got a {type(content).__name__}")
    return content


def check_kind(content: Content, *expected: str, path: Path) -> None:
    """Find out, before anything in it is called damaged, whether a file is of another kind than those `expected`.

    Raises:
        RecordError: it is; says of which.
    """
    found = kind_of(content)
    if found and found not in expected:
        raise RecordError(f"'{path}' holds {found}: expected {' or '.join(expected)}")


def kind_of(content: Content) -> str:
    """The kind of a file, as `KINDS` names it; empty where it says nothing of the sort."""
    return next((kind for field, kind in KINDS.items() if field in content), "")


def verified(content: Content, *, path: Path, newest: int) -> Content:
    """The content without its digest, once its version and digest were found to be right.

    Raises:
        RecordError: no version, or one newer than `newest`; no digest, or not that of the content.
    """
    _check_version(content, path=path, newest=newest)
    stored = content.get("digest")
    if stored is None:
        raise RecordError(f"'{path}' is not a record, or was edited: it has no digest")
    try:
        actual = content_digest(content)
    except (ValueError, RecursionError) as error:
        raise RecordError(f"'{path}' is damaged: {error}") from error
    if stored != actual:
        raise RecordError(
            f"'{path}' was edited or damaged after it was written: its content has the digest {actual[:12]}, "
            f"the file says {str(stored)[:12]}; restore it, or record and approve again"
        )
    return {key: value for key, value in content.items() if key != "digest"}


def parsed(model: type[M], content: Content, *, path: Path) -> M:
    """The content as a `model`.

    Raises:
        RecordError: a field that is missing, unknown or of the wrong type, which is named; or it contradicts itself.
    """
    try:
        return model.model_validate_json(json.dumps(content))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(step) for step in first["loc"]) or "the whole"
        raise RecordError(f"'{path}' is damaged: {where}: {first['msg']}") from error
    except RecordError as error:
        raise RecordError(f"'{path}' cannot be used: {error}") from error
    except (ValueError, RecursionError) as error:
        raise RecordError(f"'{path}' is damaged: {error}") from error


def _check_version(content: Content, *, path: Path, newest: int) -> None:
    version = content.get("schema_version")
    if not isinstance(version, int) or isinstance(version, bool):
        raise RecordError(f"'{path}' is not a record: schema_version must be a whole number, got {version!r:.40}")
    if version > newest:
        raise RecordError(
            f"'{path}' has schema version {version}, this prunebench reads up to {newest}: upgrade prunebench"
        )
    if version < newest:
        raise RecordError(f"'{path}' has schema version {version}, which this prunebench no longer reads")


def _unique(pairs: list[tuple[str, Any]]) -> Content:
    content = dict(pairs)
    if len(content) < len(pairs):
        raise ValueError("the same key twice")
    return content


def _not_a_number(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not a number")


def _render(value: object, *, indent: int) -> str:
    inner = " " * (indent + 1)
    if isinstance(value, dict) and value:
        lines: Iterable[str] = (
            f"{inner}{json.dumps(key)}: {_render(value[key], indent=indent + 1)}" for key in sorted(value)
        )
    elif isinstance(value, list) and any(isinstance(entry, dict | list) for entry in value):
        lines = (inner + _render(entry, indent=indent + 1) for entry in value)
    elif isinstance(value, list) and len(json.dumps(value)) > WIDTH - indent - 30:  # 30: about the longest key
        lines = _filled([json.dumps(entry, allow_nan=False) for entry in value], inner)
    else:
        return json.dumps(value, allow_nan=False)
    first, last = "{}" if isinstance(value, dict) else "[]"
    return f"{first}\n" + ",\n".join(lines) + f"\n{' ' * indent}{last}"


def _filled(entries: list[str], inner: str) -> Iterator[str]:
    """Lines as full as `WIDTH` allows, without the comma at their end."""
    line = ""
    for entry in entries:
        if line and len(inner) + len(line) + len(entry) + 3 > WIDTH:
            yield inner + line
            line = ""
        line = f"{line}, {entry}" if line else entry
    yield inner + line
