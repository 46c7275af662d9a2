"""Logs of a cycler as text: what tests of their readers write."""

from __future__ import annotations


def write(folder, text, name="log.csv", encoding="utf-8"):
    """Write a text into a folder, and return its path."""
    path = folder / name
    path.write_bytes(text.encode(encoding))
    return path


def table(names, rows, separator="\t"):
    """Return names and rows of cells as lines."""
    return "\n".join(separator.join(str(cell) for cell in row) for row in (names, *rows)) + "\n"
