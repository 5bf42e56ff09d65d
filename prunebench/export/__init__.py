"""Export: files that other programs load, checked against the model they were made of; a format a file."""

from prunebench.export.card import model_card
from prunebench.export.check import Check, check_export
from prunebench.export.format import Exported, Format
from prunebench.export.registry import find_format, format_for, metadata_of

__all__ = ["Check", "Exported", "Format", "check_export", "find_format", "format_for", "metadata_of", "model_card"]
