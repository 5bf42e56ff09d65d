"""Export: files that other programs load; a format a file."""

from prunebench.export.format import Exported, Format
from prunebench.export.registry import find_format, format_for, metadata_of

__all__ = ["Exported", "Format", "find_format", "format_for", "metadata_of"]
