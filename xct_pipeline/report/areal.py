"""The areal map of each scan with its error and its significance, over bins large enough to say something."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from xct_pipeline.report.charts import axes, figure
from xct_pipeline.report.contents import AbsentError, Array, Contents, Level, open_level
from xct_pipeline.report.drawing import INK, length_text, plain_unit, shown_scans, symmetric
from xct_pipeline.variation import noise
from xct_pipeline.variation.uncertainty import DECISION, DETECTION

if TYPE_CHECKING:
    import plotly.graph_objects as go


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
    value, sigma : numpy.ndarray
        Change and its standard error, nan outside the region.
    size : int
        Edge of a bin in pixels.
    pixel_sigma : float
        Median standard error of a pixel.
    """

    value: Array
    sigma: Array
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
    measured : bool
        Whether the errors of bins come from the measured autocovariance; else each bin is one pixel.
    """

    scans: tuple[int, ...]
    last: int
    bins: tuple[Bins, ...]
    level: Level
    x: Array
    y: Array
    measured: bool


def areal_maps(contents: Contents, most: int = SCANS) -> Maps:
    """Read the maps; bins grow until the changes of the last scan are beyond the detection limit (root mean square).

    Raises
    ------
    AbsentError
        There is no map.
    """
    chosen = tuple(shown_scans(len(contents.scans), most))
    planes = {t: _read(contents, t) for t in chosen}
    pivot = max((t for t in chosen if np.isfinite(planes[t][0]).any()), default=None)
    if pivot is None:
        raise AbsentError("the areal map holds no numbers")
    last = planes[pivot]
    known = np.isfinite(last[0])
    span = int(max(np.ptp(np.flatnonzero(known.any(axis=k))) + 1 for k in (0, 1)))
    least = max(1, -(-max(known.shape) // MOST))
    largest = max(least, span // ACROSS)
    factors = {t: _factors(contents, t, largest) for t in chosen}
    size, measured = least, factors[pivot] is not None
    if measured:
        for size in range(least, largest + 1):
            trial = _binned(contents, pivot, last, size, factors[pivot])
            if np.sqrt(np.nanmean(trial.value**2)) >= DETECTION * np.nanmedian(trial.sigma):
                break
    bins = tuple(_binned(contents, t, plane, size, factors[t]) for t, plane in planes.items())
    level = open_level(contents, "variation/areal", 10**9, chosen[0])
    y, x = ((np.arange(n) + 0.5) * size * level.step for n in bins[0].value.shape)
    return Maps(chosen, chosen.index(pivot), bins, level, x, y, measured)


def _read(contents: Contents, t: int) -> tuple[Array, Array]:
    """Read a scan's map and its error; the error is nan where the store has none."""
    value = open_level(contents, "variation/areal", 10**9, t).read(slice(None), slice(None)).astype(np.float64)
    sigma = np.full_like(value, np.nan)
    if contents.has("variation/areal_sigma"):
        sigma = open_level(contents, "variation/areal_sigma", 10**9, t).read(slice(None), slice(None)).astype(float)
    return value, sigma


def _binned(contents: Contents, t: int, maps: tuple[Array, Array], size: int, factors: Array | None) -> Bins:
    """Average a map over bins; noise averages out as its autocovariance says, what all pixels share does not."""
    value, sigma = maps
    mean, count = average(value, size)
    square, _ = average(sigma**2, size)
    factor = 1.0 if factors is None else factors[size - 1]
    kept = count >= 0.5 * size * size  # a bin at the rim counts where half of it lies in the region
    mean = np.where(kept, mean, np.nan)
    shared = 0.0 if size == 1 else _shared(contents, t)
    error = np.where(kept, np.hypot(np.sqrt(square) * factor, shared * np.abs(mean)), np.nan)
    middle = float(np.nanmedian(sigma)) if np.isfinite(sigma).any() else np.nan
    return Bins(mean, error, size, middle)


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


def _factors(contents: Contents, t: int, largest: int) -> Array | None:
    """Return the error of a bin's mean over that of a pixel for sizes 1, 2, ...; None where it was not measured."""
    if t == contents.reference:
        return np.ones(largest)
    names = contents.scans[t], contents.scans[contents.reference]
    file = contents.store.state / "estimates" / "noise" / "{}_{}.npz".format(*names)
    if not file.exists():
        return None
    with np.load(file, allow_pickle=False) as data:
        if not {"products", "pairs"} <= set(data):
            return None
        covariance = noise.autocovariance(noise.LagSums(data["products"], data["pairs"]))
    height = _height(contents)
    lag = tuple(n // 2 for n in covariance.shape)
    found = []
    for size in range(1, largest + 1):
        pairs = noise.prism_overlap(height, np.ones((size, size), bool), lag)
        found.append(np.sqrt(noise.sum_variance(covariance, pairs)) / size**2)
    return np.asarray(np.minimum(np.array(found) / max(found[0], 1e-30), 1.0))


def _height(contents: Contents) -> int:
    """Return over how many planes the map is an integral, at most; lags along z hardly tell 20 from 200."""
    region = (contents.config.get("variation") or {}).get("region") or {}
    for kind in ("cylinder", "box"):
        if shape := region.get(kind):
            return max(int(shape["z"][1] - shape["z"][0]), 1)
    return 32


def _shared(contents: Contents, t: int) -> float:
    """Return the relative error that all pixels of a scan share: everything but the noise, from the mass balance."""
    try:
        table = contents.table("mass_balance", "scan", "mass_change_mg", "sigma_mg", "sigma_noise_mg")
    except AbsentError:
        return 0.0
    row = table[table["scan"].astype(str) == contents.scans[t]]
    if not len(row):
        return 0.0
    mass, sigma, counting = (float(row[c].iloc[0]) for c in ("mass_change_mg", "sigma_mg", "sigma_noise_mg"))
    share = np.sqrt(max(sigma**2 - counting**2, 0.0)) / abs(mass) if mass else 0.0
    return float(min(share, 1.0)) if np.isfinite(share) else 0.0


def areal(contents: Contents) -> tuple[Any, str]:
    """Draw change, error and significance of one scan at a time, chosen with a slider; and say how large a bin is."""
    from plotly.subplots import make_subplots

    maps = areal_maps(contents)
    chart = make_subplots(
        1, 3, subplot_titles=("change", "its standard error σ", "significance, change / σ"), horizontal_spacing=0.085
    )
    chart.update_layout(figure(430).layout)
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
    chart.update_layout(sliders=[slider], showlegend=False, margin={"l": 60, "r": 70, "t": 35, "b": 45})
    _arrange(chart, maps)
    edge = length_text(float(f"{maps.bins[0].size * maps.level.step:.4g}"), maps.level.length)
    if maps.bins[0].size == 1:
        return chart, "Each square is one pixel of the store's map."
    return chart, (
        f"Each square is the mean of {maps.bins[0].size} × {maps.bins[0].size} pixels, {edge} wide"
        + ("; its error follows from the measured autocovariance of the noise." if maps.measured else ".")
    )


def _add_scan(chart: go.Figure, maps: Maps, position: int) -> None:
    """Add the three maps of a scan and the line around what exceeds the decision limit: four traces."""
    import plotly.graph_objects as go

    bins, last = maps.bins[position], position == maps.last
    unit = plain_unit(maps.level.unit)
    value = symmetric([b.value for b in maps.bins], 99.5)
    sigma = max((float(np.nanpercentile(b.sigma, 99)) for b in maps.bins if np.isfinite(b.sigma).any()), default=1.0)
    planes = (
        (bins.value, "RdBu_r", -value, value, unit),
        (bins.sigma, "Viridis", 0, sigma or 1.0, unit),
        (bins.ratio, "RdBu_r", -5, 5, "σ"),
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
            go.Heatmap(
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
        chart.add_trace(go.Scatter(x=[], y=[], visible=False, showlegend=False), 1, 3)
        return
    chart.add_trace(
        go.Scatter(
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


def _arrange(chart: go.Figure, maps: Maps) -> None:
    """Name the axes, keep pixels square, show the region and a margin."""
    axes(chart, f"x, {maps.level.length}", f"y, {maps.level.length}")
    chart.update_xaxes(constrain="domain", showgrid=False, nticks=5)
    chart.update_yaxes(constrain="domain", showgrid=False, nticks=6)
    for k in ("", "2", "3"):
        chart.update_layout({f"yaxis{k}": {"scaleanchor": f"x{k}"}})
    for k in ("2", "3"):
        chart.update_layout({f"yaxis{k}": {"title": {"text": ""}, "showticklabels": False}})
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
