"""Colours of materials as the store has them, so that they are the same in the report, in napari and in other tools."""

from __future__ import annotations

from collections.abc import Iterable

from xct_pipeline.report.contents import AbsentError, Contents, Level, label_names, open_level
from xct_pipeline.report.drawing import PALETTE
from xct_pipeline.store import layout

FEW = 64  # voxels along an edge of the level that is opened for its names


def label_colours(labels: Level) -> dict[int, tuple[int, int, int]]:
    """Return the colour of each label, 0 to 255: that of the store, else one that every eye tells from the others."""
    from matplotlib.colors import to_rgb

    kept = {int(entry["label-value"]): tuple(entry["rgba"][:3]) for entry in labels.attributes.get("colors") or ()}
    spare = [tuple(round(255 * c) for c in to_rgb(color)) for color in PALETTE]
    return {value: kept.get(value, spare[k % len(spare)]) for k, value in enumerate(sorted(label_names(labels)))}


def material_colours(contents: Contents, names: Iterable[object]) -> dict[str, str]:
    """Return the colour of each material of these names, as #rrggbb: that of its label where it has one."""
    spare = {name: PALETTE[k % len(PALETTE)] for k, name in enumerate(dict.fromkeys(map(str, names)))}
    try:
        labels = open_level(contents, layout.MATERIALS, FEW, contents.reference)
    except AbsentError:
        return spare
    called = label_names(labels)
    return spare | {called[value]: "#{:02x}{:02x}{:02x}".format(*rgb) for value, rgb in label_colours(labels).items()}
