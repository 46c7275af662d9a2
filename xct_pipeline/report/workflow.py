"""The way from a reconstructed slice to the areal map, as one picture."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from xct_pipeline.report.areal import areal_maps
from xct_pipeline.report.contents import AbsentError, Array, Contents, Level, label_names, open_level
from xct_pipeline.report.drawing import (
    GREY,
    INK,
    ORANGE,
    SMALL,
    axes_at,
    canvas,
    closure_words,
    colour_bar,
    contrast,
    diverging,
    grey,
    plain_axes,
    plain_unit,
    scale_bar,
    show,
    symmetric,
)
from xct_pipeline.report.figures import label_image
from xct_pipeline.report.region import region_mask

if TYPE_CHECKING:
    from matplotlib.figure import Figure


SIDE = 400
WIDE, TALLEST, GAP = 3.5, 2.4, 0.2
"""Inches of a picture, at most, and between pictures."""
ABOVE, BELOW = 0.3, 0.85
"""Inches of the title, and of the note and the scale."""
HALF = 4
"""Planes on either side that a section of a noisy difference is averaged over."""


@dataclass(frozen=True)
class Step:
    """One picture of the chain: what it is, a note beneath, the plane, its width and how it is drawn."""

    title: str
    note: str
    plane: Array
    width: float
    length: str
    unit: str
    style: dict[str, Any]
    outline: Array | None = None
    line: float | None = None
    names: tuple[tuple[str, Any], ...] = ()


def workflow(contents: Contents) -> Figure:
    """Draw one section of the last scan at every stage from its volume to the areal map."""
    areal, height, t = _areal(contents)
    makers: Sequence[Callable[[], Step]] = (
        lambda: _grey(contents, f"scans/{contents.scans[t]}/volume", t, height, "reconstructed", contents.scans[t]),
        lambda: _grey(
            contents,
            "registered",
            t,
            height,
            "registered",
            f"{contents.scans[t]} in the frame of {contents.scans[contents.reference]}",
        ),
        lambda: _labels(contents, t, height),
        lambda: _signed(
            contents,
            "variation/attenuation",
            t,
            height,
            "change of attenuation",
            f"minus {contents.scans[contents.reference]}; orange: the region",
        ),
        lambda: _signed(contents, "variation/density", t, height, "change of density", _species(contents)),
    )
    steps = []
    for make in makers:
        try:
            steps.append(make())
        except AbsentError:
            continue
    if not any("vmin" in step.style for step in steps):
        raise AbsentError("the store has no difference of registered volumes yet")
    return _chain([*steps, areal] if areal else steps)


def _areal(contents: Contents) -> tuple[Step | None, float, int]:
    """Return the last areal map, where along y (as a share of the whole) it changes most, and its scan."""
    from scipy import ndimage

    try:
        maps = areal_maps(contents)
    except AbsentError:
        return None, 0.5, len(contents.scans) - 1
    plane, step = maps.bins[maps.last].value, maps.bins[0].size * maps.level.step
    change = np.abs(np.nansum(ndimage.uniform_filter(np.nan_to_num(plane), 3), axis=1))
    height = float((change.argmax() + 0.5) / len(change)) if change.any() else 0.5
    shown = Step(
        "areal map",
        "the integral along z; dotted: the section",
        plane,
        plane.shape[1] * step,
        maps.level.length,
        maps.level.unit,
        diverging(symmetric([plane], 99.5)),
        line=height,
    )
    return shown, height, maps.scans[maps.last]


def _section(level: Level, height: float, half: int) -> tuple[Array, int]:
    """Read the section x-z at a share of y as the mean of 2 half + 1 planes; and its y."""
    y = min(int(height * level.shape[1]), level.shape[1] - 1)
    whole = slice(None)
    return np.asarray(level.read(whole, slice(max(0, y - half), y + half + 1), whole)), y


def _grey(contents: Contents, path: str, t: int, height: float, title: str, note: str) -> Step:
    level = open_level(contents, path, SIDE, t)
    plane = _section(level, height, 0)[0].mean(axis=1)
    return Step(title, note, plane, level.shape[2] * level.step, level.length, level.unit, grey(contrast(plane)))


def _labels(contents: Contents, t: int, height: float) -> Step:
    level = open_level(contents, "registered/labels/materials", SIDE, t)
    plane = _section(level, height, 0)[0][:, 0]
    picture, colors = label_image(plane, level)
    names = tuple((label_names(level)[v], colors[v]) for v in sorted(colors) if (plane == v).any())
    return Step("labels", "", picture, level.shape[2] * level.step, level.length, "", {}, names=names)


def _signed(contents: Contents, path: str, t: int, height: float, title: str, note: str) -> Step:
    """Return a section of a difference on a scale that suits what happens in the region."""
    level = open_level(contents, path, SIDE, t)
    planes, y = _section(level, height, HALF)
    plane = planes.mean(axis=1)
    window = (slice(0, level.shape[0]), slice(y, y + 1), slice(0, level.shape[2]))
    inside = region_mask(contents, level, window)[:, 0] & np.isfinite(plane)
    limit = symmetric([plane[inside] if inside.any() else plane], 99.0)
    return Step(
        title,
        note,
        plane,
        level.shape[2] * level.step,
        level.length,
        level.unit,
        diverging(limit),
        None if inside.all() else inside,
    )


def _chain(steps: Sequence[Step]) -> Figure:
    columns = 3 if len(steps) > 4 else len(steps)
    room = ABOVE + TALLEST + BELOW
    figure = canvas(11, room * -(-len(steps) // columns))
    for k, step in enumerate(steps):
        row, column = divmod(k, columns)
        middle = 5.5 + (column - (columns - 1) / 2) * (WIDE + GAP)
        _draw(figure, middle, row * room + ABOVE, step, k)
    return figure


def _draw(figure: Figure, middle: float, top: float, step: Step, k: int) -> None:
    from matplotlib.patches import Patch
    from matplotlib.ticker import MaxNLocator

    signed = "vmin" in step.style
    rows, columns = step.plane.shape[:2]
    width = min(WIDE, TALLEST * columns / rows)
    height = width * rows / columns
    ax = axes_at(figure, middle - width / 2, top, width, height)
    shown = show(ax, step.plane, **step.style)
    plain_axes(ax, f"{'→ ' if k else ''}{k + 1}. {step.title}").title.set_fontsize(10)
    if step.outline is not None:
        ax.contour(step.outline.astype(float), [0.5], colors=ORANGE, linewidths=1.2)
    if step.line is not None:
        ax.axhline(step.line * step.plane.shape[0] - 0.5, color=INK, linewidth=0.8, linestyle=":")
    scale_bar(ax, step.width, step.length, INK if signed else "white")
    if step.names:
        handles = [Patch(color=color, label=name) for name, color in step.names]
        ax.legend(
            handles=handles,
            loc="upper center",
            bbox_to_anchor=(0.5, -0.02),
            ncols=min(len(handles), 4),
            fontsize=SMALL,
            frameon=False,
            handlelength=1.2,
            columnspacing=1.2,
        )
        return
    ax.set_xlabel(step.note, fontsize=SMALL + 0.5, color=GREY)
    label = f"{step.title if signed else 'attenuation'}, {plain_unit(step.unit)}"
    bar = colour_bar(figure, shown, (middle - 0.4 * WIDE, top + height + 0.35, 0.8 * WIDE, 0.09), label)
    if signed:
        bar.locator = MaxNLocator(5)
        bar.update_ticks()
    else:
        low, high, power = contrast(step.plane)
        ticks = [low, low + (high - low) * 0.5 ** (1 / power), high]
        bar.set_ticks(ticks, labels=[f"{v:.2g}" for v in ticks])


def _species(contents: Contents) -> str:
    variation = contents.config.get("variation") or {}
    closure = variation.get("closure")
    parts = (variation.get("species"), closure_words(closure) if closure else "")
    return ": ".join(str(part) for part in parts if part) or "of the species"
