"""Counts to line integrals: average flats and darks, interpolate flats in time, normalise and take the log.

The Beer-Lambert line integral of a projection with counts I, dark D and flat F is
``p = -log(air (I - D) / (F - D))`` (Kak and Slaney, Principles of Computerized Tomographic Imaging, 1988,
chapter 4). Flats drift: between two groups of flats they are interpolated linearly in time.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from xct_pipeline.compiled import empty, njit, zeros
from xct_pipeline.correction.lost import fill_lines, fill_plain, fill_row
from xct_pipeline.device import array_namespace, is_cupy

FLOOR = 1e-5  # transmission: half a count of a flat of 50000, line integral 11.5
OFFSET = 10.0  # counts of a dark above which a converter does not read zero: the pixel was not read
FLT_MIN = float(np.finfo(np.float32).tiny)

# log(1 + f) = f - f^2/2 + f^3 P(f) on [sqrt(1/2) - 1, sqrt(2) - 1]: weighted minimax fit, 1e-9 relative.
# An intrinsic log is a scalar call where numba has no SVML (4 ns a pixel); this is a vector loop (0.4 ns).
_P = (
    0.3333331260044035,
    -0.2500000961162663,
    0.20002118869820118,
    -0.16667995318189704,
    0.1421954818749126,
    -0.1240559606469231,
    0.11888197648791089,
    -0.11675621799271484,
    0.0674652830704668,
)
_P0, _P1, _P2, _P3, _P4, _P5, _P6, _P7, _P8 = (np.float32(c) for c in _P)
_LN2_HIGH = np.float32(0.693359375)  # nine bits, so that its product with an exponent is exact
_LN2_LOW = np.float32(0.6931471805599453 - 0.693359375)
_HALF = np.float32(0.5)
_ONE = np.float32(1.0)
_SQRT_HALF_BITS = np.int32(np.float32(0.5**0.5).view(np.int32))


@dataclass(frozen=True)
class PixelCounts:
    """How many pixels of how many were changed or suspicious; blocks add up.

    Attributes
    ----------
    pixels : int
        Pixels looked at.
    clipped : int
        Transmission at or below the floor, raised to it.
    saturated : int
        Raw counts at or above the saturation level (kept as they are).
    zero : int
        Raw counts of exactly zero.
    nonfinite : int
        No value at all (non-finite count, flat or dark, a flat no brighter than the dark, or a count of zero where
        the dark is above `OFFSET`): interpolated between the nearest good columns of the same detector row and
        projection; where the row has none, between the nearest projections of the block, 0 where these have none.
    """

    pixels: int = 0
    clipped: int = 0
    saturated: int = 0
    zero: int = 0
    nonfinite: int = 0

    def __add__(self, other: PixelCounts) -> PixelCounts:
        return PixelCounts(*(getattr(self, f.name) + getattr(other, f.name) for f in fields(self)))


@dataclass(frozen=True)
class FlatWeights:
    """Linear interpolation in time: flat(projection) = (1 - weight) group[index] + weight group[index + 1].

    Attributes
    ----------
    index : numpy.ndarray of int (angle,)
        The earlier of the two groups.
    weight : numpy.ndarray of float64 (angle,)
        Share of the later one, 0 to 1.
    """

    index: npt.NDArray[np.intp]
    weight: npt.NDArray[np.float64]

    def __getitem__(self, angles: slice) -> FlatWeights:
        return FlatWeights(self.index[angles], self.weight[angles])


@dataclass(frozen=True)
class Modes:
    """By what share the flats of some projections differ from the mean: ``sum_k amounts[k] images[k] + bands``.

    Attributes
    ----------
    images : array (component, row, column)
    amounts : numpy.ndarray (angle, component)
    bands : numpy.ndarray (angle, row, 2)
        At the first and the last column, linear between them.
    """

    images: Any
    amounts: npt.NDArray[np.float64]
    bands: npt.NDArray[np.float64]


def average_frames(frames: Any, method: Literal["mean", "median"] = "mean") -> Any:
    """Average flat or dark frames (frame, row, column) to one float32 image (row, column).

    The mean has the least noise; the median ignores zingers. Sums are taken in float64.

    Raises
    ------
    ValueError
        No frame, not three axes, or an unknown method.
    """
    if frames.ndim != 3 or frames.shape[0] == 0:
        raise ValueError(f"frames must be (frame, row, column) with at least one frame, not {frames.shape}")
    xp = array_namespace(frames)
    if method == "mean":
        return xp.mean(frames, axis=0, dtype=xp.float64).astype(xp.float32)
    if method == "median":
        return xp.median(frames, axis=0).astype(xp.float32)
    raise ValueError(f"frames are averaged by 'mean' or 'median', not {method!r}")


def group_flats(position: npt.ArrayLike) -> list[tuple[float, npt.NDArray[np.intp]]]:
    """Sort flat frames into groups taken at one time: ``[(position, frame indices), ...]``, in time order.

    `position` is the number of projections taken before each frame; equal ones form a group.
    """
    where = np.asarray(position, np.float64)
    if not np.isfinite(where).all():
        raise ValueError("the positions of the flats are not all finite numbers")
    return [(float(value), np.flatnonzero(where == value)) for value in np.unique(where)]


def flat_weights(group_position: npt.ArrayLike, n_angles: int) -> FlatWeights:
    """Interpolate linearly in time between groups of flats.

    Parameters
    ----------
    group_position : sequence of float, increasing
        Projections taken before each group: 0 for flats before the scan, `n_angles` for those after it.
    n_angles : int
        Number of projections; projection i is taken at i + 1/2.

    Returns
    -------
    FlatWeights
        Before the first and after the last group the nearest one is used alone.
    """
    where = np.asarray(group_position, np.float64)
    if where.ndim != 1 or where.size == 0 or not np.all(np.diff(where) > 0):
        raise ValueError(f"positions of the flat groups must increase: {where.tolist()}")
    time = np.clip(np.arange(n_angles) + 0.5, where[0], where[-1])
    index = np.clip(np.searchsorted(where, time, side="right") - 1, 0, max(where.size - 2, 0))
    if where.size == 1:
        return FlatWeights(index, np.zeros(n_angles))
    return FlatWeights(index, (time - where[index]) / (where[index + 1] - where[index]))


def line_integrals(
    counts: Any,
    dark: Any | None,
    flats: Any | Literal["none"],
    weights: FlatWeights | None = None,
    *,
    air: npt.NDArray[np.float64] | None = None,
    modes: Modes | None = None,
    saturation: float | None = None,
    floor: float = FLOOR,
) -> tuple[Any, PixelCounts]:
    """Normalise counts by flat and dark, scale to air and take -log, in one pass over the data.

    Parameters
    ----------
    counts : array (angle, row, column)
        Raw counts, any real dtype; numpy or CuPy.
    dark : array (row, column) or None
        Averaged dark; None is zero.
    flats : array (group, row, column) or (row, column), or 'none'
        Averaged flats, one image per group, dark not subtracted. 'none': the counts are taken for
        transmission (a scan that is normalised already), with only the dark subtracted.
    weights : FlatWeights, optional
        Of these projections; needed where there is more than one group.
    air : array (angle,) or (angle, 2), optional
        Factor that makes air 1, per projection; with two columns linear between the first and the last column.
    modes : Modes, optional
        By what share the flat of each projection differs from that of `flats`.
    saturation : float, optional
        Counts at and above it are counted as saturated.
    floor : float
        Transmission below it is raised to it (1e-5: a line integral of 11.5), and counted.

    Returns
    -------
    p : float32 array (angle, row, column)
        Line integrals, finite everywhere; see `PixelCounts.nonfinite` for pixels without a value.
    PixelCounts
        What was changed. The result of a row depends on nothing but that row.

    Raises
    ------
    ValueError
        Shapes that do not belong together, several groups without weights, or a floor that is not positive.
    """
    xp = array_namespace(counts)
    dark_, flats_, index, weight = _references(counts, dark, flats, weights)
    scale = _air_ends(air, counts.shape[0])
    images, amounts, bands = _modes(modes, counts)
    if not floor >= FLT_MIN:
        raise ValueError(f"floor is {floor}; give a positive transmission such as {FLOOR}")
    limit = np.nan if saturation is None else float(saturation)
    if is_cupy(counts):
        return _plain(xp, counts, dark_, flats_, index, weight, scale, limit, floor, images, amounts, bands)
    out = np.empty(counts.shape, np.float32)
    raw, least = np.ascontiguousarray(counts), np.float32(floor)
    tally = _normalise(raw, dark_, flats_, index, weight, scale, limit, least, images, amounts, bands, out)
    return out, PixelCounts(out.size, *(int(n) for n in tally))


def _references(
    counts: Any, dark: Any | None, flats: Any, weights: FlatWeights | None
) -> tuple[Any, Any, npt.NDArray[np.intp], npt.NDArray[np.float32]]:
    """Bring dark and flats to float32 images of the block's shape, and weights to one per projection."""
    if counts.ndim != 3:
        raise ValueError(f"counts must be (angle, row, column), not of shape {counts.shape}")
    xp = array_namespace(counts)
    image = tuple(counts.shape[1:])
    dark_ = xp.zeros(image, xp.float32) if dark is None else xp.ascontiguousarray(dark, xp.float32)
    if isinstance(flats, str):
        if flats != "none":
            raise ValueError(f"flats must be images or 'none', not {flats!r}")
        flats_ = (dark_ + xp.float32(1))[None]
    else:
        flats_ = xp.ascontiguousarray(flats, xp.float32)
        flats_ = flats_[None] if flats_.ndim == 2 else flats_
    if dark_.shape != image or flats_.ndim != 3 or flats_.shape[1:] != image:
        raise ValueError(
            f"the projections are {image} (row, column), but the dark is {dark_.shape} and the flats {flats_.shape}"
        )
    n = counts.shape[0]
    if weights is None:
        if flats_.shape[0] > 1:
            raise ValueError(f"{flats_.shape[0]} groups of flats need weights, one per projection")
        weights = FlatWeights(np.zeros(n, np.intp), np.zeros(n))
    last = weights.index + (weights.weight > 0)
    if len(weights.index) != n or (n and (last.max() >= flats_.shape[0] or weights.index.min() < 0)):
        raise ValueError(f"the weights do not fit {n} projections and {flats_.shape[0]} groups of flats")
    return dark_, flats_, np.asarray(weights.index, np.intp), weights.weight.astype(np.float32)


def _air_ends(air: npt.NDArray[np.float64] | None, n_angles: int) -> npt.NDArray[np.float32]:
    """Air factor at the first and the last column of each projection, (angle, 2)."""
    if air is None:
        return np.ones((n_angles, 2), np.float32)
    factor = np.asarray(air, np.float64)
    if factor.ndim == 1:
        factor = np.stack((factor, factor), axis=1)
    if factor.shape != (n_angles, 2) or not np.all(np.isfinite(factor) & (factor > 0)):
        raise ValueError(f"air must hold one positive factor for each of the {n_angles} projections")
    return factor.astype(np.float32)


def _modes(modes: Modes | None, counts: Any) -> tuple[Any, npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Bring modes to float32: images (component, row, column), amounts, and ends (angle, row, 2), or none of them."""
    xp, (n_angles, n_rows, n_columns) = array_namespace(counts), counts.shape
    if modes is None:
        nothing = np.zeros((0, n_rows, 2), np.float32)
        return xp.zeros((0, n_rows, n_columns), xp.float32), np.zeros((n_angles, 0), np.float32), nothing
    images, amounts = xp.ascontiguousarray(modes.images, xp.float32), np.asarray(modes.amounts, np.float32)
    bands = np.ascontiguousarray(modes.bands, np.float32)
    fit = images.shape[1:] == (n_rows, n_columns) and amounts.shape == (n_angles, len(images))
    if not fit or bands.shape != (n_angles, n_rows, 2):
        raise ValueError(
            f"modes {images.shape} in amounts {amounts.shape} and bands {bands.shape} do not fit projections of shape "
            f"{counts.shape}"
        )
    return images, amounts, bands


@njit
def _normalise(  # type: ignore[no-untyped-def]
    counts, dark, flats, index, weight, scale, limit, floor, images, amounts, bands, out
):
    """Fill `out`; return (clipped, saturated, zero, non-finite). Per row: four vector loops in L1."""
    n_angles, n_rows, n_columns = counts.shape
    tally = zeros(4, np.int64)
    value = empty(n_columns, np.float32)
    bits = value.view(np.int32)
    exponent = empty(n_columns, np.float32)
    nothing = np.float32(np.nan)
    inf = np.float32(np.inf)
    offset = np.float32(OFFSET)
    lost = zeros((n_angles, n_rows), np.bool_)
    ramp = np.float32(1.0 / max(n_columns - 1, 1))
    change = empty(n_columns, np.float32)  # of the flat, by its modes
    for x in range(n_columns):
        change[x] = np.float32(1.0)
    for a in range(n_angles):
        w = weight[a]
        first, second = index[a], min(index[a] + 1, flats.shape[0] - 1)
        s0, ds = scale[a, 0], (scale[a, 1] - scale[a, 0]) * ramp
        for r in range(n_rows):
            row, d, f0, f1 = counts[a, r], dark[r], flats[first, r], flats[second, r]
            result = out[a, r]
            zero = saturated = bad = clipped = np.int32(0)
            if len(bands):
                b0, db = _ONE + bands[a, r, 0], (bands[a, r, 1] - bands[a, r, 0]) * ramp
                for c in range(n_columns):
                    change[c] = b0 + db * np.float32(c)
                for k in range(len(images)):
                    amount, image = amounts[a, k], images[k, r]
                    for c in range(n_columns):
                        change[c] += amount * image[c]
            for c in range(n_columns):
                raw = row[c]
                zero += np.int32(raw == 0)
                saturated += np.int32((raw >= limit) & (f0[c] == f0[c]))
            for c in range(n_columns):
                flat = f0[c] + w * (f1[c] - f0[c])
                light = (flat - d[c]) * change[c]
                t = (np.float32(row[c]) - d[c]) / light * (s0 + ds * np.float32(c))
                good = (abs(t) < inf) & (light > 0) & (light < inf) & ((row[c] != 0) | (d[c] <= offset))
                low = good & (t <= floor)
                bad += np.int32(not good)
                clipped += np.int32(low)
                value[c] = floor if low else (t if good else _ONE)
                result[c] = nothing if not good else np.float32(0)
            for c in range(n_columns):  # t = 2^e (1 + f), f within [sqrt(1/2) - 1, sqrt(2) - 1]
                shifted = bits[c] - _SQRT_HALF_BITS
                exponent[c] = np.float32(shifted >> 23)
                bits[c] = (shifted & np.int32(0x007FFFFF)) + _SQRT_HALF_BITS
            for c in range(n_columns):
                f = value[c] - _ONE
                e = exponent[c]
                q = _P8
                q = q * f + _P7
                q = q * f + _P6
                q = q * f + _P5
                q = q * f + _P4
                q = q * f + _P3
                q = q * f + _P2
                q = q * f + _P1
                q = q * f + _P0
                tail = f * f * (f * q - _HALF) + e * _LN2_LOW
                result[c] -= (f + tail) + e * _LN2_HIGH
            if bad:
                lost[a, r] = bad == n_columns
                fill_row(result)
            tally[0] += clipped
            tally[1] += saturated
            tally[2] += zero
            tally[3] += bad
    fill_lines(out, lost)
    return tally


def _plain(  # in plain array operations: for CuPy, and the reference of the fast path (rel 1e-6)
    xp: Any,
    counts: Any,
    dark: Any,
    flats: Any,
    index: Any,
    weight: Any,
    scale: Any,
    limit: float,
    floor: float,
    images: Any,
    amounts: Any,
    bands: Any,
) -> tuple[Any, PixelCounts]:
    """Normalise and take -log with array operations."""
    groups, share = xp.asarray(index), xp.asarray(weight)[:, None, None]
    first, second = flats[groups], flats[xp.minimum(groups + 1, flats.shape[0] - 1)]
    light = first + share * (second - first) - dark
    ends, bands = xp.asarray(scale)[:, None, :], xp.asarray(bands)
    ramp = xp.arange(counts.shape[2], dtype=xp.float32) * xp.float32(1.0 / max(counts.shape[2] - 1, 1))
    if len(bands):
        change = 1 + bands[..., :1] + (bands[..., 1:] - bands[..., :1]) * ramp
        light = light * (change + xp.einsum("ak,krc->arc", xp.asarray(amounts), images))
    with np.errstate(all="ignore"):
        t = (counts.astype(xp.float32) - dark) / light * (ends[..., :1] + (ends[..., 1:] - ends[..., :1]) * ramp)
    good = xp.isfinite(t) & (light > 0) & xp.isfinite(light) & ((counts != 0) | (dark <= xp.float32(OFFSET)))
    low = good & (t <= xp.float32(floor))
    p = -xp.log(xp.where(low, xp.float32(floor), xp.where(good, t, xp.float32(1))))
    bad = int(xp.count_nonzero(~good))
    if bad:
        p = fill_plain(xp, p, good)
    full = (counts >= limit) & (first == first)
    tally = (int(xp.count_nonzero(low)), int(xp.count_nonzero(full)), int(xp.count_nonzero(counts == 0)))
    return p.astype(xp.float32), PixelCounts(int(counts.size), *tally, bad)
