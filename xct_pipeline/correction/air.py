"""Scale each projection so that air transmits 1: the beam's drift between flats.

A margin is looked for where air is seen by every projection; the level there replaces the assumption that
the beam did not change since the flats (the "air normalisation" of Kak and Slaney, 1988; robust against
defective columns and zingers by medians and trimmed means).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from xct_pipeline.compiled import empty, njit
from xct_pipeline.correction.running_median import running_median
from xct_pipeline.device import array_namespace, to_host

Floats = npt.NDArray[np.float64]
Singles = npt.NDArray[np.float32]
ENVELOPE = 5e-4  # line integral of a faint wall that may hide in a margin
ANGLES = 64  # projections whose levels are found together
HITS = 20_000  # values, of which one more may be a stray photon
BEAM_TREND = 0.2  # line integral by which flats may miss the beam's slow profile from edge to centre


@dataclass(frozen=True)
class Margin:
    """Columns of air at the two edges of the detector.

    Attributes
    ----------
    left, right : int
        Number of columns from each edge that are air in every projection and row; 0 where there are none.
    """

    left: int
    right: int


def find_margin(transmission: Any, *, tolerance: float = 0.02, snr: float = 6.0) -> Margin | None:
    """Find the columns at the left and right edge that are air in every projection.

    Air need not be 1, nor flat: each edge is compared with itself. An edge is air as far inwards as the line
    integral, smoothed over a few columns, neither changes from projection to projection against the outermost
    columns nor rises steeply (a slow trend is the beam's, the same in all projections), provided that the
    edge's distance from the brightest part of the projection stays the same, and small. Two columns and a
    fifth of what was found are given up, to stay outside the sample's fringe and blur. What moves less than
    the noise of a few pixels, or is concentric with the axis and has no steep edge, cannot be told from air.
    Where single pixels are too noisy for any of that and no edge is found, means over rows are looked at.

    Parameters
    ----------
    transmission : array (angle, row, column)
        Flat-corrected, not scaled; a sample of rows, or means over bands of rows, of ALL projections (what
        touches the edge in a single projection or row counts). Non-positive values are ignored.
    tolerance : float
        Change of the line integral that is accepted, over angles and over a few columns (also the faintest
        envelope that is told from air where the noise allows it).
    snr : float
        Departure in units of the noise of the smoothed line integral that is accepted beyond the tolerance.

    Returns
    -------
    Margin or None
        None where neither edge shows air.
    """
    data = np.asarray(to_host(transmission), np.float32)
    if data.ndim != 3 or data.shape[2] < 16:
        raise ValueError(f"transmission must be (angle, row, column) with 16 columns or more, not {data.shape}")
    found = _margin_of(data, tolerance, snr)
    if found is None and data.shape[1] > 1:
        strip = _strip(data.shape[2])
        edges = np.concatenate([np.diff(data[:, :, :strip], axis=2), np.diff(data[:, :, -strip:], axis=2)], axis=2)
        level = float(np.nanmedian(data[:, :, [0, -1]]))
        noise = 1.483 * float(np.nanmedian(np.abs(edges))) / np.sqrt(2) / max(level, 1e-6)
        rows = min(data.shape[1], int(np.ceil((noise / tolerance) ** 2)))
        if rows > 1:
            bands = np.array_split(data, int(np.ceil(data.shape[1] / rows)), axis=1)
            found = _margin_of(np.stack([band.mean(axis=1) for band in bands], axis=1), tolerance, snr)
    return found


def _margin_of(data: Singles, tolerance: float, snr: float) -> Margin | None:
    with np.errstate(divide="ignore", invalid="ignore"):
        p = -np.log(data)
    p[~np.isfinite(p)] = np.nan
    profile = _profile(p)
    p = _block_medians(p)
    smooth = _running_median(p, _box(data.shape[2]))
    sides = ((p, smooth), (p[:, :, ::-1], smooth[:, :, ::-1]))
    widths = [_air_columns(*side, tolerance, snr) for side in sides]
    least = max(4, data.shape[2] // 128)
    kept = [0 if w < least else w - min(2 + w // 5, w - least) for w in widths]
    kept = [_before_envelope(side, w, least) for side, w in zip((profile, profile[::-1]), kept, strict=True)]
    return Margin(*kept) if any(kept) else None


def _strip(n_columns: int) -> int:
    """Number of outermost columns that an edge is compared with."""
    return max(6, n_columns // 64)


def _box(n_columns: int) -> int:
    """Number of columns over which line integrals are smoothed, odd."""
    return max(3, _strip(n_columns) // 2) | 1


def _block_medians(p: Singles) -> Singles:
    """Median over neighbouring columns (3) and angles (3): zingers and single dead columns are gone."""
    smooth = np.empty(p.shape, np.float32)
    _median_of_neighbours(np.ascontiguousarray(p), smooth)
    lost = ~np.isfinite(smooth)
    if lost.any():
        smooth[lost] = 0 if lost.all() else np.median(smooth[~lost])
    return smooth


@njit
def _median_of_neighbours(p, out):  # type: ignore[no-untyped-def]
    """Median of each value and its neighbours along the first and last axis, as far as they are known."""
    n_angles, n_rows, n_columns = p.shape
    inf = np.float32(np.inf)
    known = empty((3, n_columns + 2), np.float32)  # inf stands for NaN
    for a in range(n_angles):
        for r in range(n_rows):
            for tap in range(3):
                line = p[min(max(a + tap - 1, 0), n_angles - 1), r]
                for c in range(n_columns):
                    known[tap, c + 1] = line[c] if line[c] == line[c] else inf
            known[1, 0] = known[1, n_columns + 1] = inf  # repeated, a hit at the edge would count twice
            for c in range(n_columns):
                v0, v1, v2 = known[1, c], known[1, c + 1], known[1, c + 2]
                v3, v4 = known[0, c + 1], known[2, c + 1]
                count = int(v0 < inf) + int(v1 < inf) + int(v2 < inf) + int(v3 < inf) + int(v4 < inf)
                v0, v1 = (v0, v1) if v0 < v1 else (v1, v0)
                v3, v4 = (v3, v4) if v3 < v4 else (v4, v3)
                v2, v4 = (v2, v4) if v2 < v4 else (v4, v2)
                v2, v3 = (v2, v3) if v2 < v3 else (v3, v2)
                v1, v4 = (v1, v4) if v1 < v4 else (v4, v1)
                v0, v3 = (v0, v3) if v0 < v3 else (v3, v0)
                v0, v2 = (v0, v2) if v0 < v2 else (v2, v0)
                v1, v3 = (v1, v3) if v1 < v3 else (v3, v1)
                v1, v2 = (v1, v2) if v1 < v2 else (v2, v1)
                low = v0 if count <= 2 else v1 if count <= 4 else v2
                high = v0 if count <= 1 else v1 if count <= 3 else v2
                out[a, r, c] = np.float32(0.5) * (low + high)


def _air_columns(p: Singles, smooth: Singles, tolerance: float, snr: float) -> int:
    """Count the columns from the left edge that are at its level in every projection and row."""
    n_columns = p.shape[2]
    strip, box = _strip(n_columns), _box(n_columns)
    level = np.median(p[:, :, :strip], axis=2)
    moving = smooth - level[:, :, None]
    fixed = np.median(moving, axis=0)  # (row, column): what the flats left, the same in every projection
    moving -= fixed
    np.abs(moving, out=moving)
    noise = 1.483 * float(np.median(moving[:, :, :strip]))
    drift = _all_but_hits(moving) > tolerance + snr * noise
    profile = np.median(fixed, axis=0)  # a slow trend is the beam's, a steep rise the sample's
    rise = np.zeros(n_columns, bool)
    rise[:-box] = np.abs(profile[box:] - profile[:-box]) > tolerance
    far = np.abs(profile - profile[:strip].mean()) > BEAM_TREND
    depth = level - smooth.min(axis=2)  # below the brightest part of the projection, (angle, row)
    typical = np.median(depth, axis=0)
    entered = float(_all_but_hits(np.abs(depth - typical))) > 2 * (tolerance + snr * noise)
    if entered or float(np.median(typical)) > BEAM_TREND + snr * noise:
        return 0
    inside = drift | rise | far
    left = np.flatnonzero(inside[:-1] & inside[1:])  # one column alone is a defect
    return int(left[0]) if left.size else n_columns // 2


def _all_but_hits(values: Singles) -> Singles:
    """Return the largest value over angles and rows, but for the few that stray photons leave after medians.

    A sample that enters is seen in more rows than one.
    """
    if values.shape[1] == 1:
        return np.asarray(values.max(axis=(0, 1)))
    flat = values.reshape(values.shape[0] * values.shape[1], *values.shape[2:])
    kept = len(flat) - 2 - len(flat) // HITS
    return np.asarray(np.partition(flat, kept, axis=0)[kept])


def _profile(p: Singles) -> Floats:
    """Line integral per column over all angles and rows, single columns that stand out taken from their neighbours."""
    from scipy.ndimage import median_filter

    known = np.isfinite(p)
    per_row = np.where(known, p, 0).sum(axis=0, dtype=np.float64) / np.maximum(known.sum(axis=0), 1)
    mean = np.median(per_row, axis=0)
    return np.asarray(median_filter(mean, size=3, mode="nearest"))


def _before_envelope(profile: Floats, width: int, least: int) -> int:
    """Shorten a margin until its inner end no longer rises above the line through its outer half.

    What a single projection hides in its noise, a faint wall of the sample for instance, shows in the mean of all.
    """
    while width > least:
        half = max(least, width // 2)
        outer = profile[:half]
        line = np.polyfit(np.arange(half), outer, 1) if half >= 8 else np.array([0.0, np.median(outer)])
        scatter = 1.483 * float(np.median(np.abs(outer - np.polyval(line, np.arange(half)))))
        inner = np.arange(half, width)
        excess = profile[inner] - np.polyval(line, inner)
        if float(np.max(excess[-3:])) <= max(ENVELOPE, 4 * scatter):
            return width
        width -= 1
    return width


def _running_median(p: Singles, size: int) -> Singles:
    """Running median along the columns, edges repeated."""
    half = size // 2
    wide = np.pad(p, ((0, 0), (0, 0), (half, half)), mode="edge")
    return np.asarray(running_median(wide, size)[:, :, half : half + p.shape[2]])


def air_scale(transmission: Any, margin: Margin, *, trim: float = 0.1, linear: bool = False) -> Floats:
    """Find the factor that makes air 1 in each projection.

    Each pixel is first divided by its own mean over the angles, so that a defective one cannot pull the level: the
    factor of a projection is the trimmed mean of these ratios, and the level of all projections is the mean over the
    pixels whose own mean does not stand out.

    Parameters
    ----------
    transmission : array (angle, row, column)
        Flat-corrected, not scaled. All angles and columns.
    margin : Margin
        As found by `find_margin`, or given.
    trim : float
        Share of the pixels left out at either end, for zingers and defective pixels.
    linear : bool
        Follow a beam that tilts: one level for each side, linear across the columns. Needs both sides.

    Returns
    -------
    numpy.ndarray of float64
        (angle,), or with `linear` (angle, 2): the factors at the first and at the last column, as
        `flatfield.line_integrals` takes them.

    Raises
    ------
    ValueError
        A margin without columns or wider than the detector, one side only with `linear`, or no light there.
    """
    xp = array_namespace(transmission)
    n_columns = transmission.shape[2]
    if min(margin.left, margin.right) < 0 or not 0 < margin.left + margin.right <= n_columns:
        raise ValueError(f"a margin of {margin.left} and {margin.right} columns does not fit {n_columns} columns")
    if not linear and margin.left + margin.right == n_columns:
        return 1.0 / _levels(xp, transmission, trim)
    left, right = transmission[:, :, : margin.left], transmission[:, :, n_columns - margin.right :]
    if not linear:
        return 1.0 / _levels(xp, xp.concatenate((left, right), axis=2), trim)
    if not (margin.left and margin.right):
        raise ValueError("a linear air level needs a margin on both sides of the detector")
    at = ((margin.left - 1) / 2, n_columns - (margin.right + 1) / 2)
    ends = _levels(xp, left, trim), _levels(xp, right, trim)
    step = (ends[1] - ends[0]) / (at[1] - at[0])
    first = ends[0] - step * at[0]
    return 1.0 / np.stack((first, first + step * (n_columns - 1)), axis=1)


def _levels(xp: Any, pixels: Any, trim: float) -> Floats:
    """Level of each projection (angle,); non-finite pixels are left out."""
    flat = pixels.reshape(pixels.shape[0], -1)
    blocks = [slice(a, a + ANGLES) for a in range(0, flat.shape[0], ANGLES)]
    total, count = xp.zeros(flat.shape[1]), xp.zeros(flat.shape[1], int)
    for block in blocks:
        good = xp.isfinite(flat[block])
        if not to_host(good.any(axis=1)).all():
            raise ValueError("a projection has no finite pixel in the air margin; give another margin")
        total += xp.where(good, flat[block], 0).sum(axis=0, dtype=xp.float64)
        count += good.sum(axis=0)
    static = total / xp.maximum(count, 1)
    middle = float(xp.median(static))
    spread = 1.483 * float(xp.median(xp.abs(static - middle)))
    usual = (static > 0) & (xp.abs(static - middle) <= 4 * spread + 1e-9)
    if not middle > 0 or not bool(usual.any()):
        raise ValueError("the air margin has no light in a projection; look at it, or leave air scaling out")
    level = float(static[usual].mean())
    scale = static[usual].astype(xp.float32)
    ratio = np.concatenate([_trimmed_means(xp, flat[block][:, usual] / scale, trim) for block in blocks])
    if not (ratio > 0).all():
        raise ValueError("the air margin has no light in a projection; look at it, or leave air scaling out")
    return level * ratio


def _trimmed_means(xp: Any, values: Any, trim: float) -> Floats:
    """Trimmed mean of each row of `values`; what is not finite is put among the trimmed."""
    good = xp.isfinite(values)
    ordered = xp.where(good, values, xp.float32(xp.inf))
    ordered.sort(axis=1)
    count = to_host(good.sum(axis=1))
    ranks = xp.arange(values.shape[1])[None]
    low = np.floor(trim * count).astype(np.int64)
    high = count - low
    kept = (ranks >= xp.asarray(low)[:, None]) & (ranks < xp.asarray(high)[:, None])
    total = xp.where(kept, ordered, 0).sum(axis=1, dtype=xp.float64)
    return np.asarray(to_host(total) / np.maximum(high - low, 1), np.float64)
