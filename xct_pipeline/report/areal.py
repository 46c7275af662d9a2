"""The areal map of each scan with its error and its significance, over bins large enough to say something."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from xct_pipeline.report.charts import axes, subplots
from xct_pipeline.report.contents import AbsentError, Array, Contents, Level, open_level
from xct_pipeline.report.drawing import INK, length_text, plain_unit, shown_scans, symmetric
from xct_pipeline.report.plotly_json import BLUE_TO_RED, Chart, scatter, trace
from xct_pipeline.store import layout
from xct_pipeline.variation.uncertainty import DECISION, DETECTION

SCANS = 6
ACROSS = 20
"""Bins across the region that a map needs at least."""
MOST = 144
"""Bins across a map that a page needs at most."""


@dataclass(frozen=True)
class Bins:
    """One scan's map over square bins.

    Attributes
    ----------
    value, sigma, noise : numpy.ndarray
        Change, its standard error and the noise in that, nan outside the region and where they were not measured.
    size : int
        Edge of a bin in pixels.
    pixel_sigma : float
        Median standard error of a pixel.
    """

    value: Array
    sigma: Array
    noise: Array
    size: int
    pixel_sigma: float

    @property
    def ratio(self) -> Array:
        """Change over its error; 0 where nothing can have changed."""
        with np.errstate(invalid="ignore", divide="ignore"):
            ratio = np.where(self.sigma > 0, self.value / self.sigma, np.where(self.value == 0, 0.0, np.nan))
        return np.asarray(ratio)


@dataclass(frozen=True)
class Maps:
    """Maps of some scans on the same bins.

    Attributes
    ----------
    scans : tuple of int
    last : int
        Position of the last scan that was measured.
    bins : tuple of Bins
    level : Level
    x, y : numpy.ndarray
        Middles of the bins in the level's unit of length.
    unmeasured : str
        Why there is no error of bins; empty where it follows from the measured autocovariance.
    """

    scans: tuple[int, ...]
    last: int
    bins: tuple[Bins, ...]
    level: Level
    x: Array
    y: Array
    unmeasured: str


@dataclass(frozen=True)
class Plane:
    """One scan's map as a run wrote it, and how its errors add up over bins.

    Attributes
    ----------
    value, sigma, noise : numpy.ndarray
        Change of each pixel, its standard error and the noise in that; nan where the store has none.
    ratio : numpy.ndarray or None
        Noise of the mean over 1 x 1, 2 x 2, ... pixels over that of a pixel; None where it was not measured.
    relative : float
        Error in proportion to the change: of the mass attenuation, the energy, the closure.
    """

    value: Array
    sigma: Array
    noise: Array
    ratio: Array | None
    relative: float


def areal_maps(contents: Contents, most: int = SCANS, across: int = ACROSS) -> Maps:
    """Read the maps; bins grow until the changes of the last scan are beyond the detection limit (root mean square).

    Parameters
    ----------
    contents : Contents
    most : int
        Scans that are read.
    across : int
        Bins across the region that are left at least.

    Raises
    ------
    AbsentError
        There is no map.
    """
    chosen = tuple(shown_scans(len(contents.scans), most))
    key = "areal maps", chosen, across
    if key not in contents.held:
        contents.held[key] = _maps(contents, chosen, across)
    found: Maps = contents.held[key]
    return found


def _maps(contents: Contents, chosen: tuple[int, ...], across: int) -> Maps:
    planes = {t: read_plane(contents, t) for t in chosen}
    pivot = max((t for t in chosen if np.isfinite(planes[t].value).any()), default=None)
    if pivot is None:
        raise AbsentError("the areal map holds no numbers")
    last, unmeasured = planes[pivot], _unmeasured(contents, planes)
    known = np.isfinite(last.value)
    span = int(max(np.ptp(np.flatnonzero(known.any(axis=k))) + 1 for k in (0, 1)))
    size = least = max(1, -(-max(known.shape) // MOST))
    if not unmeasured and last.ratio is not None:
        for size in range(least, min(max(least, span // across), len(last.ratio)) + 1):
            trial = binned(last, size)
            if np.sqrt(np.nanmean(trial.value**2)) >= DETECTION * np.nanmedian(trial.sigma):
                break
    bins = tuple(binned(plane, size) for plane in planes.values())
    level = open_level(contents, layout.AREAL, 10**9, chosen[0])
    y, x = ((np.arange(n) + 0.5) * size * level.step for n in bins[0].value.shape)
    return Maps(chosen, chosen.index(pivot), bins, level, x, y, unmeasured)


def read_plane(contents: Contents, t: int) -> Plane:
    """Read a scan's map with its errors."""
    value, sigma, noise = (_map(contents, path, t) for path in (layout.AREAL, layout.AREAL_SIGMA, layout.AREAL_NOISE))
    assert value is not None
    unknown = np.full_like(value, np.nan)
    ratio = contents.series.noise_ratio(contents.scans[t])
    relative = _relative(contents, t)
    return Plane(value, unknown if sigma is None else sigma, unknown if noise is None else noise, ratio, relative)


def _map(contents: Contents, path: str, t: int) -> Array | None:
    if path != layout.AREAL and not contents.has(path):
        return None
    return open_level(contents, path, 10**9, t).read(slice(None), slice(None)).astype(np.float64)


def _unmeasured(contents: Contents, planes: Mapping[int, Plane]) -> str:
    """Say what the error of bins lacks, nothing where it was measured for every scan that has a map."""
    for path in (layout.AREAL_SIGMA, layout.AREAL_NOISE):
        if not contents.has(path):
            return f"the store has no image {path}"
    changed = {t: plane for t, plane in planes.items() if t != contents.reference and np.isfinite(plane.value).any()}
    lacking = [contents.scans[t] for t, plane in changed.items() if plane.ratio is None]
    return f"the store keeps no autocovariance of the noise of {', '.join(lacking)}" if lacking else ""


def binned(plane: Plane, size: int) -> Bins:
    """Average a map over bins: noise averages out as its autocovariance says, what else pixels err by does not."""
    mean, count = average(plane.value, size)
    kept = count >= 0.5 * size * size  # a bin at the rim counts where half of it lies in the region
    middle = float(np.nanmedian(plane.sigma)) if np.isfinite(plane.sigma).any() else np.nan
    mean = np.where(kept, mean, np.nan)
    if size == 1:
        return Bins(mean, plane.sigma, plane.noise, size, middle)
    if plane.ratio is None or size > len(plane.ratio):
        unknown = np.full_like(mean, np.nan)
        return Bins(mean, unknown, unknown, size, middle)
    square = average(plane.noise**2, size)[0] * size**2 / np.maximum(count, 1)
    noise = np.where(kept, np.sqrt(square) * plane.ratio[size - 1], np.nan)
    shared = plane.sigma**2 - plane.noise**2 - (plane.relative * plane.value) ** 2
    rest, _ = average(np.sqrt(np.maximum(shared, 0.0)), size)
    error = np.sqrt(noise**2 + rest**2 + (plane.relative * mean) ** 2)
    return Bins(mean, np.where(kept, error, np.nan), noise, size, middle)


def average(plane: Array, size: int) -> tuple[Array, Array]:
    """Return the mean over what is known of each bin, and how many pixels that is."""
    shape = tuple(-(-n // size) for n in plane.shape)
    padded = np.full((shape[0] * size, shape[1] * size), np.nan)
    padded[: plane.shape[0], : plane.shape[1]] = plane
    blocks = padded.reshape(shape[0], size, shape[1], size)
    known = np.isfinite(blocks)
    count = known.sum(axis=(1, 3))
    total = np.where(known, blocks, 0.0).sum(axis=(1, 3))
    return np.where(count > 0, total / np.maximum(count, 1), np.nan), count


def _relative(contents: Contents, t: int) -> float:
    """Return the error of a scan's mass in proportion to it, 0 where the mass balance does not tell."""
    columns = ("sigma_table_mg", "sigma_energy_mg", "sigma_closure_mg")
    newer = ("sigma_linearity_mg", "sigma_pixel_mg")  # not in stores of before 1.0
    try:
        table = contents.table("mass_balance", "scan", "mass_change_mg", *columns)
    except AbsentError:
        return 0.0
    row = table[table["scan"] == contents.scans[t]]
    mass = float(row["mass_change_mg"].iloc[0]) if len(row) else 0.0
    relative = [*columns, *(name for name in newer if name in row)]
    share = float(np.linalg.norm(row[relative].to_numpy(float)[0])) / abs(mass) if mass else 0.0
    return share if np.isfinite(share) else 0.0


def areal(contents: Contents) -> tuple[Any, str]:
    """Draw change, error and significance of one scan at a time, chosen with a slider; and say how large a bin is."""
    maps = areal_maps(contents)
    titles = ("change", "its standard error σ", "significance, change / σ")
    chart = subplots(1, 3, 398, {"subplot_titles": titles, "horizontal_spacing": 0.085})
    for position in range(len(maps.bins)):
        _add_scan(chart, maps, position)
    steps = [
        {
            "label": contents.scans[t],
            "method": "restyle",
            "args": [{"visible": [p == position for p in range(len(maps.bins)) for _ in range(4)]}],
        }
        for position, t in enumerate(maps.scans)
    ]
    slider = {
        "active": maps.last,
        "steps": steps,
        "currentvalue": {"prefix": "scan: "},
        "pad": {"t": 38},
        "len": 0.9,
        "x": 0.05,
    }
    chart.update_layout(sliders=[slider], showlegend=False, margin={"l": 60, "r": 70, "b": 45})
    _arrange(chart, maps)
    edge = length_text(float(f"{maps.bins[0].size * maps.level.step:.4g}"), maps.level.length)
    size = maps.bins[0].size
    text = (
        "Each square is one pixel of the store's map."
        if size == 1
        else f"Each square is the mean of {size} × {size} pixels, {edge} wide."
    )
    if maps.unmeasured:
        return chart, f"{text} The error of larger squares was not measured: {maps.unmeasured}."
    return (
        chart,
        text if size == 1 else f"{text[:-1]}; its error follows from the measured autocovariance of the noise.",
    )


def _add_scan(chart: Chart, maps: Maps, position: int) -> None:
    """Add the three maps of a scan and the line around what exceeds the decision limit: four traces."""
    bins, last = maps.bins[position], position == maps.last
    unit = plain_unit(maps.level.unit)
    value = symmetric([b.value for b in maps.bins], 99.5)
    sigma = max((float(np.nanpercentile(b.sigma, 99)) for b in maps.bins if np.isfinite(b.sigma).any()), default=1.0)
    planes = (
        (bins.value, BLUE_TO_RED, -value, value, unit),
        (bins.sigma, "Viridis", 0, sigma or 1.0, unit),
        (bins.ratio, BLUE_TO_RED, -5, 5, "σ"),
    )
    for column, (z, colours, low, high, label) in enumerate(planes, 1):
        bar = {
            "title": {"text": label, "side": "right"},
            "thickness": 9,
            "len": 0.82,
            "x": (0.278, 0.638, 1.0)[column - 1],
            "outlinewidth": 0.5,
        }
        chart.add_trace(
            trace(
                "heatmap",
                z=z.astype(np.float32),
                x=maps.x,
                y=maps.y,
                colorscale=colours,
                zmin=low,
                zmax=high,
                colorbar=bar,
                visible=last,
                hoverongaps=False,
                hovertemplate=f"x %{{x:.4g}} {maps.level.length}, y %{{y:.4g}} {maps.level.length}<br>"
                f"%{{z:.3g}} {label}<extra></extra>",
            ),
            1,
            column,
        )
    beyond = (np.abs(bins.ratio) > DECISION).astype(np.float32)
    if not beyond.any():
        chart.add_trace(scatter(x=[], y=[], visible=False, showlegend=False), 1, 3)
        return
    chart.add_trace(
        scatter(
            **_outline(beyond > 0, maps),
            mode="lines",
            visible=last,
            showlegend=False,
            hoverinfo="skip",
            line={"color": INK, "width": 1},
        ),
        1,
        3,
    )


def _outline(mask: Array, maps: Maps) -> dict[str, Any]:
    """Return the edges between bins inside and outside a mask, as one line with gaps."""
    step = maps.bins[0].size * maps.level.step
    wide = np.pad(mask, 1)
    x: list[float | None] = []
    y: list[float | None] = []
    for j, i in np.argwhere(wide[1:, 1:-1] != wide[:-1, 1:-1]):
        x += [i * step, (i + 1) * step, None]
        y += [j * step, j * step, None]
    for j, i in np.argwhere(wide[1:-1, 1:] != wide[1:-1, :-1]):
        x += [i * step, i * step, None]
        y += [j * step, (j + 1) * step, None]
    return {"x": x, "y": y}


def _arrange(chart: Chart, maps: Maps) -> None:
    """Name the axes, keep pixels square, show the region and a margin."""
    axes(chart, f"x, {maps.level.length}", f"y, {maps.level.length}")
    chart.update_xaxes(constrain="domain", showgrid=False, nticks=5)
    chart.update_yaxes(constrain="domain", showgrid=False, nticks=6)
    for k in ("", "2", "3"):
        chart.update_layout(**{f"yaxis{k}": {"scaleanchor": f"x{k}"}})
    for k in ("2", "3"):
        chart.update_layout(**{f"yaxis{k}": {"title": {"text": ""}, "showticklabels": False}})
    known = np.isfinite(maps.bins[maps.last].value)
    if known.any():
        half = 0.5 * maps.bins[0].size * maps.level.step
        for axis, at, update in ((0, maps.x, chart.update_xaxes), (1, maps.y, chart.update_yaxes)):
            there = at[known.any(axis=axis)]
            margin = half + 0.04 * (there[-1] - there[0] + 2 * half)
            update(range=[float(there[0] - margin), float(there[-1] + margin)])


def significance(contents: Contents) -> list[dict[str, Any]]:
    """Return, per scan, the mean change, the errors of a pixel and of a bin, the limits, and what exceeds them."""
    maps = areal_maps(contents, 24)
    unit, rows = plain_unit(maps.level.unit), []
    for t, bins in zip(maps.scans, maps.bins, strict=True):
        ratio = bins.ratio
        known = np.isfinite(ratio)
        if t == contents.reference or not known.any():
            continue
        middle = float(np.nanmedian(bins.sigma[known]))
        rows.append(
            {
                "scan": contents.scans[t],
                f"mean change, {unit}": float(np.nanmean(bins.value[known])),
                f"σ of a pixel, {unit}": bins.pixel_sigma,
                f"σ of a bin, {unit}": middle,
                f"decision limit of a bin, {unit}": DECISION * middle,
                f"detection limit of a bin, {unit}": DETECTION * middle,
                "bins beyond the decision limit, %": round(100 * float((np.abs(ratio[known]) > DECISION).mean())),
            }
        )
    return rows
