"""The maps of mass variation in time: beside the voltage profile, and from scan to scan."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from xct_pipeline.report.areal import areal_maps, average
from xct_pipeline.report.contents import AbsentError, Array, Contents, Level, open_level
from xct_pipeline.report.drawing import (
    GREY,
    INK,
    PALETTE,
    SMALL,
    axes_at,
    canvas,
    colour_bar,
    curve_axes,
    diverging,
    grey,
    length_text,
    plain_axes,
    plain_unit,
    scale_bar,
    show,
    shown_scans,
    symmetric,
    time_unit,
)
from xct_pipeline.report.markup import plus_minus
from xct_pipeline.report.projection import box_edges, paint, window
from xct_pipeline.report.region import Part, read_part, smoothed

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


ROWS = 6
MAP_SIDE = 192
PART_SIDE = 110
BLUR, BLUR_SOLID = 1.5, 2.0
"""Standard deviation, voxels of the picture, of the Gaussian that single noisy voxels are averaged with."""

TITLE_IN = 0.42  # inches: two lines above a column
LEFT_IN, BAR_IN, GAP_IN = 0.6, 1.4, 0.08  # inches: of the names, of the scales on the right, between pictures
SIZE_IN = 0.16  # inches: a line below the first row
PROFILE_IN, LEADS_IN = 1.75, 0.75  # inches: the voltage, and between that and the titles of the columns


@dataclass(frozen=True)
class View:
    """What is shown of one scan: a small smoothed volume and its means along z, y and x, the last on top."""

    field: Array
    part: Part
    planes: tuple[Array, ...]
    spread: float


def time_series(contents: Contents) -> Figure:
    """Draw the maps of every scan below the voltage profile, all on one diverging scale."""
    open_level(contents, "variation/density", PART_SIDE, 0)
    chosen = shown_scans(len(contents.scans), ROWS)
    views = {t: _view(contents, t) for t in chosen}
    limit = symmetric([plane for view in views.values() for plane in view.planes], 99.8)
    threshold = min(max([0.25 * limit, *(1.5 * view.spread for view in views.values())]), 0.6 * limit)
    voltage = voltage_of(contents)
    columns = max(len(chosen), 3)
    width = (11 - LEFT_IN - BAR_IN - (columns - 1) * GAP_IN) / columns
    planes = views[chosen[0]].planes
    tall = [0.74 * width, *(max(p.shape[0] / p.shape[1], 0.18) * width for p in planes)]
    head = TITLE_IN + (0.25 + PROFILE_IN + LEADS_IN if voltage is not None else 0.05)
    tops = head + np.cumsum([0, *(height + GAP_IN for height in tall)]) + [0, *[SIZE_IN] * len(tall)]
    figure = canvas(11, tops[-1] + 0.2)
    lefts = [LEFT_IN + column * (width + GAP_IN) for column in range(len(chosen))]
    axes = [[axes_at(figure, x, y, width, h) for y, h in zip(tops, tall, strict=False)] for x in lefts]
    shown = None
    for column, (t, view) in enumerate(views.items()):
        if t == contents.reference:
            _pristine(axes[column], contents, t, view)
        else:
            shown = _change(axes[column], contents, t, view, limit, threshold)
        if column == 0:
            for ax, name in zip(axes[column][1:], ("x–y", "x–z", "y–z"), strict=True):
                ax.set_ylabel(name, fontsize=SMALL, rotation=0, ha="right", va="center")
    if shown is not None:
        unit = plain_unit(views[chosen[0]].part.level.unit)
        room = tops[-1] - head
        place = (11 - BAR_IN + 0.45, head + 0.15 * room, 0.2, 0.7 * room)
        colour_bar(figure, shown, place, f"change of density, {unit} (loss is negative)", extend="both")
    if voltage is not None:
        ax = axes_at(figure, LEFT_IN, 0.25, 11 - LEFT_IN - BAR_IN, PROFILE_IN)
        _profile(ax, contents, voltage, chosen)
        _leads(figure, ax, [column[0] for column in axes], contents, chosen)
    return figure


def _view(contents: Contents, t: int) -> View:
    """Return the smoothed change of the region, and its means along z, y and x (along the region only)."""
    part = read_part(contents, "variation/density", t, PART_SIDE)
    field = smoothed(part, BLUR)
    volume = smoothed(part, BLUR_SOLID)
    spread = 1.4826 * float(np.median(np.abs(volume[part.inside]))) if part.inside.any() else 0.0
    return View(volume, part, _means(field, part.inside), spread)


def _means(field: Array, inside: Array) -> tuple[Array, ...]:
    means = []
    for axis in range(3):
        count = inside.sum(axis=axis)
        mean = field.sum(axis=axis, dtype=np.float64) / np.maximum(count, 1)
        means.append(np.where(count > 0, mean, np.nan))
    return tuple(means)


def _title(ax: Axes, contents: Contents, t: int, note: str) -> None:
    divisor, unit = time_unit(contents.times_s)
    when = contents.times_s[t] / divisor
    text = contents.scans[t] + (f", {when:.2f} {unit}" if np.isfinite(when) else "")
    ax.set_title(f"{text}\n{note}" if note else text, fontsize=8.5, linespacing=1.35)


def _change(axes: Sequence[Any], contents: Contents, t: int, view: View, limit: float, threshold: float) -> Any:
    """Draw one scan: its change in space, and its three means; its mass stands above."""
    _solid(axes[0], view, limit, threshold)
    _title(axes[0], contents, t, _mass(contents, t))
    shown = None
    for ax, plane in zip(axes[1:], view.planes, strict=True):
        shown = show(ax, plane, **diverging(limit))
        plain_axes(ax)
    scale_bar(axes[1], view.planes[0].shape[1] * view.part.step, view.part.level.length, INK)
    return shown


def _pristine(axes: Sequence[Any], contents: Contents, t: int, view: View) -> None:
    """Draw the reference, whose change is 0: the region's outline, and what it looks like in grey."""
    part = view.part
    _solid(axes[0], view, 1.0, 0.5)
    sizes = [length_text(float(f"{n * part.step:.3g}"), part.level.length) for n in reversed(_extent(part.inside))]
    left, right, bottom, _ = window(view.field.shape)
    axes[0].text((left + right) / 2, bottom, " × ".join(sizes), fontsize=SMALL, color=GREY, ha="center", va="top")
    unit = ""
    try:
        cell = read_part(contents, "registered", t, PART_SIDE)
        planes, unit = _means(smoothed(cell, BLUR), cell.inside), cell.level.unit
    except AbsentError:
        planes = tuple(np.full(p.shape, np.nan) for p in view.planes)
    known = np.concatenate([p[np.isfinite(p)] for p in planes])
    tone = (min(0.0, float(known.min())), 1.3 * float(np.percentile(known, 99)), 1.0) if known.size else (0.0, 1.0, 1.0)
    scale = f"black {tone[0]:.2g} to white {tone[1]:.2g} {unit}".replace("-", "−")
    _title(axes[0], contents, t, "reference")
    for ax, plane in zip(axes[1:], planes, strict=True):
        show(ax, plane, **grey(tone))
        plain_axes(ax)
    if known.size:
        axes[-1].set_xlabel(scale, fontsize=SMALL)
    scale_bar(axes[1], planes[0].shape[1] * part.step, part.level.length, INK)


def _extent(inside: Array) -> list[int]:
    """Return how many voxels the region spans along z, y and x."""
    spans = []
    for axis in range(3):
        there = np.flatnonzero(inside.any(axis=tuple(k for k in range(3) if k != axis)))
        spans.append(int(there[-1] - there[0] + 1) if there.size else 0)
    return spans


def _mass(contents: Contents, t: int) -> str:
    try:
        table = contents.table("mass_balance", "scan", "mass_change_mg", "sigma_mg")
    except AbsentError:
        return ""
    row = table[table["scan"] == contents.scans[t]]
    if not len(row) or not np.isfinite(row["mass_change_mg"].iloc[0]):
        return ""
    return plus_minus(float(row["mass_change_mg"].iloc[0]), float(row["sigma_mg"].iloc[0])) + " mg"


def _solid(ax: Axes, view: View, limit: float, threshold: float) -> None:
    picture = paint(view.field, limit, threshold, view.part.inside)
    ax.imshow(picture, origin="lower", interpolation="bilinear")
    for ends, hidden in box_edges(view.field.shape):
        ax.plot(*ends.T, color="#b8c0c7", linewidth=0.5, linestyle=":" if hidden else "-", zorder=0 if hidden else 3)
    left, right, bottom, top = window(view.field.shape)
    ax.set_xlim(left, right)
    ax.set_ylim(bottom, top)
    plain_axes(ax, frame=False)


def _leads(figure: Figure, profile: Axes, tops: Sequence[Any], contents: Contents, chosen: Sequence[int]) -> None:
    """Lead from each scan on the profile to its column."""
    from matplotlib.patches import ConnectionPatch
    from matplotlib.transforms import ScaledTranslation

    divisor, _ = time_unit(contents.times_s)
    above = ScaledTranslation(0, TITLE_IN, figure.dpi_scale_trans)
    for ax, t in zip(tops, chosen, strict=True):
        if np.isfinite(contents.times_s[t]):
            figure.add_artist(
                ConnectionPatch(
                    (contents.times_s[t] / divisor, 0.0),
                    (0.5, 1.0),
                    profile.get_xaxis_transform(),
                    ax.transAxes + above,
                    color=PALETTE[0],
                    linewidth=0.8,
                    linestyle=(0, (2, 2)),
                    alpha=0.8,
                )
            )


def voltage_of(contents: Contents) -> tuple[Array, Array, str] | None:
    """Return time, voltage and how to draw them: a line from the log, else the points at the scans."""
    for name, style in (("cycler", "-"), ("mass_balance", "o--")):
        try:
            table = contents.table(name, "time_s", "voltage_V")
        except AbsentError:
            continue
        time, voltage = (table[c].to_numpy(dtype=float) for c in ("time_s", "voltage_V"))
        if (np.isfinite(voltage) & np.isfinite(time)).any():
            return time, voltage, style
    return None


def _profile(ax: Axes, contents: Contents, voltage: tuple[Array, Array, str], chosen: Sequence[int]) -> None:
    time, values, style = voltage
    divisor, unit = time_unit([*contents.times_s, float(np.nanmax(time))])
    curve_axes(ax, "", "voltage, V")
    ax.set_xlabel(f"time, {unit}", fontsize=8.5, loc="right")
    ax.plot(time / divisor, values, style, color=INK, linewidth=1.3, markersize=4)
    for t, (name, (start, end)) in enumerate(zip(contents.scans, contents.series.spans_s, strict=True)):
        if np.isfinite([start, end]).all():
            ax.axvspan(start / divisor, end / divisor, color=PALETTE[0], alpha=0.16, linewidth=0)
        if np.isfinite(contents.times_s[t]):
            ax.axvline(contents.times_s[t] / divisor, color=PALETTE[0], linewidth=1.0 if t in chosen else 0.4)
            if t in chosen:
                ax.annotate(
                    name,
                    (contents.times_s[t] / divisor, 1.0),
                    xycoords=("data", "axes fraction"),
                    fontsize=SMALL,
                    color=PALETTE[0],
                    ha="center",
                    va="bottom",
                    xytext=(0, 1),
                    textcoords="offset points",
                )
    try:
        table = contents.table("cycler", "time_s", "charge_C")
    except AbsentError:
        return
    other = ax.twinx()
    other.plot(table["time_s"] / divisor, table["charge_C"], color=PALETTE[1], linewidth=1.0)
    other.set_ylabel("charge, C", fontsize=8.5, color=PALETTE[1])
    other.tick_params(labelsize=SMALL, colors=PALETTE[1])
    other.spines[["top", "left"]].set_visible(False)


def consecutive(contents: Contents) -> Figure:
    """Draw the areal change between consecutive scans."""
    chosen, levels = _consecutive_levels(contents)
    size = _bin_size(contents, levels[0])
    maps = [_framed(level.read(slice(None), slice(None)), size) for level in levels]
    limit = symmetric(maps, 99.0)
    columns = max(len(maps), 3)
    width = (11 - GAP_IN - BAR_IN) / columns - GAP_IN
    tall = width * maps[0].shape[0] / maps[0].shape[1]
    figure = canvas(11, tall + 0.4)
    lefts = [GAP_IN + column * (width + GAP_IN) for column in range(len(maps))]
    shown = None
    for left, k, plane in zip(lefts, chosen, maps, strict=True):
        ax = axes_at(figure, left, 0.3, width, tall)
        shown = show(ax, plane, **diverging(limit))
        plain_axes(ax, f"{contents.scans[k]} − {contents.scans[k - 1]}")
        scale_bar(ax, plane.shape[1] * size * levels[0].step, levels[0].length, INK)
    place = (lefts[-1] + width + 2 * GAP_IN, 0.3 + 0.08 * tall, 0.16, 0.84 * tall)
    colour_bar(figure, shown, place, f"change, {plain_unit(levels[0].unit)}", extend="both")
    return figure


def consecutive_data(contents: Contents) -> dict[str, Any]:
    """Return the numbers of `consecutive`: what each map is of, the edge of its squares and their mean changes."""
    chosen, levels = _consecutive_levels(contents)
    size = _bin_size(contents, levels[0])
    grids = []
    for level in levels:
        mean, count = average(level.read(slice(None), slice(None)), size)
        kept = np.where(count >= 0.5 * size * size, mean, np.nan)
        grids.append([[None if np.isnan(v) else float(f"{v:.4g}") for v in line] for line in kept])
    return {
        "names": [f"{contents.scans[k]} - {contents.scans[k - 1]}" for k in chosen],
        "step": size * levels[0].step,
        "length": levels[0].length,
        "unit": levels[0].unit,
        "maps": grids,
    }


def _consecutive_levels(contents: Contents) -> tuple[list[int], list[Level]]:
    open_level(contents, "variation/areal_consecutive", MAP_SIDE, 0)
    scans = list(range(1, len(contents.scans)))
    chosen = [scans[k] for k in shown_scans(len(scans), ROWS)]
    if not chosen:
        raise AbsentError("there is only one scan")
    return chosen, [open_level(contents, "variation/areal_consecutive", 1_000_000, k) for k in chosen]


def _framed(plane: Array, size: int) -> Array:
    """Average over bins of which half is known, and cut to the region and a margin."""
    mean, count = average(plane, size)
    mean = np.where(count >= 0.5 * size * size, mean, np.nan)
    box = []
    for axis in (0, 1):
        there = np.flatnonzero(np.isfinite(mean).any(axis=1 - axis))
        box.append(slice(max(int(there[0]) - 1, 0), int(there[-1]) + 2) if there.size else slice(None))
    return np.asarray(mean[tuple(box)])


def _bin_size(contents: Contents, level: Level) -> int:
    """Return the bins of the areal maps, which a picture needs all the more of a difference of neighbours."""
    try:
        return areal_maps(contents).bins[0].size
    except AbsentError:
        return max(1, -(-max(level.shape) // MAP_SIDE))
