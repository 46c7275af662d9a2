"""The labels of materials in a store: where they lie, and their names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from xct_pipeline.store import layout
from xct_pipeline.store.files import read_attributes
from xct_pipeline.store.store import Store

LABELS = layout.MATERIALS
"""Path of the labels of materials, (t, z, y, x) like the registered series."""


def stored_names(store: Store) -> dict[int, str]:
    """Return the names of the labels in a store, empty where there are none."""
    xct = read_attributes(store.path / LABELS).get("xct", {})
    return {int(value): str(name) for value, name in xct.get("names", {}).items()}


def find_label(names: Mapping[int, str], wanted: str | int) -> int:
    """Return the label of a material by its name or number; ValueError names those that exist."""
    for label, name in names.items():
        if wanted in (label, name):
            return label
    known = ", ".join(f"{name} ({label})" for label, name in sorted(names.items())) or "none"
    raise ValueError(f"there is no label {wanted!r}: the labels are {known}")


def label_values(store: Store, names: Sequence[str]) -> list[int]:
    """Return the values of labels by their names.

    Raises
    ------
    ValueError
        There are no labels, or none of that name; the message lists those that exist.
    """
    known = stored_names(store)
    if not known:
        raise ValueError(f"label {', '.join(names)}: {store.path} has no labels; add [segmentation] to the run")
    return [find_label(known, name) for name in names]
