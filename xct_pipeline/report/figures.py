"""The static pictures: sections, differences, labels, the way from a slice to a map, the series of maps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from xct_pipeline.report.colours import label_colours
from xct_pipeline.report.contents import AbsentError, Array, Contents, Level, label_names, open_level
from xct_pipeline.report.drawing import (
    INK,
    SMALL,
    axes_at,
    bar_length,
    canvas,
    colour_bar,
    contrast,
    diverging,
    grey,
    grey_uri,
    length_text,
    nice,
    palette_uri,
    plain_axes,
    scale_bar,
    show,
    shown_scans,
    symmetric,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SIDE = 400
SLICES = 48
ROWS = 6
MAP_SIDE = 192
SOLID_SIDE = 72


def _sections(level: Level, at: tuple[int, int, int]) -> list[Array]:
    """Read the planes x-y, x-z and y-z through a voxel; rows go up."""
    z, y, x = at
    whole = slice(None)
    return [
        level.read(slice(z, z + 1), whole, whole)[0],
        level.read(whole, slice(y, y + 1), whole)[:, 0],
        level.read(whole, whole, slice(x, x + 1))[:, :, 0],
    ]


def _middle(level: Level) -> tuple[int, int, int]:
    return tuple(n // 2 for n in level.shape)  # type: ignore[return-value]


# ----------------------------------------------------------------------------------------------- pristine cell


def slices(contents: Contents) -> dict[str, Any]:
    """Return what the slice viewer shows of the reference scan: planes through z, two upright sections, labels."""
    level = contents.volume(contents.reference, SIDE)
    chosen = shown_scans(level.shape[0], SLICES)
    y, x = level.shape[1] // 2, level.shape[2] // 2
    planes, upright = {}, ([], [])  # type: tuple[dict[int, Array], tuple[list[Array], list[Array]]]
    for start, slab in level.slabs():
        upright[0].append(slab[:, y])
        upright[1].append(slab[:, :, x])
        planes.update({k: slab[k - start].copy() for k in chosen if start <= k < start + len(slab)})
    front, side = np.concatenate(upright[0]), np.concatenate(upright[1])
    tone = contrast(np.concatenate([p[::2, ::2].ravel() for p in planes.values()] + [front.ravel()]))
    if not np.isfinite(front).any() and not any(np.isfinite(p).any() for p in planes.values()):
        raise AbsentError("the reference volume holds no numbers")
    width = level.shape[2] * level.step
    bar = bar_length(width)
    return {
        "scan": contents.scans[contents.reference],
        "planes": [grey_uri(planes[k], tone, 78) for k in chosen],
        "front": grey_uri(front, tone),
        "side": grey_uri(side, tone),
        "fractions": [(k + 0.5) / level.shape[0] for k in chosen],
        "heights": [length_text(round((k + 0.5) * level.step, 1), level.length) for k in chosen],
        "rows": [int(k * level.factor) for k in chosen],
        "shape": level.shape,
        "start": len(chosen) // 2,
        "bars": [
            {"percent": 100 * bar / (n * level.step), "text": length_text(bar, level.length)}
            for n in (level.shape[2], level.shape[2], level.shape[1])
        ],
        "tone": tone,
        "unit": level.unit,
        "overlays": _overlays(contents, level, chosen),
    }


def _overlays(contents: Contents, level: Level, chosen: Sequence[int]) -> list[str]:
    """Return the labels of the same planes as transparent pictures, empty where there are none."""
    try:
        labels = open_level(contents, "registered/labels/materials", SIDE, contents.reference)
    except AbsentError:
        return []
    if labels.shape != level.shape:
        return []
    colors = {value: (*rgb, 120) for value, rgb in label_colours(labels).items()}
    return [
        palette_uri(slab[k - start], colors)
        for start, slab in labels.slabs()
        for k in chosen
        if start <= k < start + len(slab)
    ]


def label_image(plane: Array, level: Level) -> tuple[Array, dict[int, Any]]:
    """Return a plane of labels as RGB, 0 to 1, and the colour of each label."""
    colors = {value: tuple(c / 255 for c in rgb) for value, rgb in label_colours(level).items()}
    table = np.full((256, 3), 0.9)
    for value, rgb in colors.items():
        table[value] = rgb
    return table[plane], colors


# ------------------------------------------------------------------------------------------------ registration


def differences(contents: Contents) -> Figure:
    """Draw each scan minus the reference before and after registration, on one scale."""
    fixed = open_level(contents, "registered", SIDE, contents.reference)
    others = [k for k in range(len(contents.scans)) if k != contents.reference]
    pairs = []
    for k in others:
        try:
            before = open_level(contents, f"scans/{contents.scans[k]}/volume", SIDE)
            after = open_level(contents, "registered", SIDE, k)
        except AbsentError:
            continue
        if before.shape == fixed.shape and np.isfinite(_sections(after, _middle(after))[1]).any():
            pairs.append((k, before, after))
    if not pairs:
        raise AbsentError("no registered scan beside the reference, with its own volume")
    pairs = [pairs[k] for k in shown_scans(len(pairs), 3)]
    at = _middle(fixed)
    base = _sections(fixed, at)
    rows: list[tuple[int, list[list[Array]]]] = []
    for k, *volumes in pairs:
        planes = [_sections(volume, at)[:2] for volume in volumes]
        rows.append((k, [[p - q for p, q in zip(two, base[:2], strict=True)] for two in planes]))
    limit = symmetric([plane for _, (before, _) in rows for plane in before], 95)
    limit = max(limit, nice(4 * max(float(np.nanstd(plane)) for _, (_, after) in rows for plane in after)))
    room = 2.65
    figure = canvas(11, room * len(rows))
    axes = [
        [axes_at(figure, 0.3 + 2.42 * k, row * room + 0.27, 2.34, 2.34) for k in range(4)] for row in range(len(rows))
    ]
    shown = None
    for row, (k, (unmoved, moved)) in zip(axes, rows, strict=True):
        for ax, plane, text in zip(
            row,
            (unmoved[0], moved[0], unmoved[1], moved[1]),
            ("x–y before", "x–y after", "x–z before", "x–z after"),
            strict=True,
        ):
            shown = show(ax, plane, **diverging(limit))
            spread = np.sqrt(np.nanmean(np.square(plane, dtype=np.float64)))
            plain_axes(ax, f"{text}, rms {spread:.3g}")
            scale_bar(ax, plane.shape[1] * fixed.step, fixed.length, INK)
        row[0].set_ylabel(contents.scans[k], fontsize=8.5)
    place = (10.12, 0.1 * room * len(rows), 0.18, 0.8 * room * len(rows))
    colour_bar(figure, shown, place, f"difference, {fixed.unit}", extend="both")
    return figure


# ------------------------------------------------------------------------------------------------------ labels


def labels(contents: Contents) -> Figure:
    """Draw the labels of the reference and of the last scan in three planes, the volume beneath."""
    from matplotlib.colors import ListedColormap
    from matplotlib.patches import Patch

    last = len(contents.scans) - 1
    chosen = list(dict.fromkeys([contents.reference, last]))
    levels = [(k, open_level(contents, "registered/labels/materials", SIDE, k)) for k in chosen]
    colors, names = label_colours(levels[0][1]), label_names(levels[0][1])
    present: set[int] = set()
    room = 3.1
    figure = canvas(11, room * len(chosen) + 0.5)
    axes = [
        [axes_at(figure, 0.3 + 3.57 * k, row * room + 0.27, 3.49, room - 0.3) for k in range(3)]
        for row in range(len(chosen))
    ]
    table = np.zeros((256, 4))
    for value, rgb in colors.items():
        table[value] = (*(c / 255 for c in rgb), 0.5)
    for row, (k, level) in zip(axes, levels, strict=True):
        values = open_level(contents, "registered", SIDE, k)
        at = _middle(level)
        below = _sections(values, at) if values.shape == level.shape else [None] * 3
        tone = contrast(np.concatenate([np.ravel(b) for b in below if b is not None] or [np.zeros(1)]))
        for ax, plane, under, name in zip(row, _sections(level, at), below, ("x–y", "x–z", "y–z"), strict=True):
            if under is not None:
                show(ax, under, **grey(tone))
            show(ax, plane, cmap=ListedColormap(table), vmin=-0.5, vmax=255.5)
            present |= set(np.unique(plane).tolist())
            plain_axes(ax, f"{contents.scans[k]}, {name}")
            scale_bar(ax, plane.shape[1] * level.step, level.length)
        if any(under is not None for under in below):
            scale = f"beneath: black {tone[0]:.2g} to white {tone[1]:.2g} {values.unit}".replace("-", "−")
            row[0].set_ylabel(scale, fontsize=SMALL)
    handles = [Patch(color=table[v], label=names[v]) for v in sorted(names) if v in present]
    figure.legend(handles=handles, loc="lower center", ncols=max(len(handles), 1), fontsize=8.5, frameon=False)
    return figure
