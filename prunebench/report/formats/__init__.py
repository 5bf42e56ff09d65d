"""Report formats: one file each, here or in an installed package, by the name that a user asks for them with."""

from prunebench.report.formats.registry import Format, find_format, format_for

__all__ = ["Format", "find_format", "format_for"]
