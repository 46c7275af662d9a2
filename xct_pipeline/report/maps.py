"""The maps of mass variation in time: beside the voltage profile, and from scan to scan."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from xct_pipeline.report.contents import AbsentError, Array, Contents, Level, open_level, read_small, region_mask
from xct_pipeline.report.drawing import (
    INK,
    PALETTE,
    SMALL,
    canvas,
    colour_bar,
    curve_axes,
    data_uri,
    diverging,
    plain_axes,
    plain_unit,
    scale_bar,
    show,
    shown_scans,
    symmetric,
    time_unit,
)
from xct_pipeline.report.projection import box_edges, paint, window

ROWS = 6
MAP_SIDE = 192
SOLID_SIDE = 72


def time_series(contents: Contents) -> str:
    """Draw the maps of every scan below the voltage profile, all on one diverging scale."""
    open_level(contents, "variation/density", SOLID_SIDE, 0)
    chosen = shown_scans(len(contents.scans), ROWS)
    views = [_views(contents, t) for t in chosen]
    limit = symmetric([plane for _, planes, _ in views for plane in planes], 99.0)
    voltage = _voltage(contents)
    columns = max(len(chosen), 3)
    width = 9.4 / columns
    planes = views[0][1]
    ratios = [1.75, 0.72 * width, *(max(p.shape[0] / p.shape[1], 0.18) * width for p in planes)]
    ratios = ratios if voltage is not None else ratios[1:]
    figure = canvas(11, sum(ratios) + 1.0)
    figure.get_layout_engine().set(hspace=0.015, wspace=0.015)
    grid = figure.add_gridspec(len(ratios), columns, height_ratios=ratios)
    first = len(ratios) - 4
    if voltage is not None:
        _profile(figure.add_subplot(grid[0, :]), contents, voltage, chosen)
    axes = [
        figure.add_subplot(grid[first + row, column]) for column in range(len(chosen)) for row in range(4)
    ]  # fmt: skip
    shown = None
    for column, (t, view) in enumerate(zip(chosen, views, strict=True)):
        shown = _column(axes[4 * column : 4 * column + 4], contents, t, view, limit, column == 0)
    unit = plain_unit(views[0][2].unit)
    colour_bar(figure, shown, axes, f"mean change of density, {unit} (loss is negative)", extend="both", shrink=0.6)
    return data_uri(figure)


def _column(axes: Sequence[Any], contents: Contents, t: int, view: Any, limit: float, first: bool) -> Any:
    """Draw one scan: its change in space, and its three means."""
    solid, planes, level = view
    divisor, unit = time_unit(contents.times_s)
    when = contents.times_s[t] / divisor
    _solid(axes[0], solid, limit)
    axes[0].set_title(contents.scans[t] + (f", {when:.2f} {unit}" if np.isfinite(when) else ""), fontsize=8.5)
    shown = None
    for ax, plane, name in zip(axes[1:], planes, ("x–y", "x–z", "y–z"),
                               strict=True):  # fmt: skip
        shown = show(ax, plane, **diverging(limit))
        plain_axes(ax)
        if first:
            ax.set_ylabel(name, fontsize=SMALL, rotation=0, ha="right", va="center")
    scale_bar(axes[1], planes[0].shape[1] * level.step, level.length, INK)
    return shown


def _views(contents: Contents, t: int) -> tuple[tuple[Array, Array], list[Array], Level]:
    """Return a small volume with its region, and the means of the region along z, y and x, of one scan."""
    level = open_level(contents, "variation/density", MAP_SIDE, t)
    values, stride = read_small(level, MAP_SIDE)
    region = region_mask(contents, level, stride, values.shape)
    part = _bounds(region)
    values, inside = values[part], region[part] & np.isfinite(values[part])
    values = np.where(inside, values, 0)
    means = []
    for axis in range(3):
        count = inside.sum(axis=axis)
        mean = values.sum(axis=axis, dtype=np.float64) / np.maximum(count, 1)
        means.append(np.where(count > 0, mean, np.nan))
    return _smooth(values, inside), means, replace(level, step=level.step * stride)


def _bounds(region: Array) -> tuple[slice, ...]:
    """Return the box around a region, with a margin."""
    if not region.any():
        return (slice(None),) * region.ndim
    box = []
    for axis, n in enumerate(region.shape):
        there = np.flatnonzero(region.any(axis=tuple(k for k in range(region.ndim) if k != axis)))
        margin = max(1, round(0.05 * (there[-1] - there[0])))
        box.append(slice(max(0, there[0] - margin), min(n, there[-1] + 1 + margin)))
    return tuple(box)


def _smooth(values: Array, inside: Array) -> tuple[Array, Array]:
    """Bring a volume to a side that is quickly drawn, averaged over neighbours inside the region."""
    from scipy import ndimage

    factor = max(1.0, max(values.shape) / SOLID_SIDE)
    sigma = max(1.0, 0.6 * factor)
    weight = ndimage.gaussian_filter(inside.astype(np.float32), sigma)
    mean = ndimage.gaussian_filter(values.astype(np.float32), sigma) / np.maximum(weight, 0.05)
    pick = tuple(np.arange(0, n, factor).astype(int) for n in values.shape)
    return np.where(inside, mean, 0)[np.ix_(*pick)], inside[np.ix_(*pick)]


def _solid(ax: Any, solid: tuple[Array, Array], limit: float) -> None:
    values, inside = solid
    picture = paint(values, limit, 0.3 * limit, inside)
    ax.imshow(picture, origin="lower", interpolation="bilinear")
    for ends, hidden in box_edges(values.shape):
        ax.plot(*ends.T, color="#b8c0c7", linewidth=0.5, linestyle=":" if hidden else "-", zorder=0 if hidden else 3)
    left, right, bottom, top = window(values.shape)
    ax.set_xlim(left, right)
    ax.set_ylim(bottom, top)
    plain_axes(ax, frame=False)


def _voltage(contents: Contents) -> tuple[Array, Array, str] | None:
    """Return time, voltage and how to draw them: a line from the log, else the points at the scans."""
    for name, style in (("cycler", "-"), ("mass_balance", "o--")):
        try:
            table = contents.table(name, "time_s", "voltage_V")
        except AbsentError:
            continue
        time, voltage = (table[c].to_numpy(dtype=float) for c in ("time_s", "voltage_V"))
        if np.isfinite(voltage).any():
            return time, voltage, style
    return None


def _profile(ax: Any, contents: Contents, voltage: tuple[Array, Array, str], chosen: Sequence[int]) -> None:
    time, values, style = voltage
    divisor, unit = time_unit([*contents.times_s, float(np.nanmax(time))])
    curve_axes(ax, f"time, {unit}", "voltage, V")
    ax.plot(time / divisor, values, style, color=INK, linewidth=1.3, markersize=4)
    ends = contents.attributes.get("times_s", {})
    for t, name in enumerate(contents.scans):
        start, end = ends.get(name) or (None, None)
        if start is not None and end is not None:
            ax.axvspan(start / divisor, end / divisor, color=PALETTE[0], alpha=0.16, linewidth=0)
        if np.isfinite(contents.times_s[t]):
            ax.axvline(contents.times_s[t] / divisor, color=PALETTE[0], linewidth=1.0 if t in chosen else 0.4)
            if t in chosen:
                ax.annotate(name, (contents.times_s[t] / divisor, 1.0), xycoords=("data", "axes fraction"),
                            fontsize=SMALL, color=PALETTE[0], ha="center", va="bottom", xytext=(0, 1),
                            textcoords="offset points")  # fmt: skip
    try:
        table = contents.table("cycler", "time_s", "charge_C")
    except AbsentError:
        return
    other = ax.twinx()
    other.plot(table["time_s"] / divisor, table["charge_C"], color=PALETTE[1], linewidth=1.0)
    other.set_ylabel("charge, C", fontsize=8.5, color=PALETTE[1])
    other.tick_params(labelsize=SMALL, colors=PALETTE[1])
    other.spines[["top", "left"]].set_visible(False)


def consecutive(contents: Contents) -> str:
    """Draw the areal change between consecutive scans."""
    open_level(contents, "variation/areal_consecutive", MAP_SIDE, 0)
    scans = list(range(1, len(contents.scans)))
    chosen = [scans[k] for k in shown_scans(len(scans), ROWS)]
    if not chosen:
        raise AbsentError("there is only one scan")
    levels = [open_level(contents, "variation/areal_consecutive", 1_000_000, k) for k in chosen]
    maps = [read_small(level, MAP_SIDE)[0] for level in levels]
    limit = symmetric(maps, 99.0)
    width = 11 / max(len(maps), 4)
    figure = canvas(11, width + 0.35)
    axes = figure.subplots(1, max(len(maps), 4), squeeze=False)[0]
    shown = None
    for ax, k, plane in zip(axes, chosen, maps, strict=False):
        shown = show(ax, plane, **diverging(limit))
        plain_axes(ax, f"{contents.scans[k]} − {contents.scans[k - 1]}")
        scale_bar(ax, levels[0].shape[1] * levels[0].step, levels[0].length, INK)
    for ax in axes[len(maps) :]:
        ax.set_visible(False)
    colour_bar(figure, shown, axes[: len(maps)], f"change, {plain_unit(levels[0].unit)}", extend="both")
    return data_uri(figure)
