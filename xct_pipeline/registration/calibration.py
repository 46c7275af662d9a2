"""Grey values of one scan on the scale of another: gain and offset from materials that do not change."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import scipy
from numpy.typing import NDArray

from xct_pipeline.device import Array, to_host
from xct_pipeline.registration.masks import dilated
from xct_pipeline.registration.region_sums import cell_sums, chosen_values, leave_out, median_of

ERODE = (2, 3, 4)
LEFT = 0.5
LAYERS = 4  # of cells in a cube of cells


class Cells(NamedTuple):
    """Voxels of a region in each cell of the volume, (layer, cell), and the sum of their grey values."""

    counts: NDArray[np.float64]
    totals: NDArray[np.float64]


class RegionMean(NamedTuple):
    """Grey value of one material in one scan."""

    mean: float
    """1/cm, half-way between that of its voxels and that with a voxel less taken off the edge"""
    sigma: float
    """standard error of the mean, 1/cm, from means of separate cells (the noise is correlated)"""
    voxels: int
    cells: Cells | None = None
    """of the volume, the same in all scans"""
    wider: float | None = None
    """the mean with a voxel less taken off the edge"""


class GreyCalibration(NamedTuple):
    """``mu_reference = gain * mu + offset``."""

    gain: float
    offset: float
    """1/cm"""
    gain_sigma: float
    offset_sigma: float
    checks: dict[str, tuple[float, float]]
    """for every material that was not fitted: calibrated minus reference value, and its standard error, 1/cm"""


def region_means(
    volumes: Sequence[Array], mask: Array, *, erode: Sequence[int] = ERODE, cell: int = 16
) -> list[RegionMean]:
    """Return the robust means of a region in several scans, over the same voxels of all.

    Its mask is first eroded, so that edges stay out, which resampling blurs in one scan and not in the other: at
    their face that put a gain off by 0.001 (a cell of 80 columns). What rings further in changes its sign from voxel to
    voxel, so that the mean half-way between two depths scatters less than that of either.

    Parameters
    ----------
    volumes : arrays (z, y, x), 1/cm, numpy or CuPy; voxels that are NaN in one of them are left out
    mask : bool array of their shape
    erode : voxels, the least first; the most that leaves `LEFT` of what the least does is taken
    cell : side in voxels of the cells whose means give the error; larger than the noise is correlated

    Returns
    -------
    list of RegionMean. Voxels farther than 4 robust standard deviations from the median of any scan are left out of
    all: a scan that was resampled is smoother, and would keep others.

    Raises
    ------
    ValueError : fewer than 64 voxels are left after erosion.
    """
    values = [np.ascontiguousarray(to_host(volume), np.float32) for volume in volumes]
    known = np.logical_and.reduce([np.isfinite(each) for each in values])
    wider = _eroded(to_host(mask).astype(bool), max(erode[0] - 1, 0)) & known
    inside = _eroded(wider, min(erode[0], 1))
    first = count = int(np.count_nonzero(inside))
    if count < 64:
        raise ValueError(
            f"the region has {count} voxels once {erode[0]} are taken off its edge, at least 64 are needed; "
            "name a larger region or erode less"
        )
    for more in np.diff(erode):
        fewer = _eroded(inside, int(more))
        left = int(np.count_nonzero(fewer))
        if left < LEFT * first:
            break
        wider, inside, count = inside, fewer, left
    wider, inside, whole = wider.copy(), inside.copy(), inside
    for each in values:
        sample = chosen_values(each, whole, count)
        middle = median_of(sample)
        spread = 1.4826 * median_of(np.abs(np.subtract(sample, np.float32(middle), out=sample), out=sample))
        if spread > 0:
            leave_out(each, np.float32(middle), np.float32(4.0 * spread), wider, inside)
    return [_mean_of(v, inside, wider, cell) for v in values]


def _mean_of(values: NDArray[Any], inside: NDArray[np.bool_], wider: NDArray[np.bool_], cell: int) -> RegionMean:
    """Return the mean of some voxels, with the error that their cells tell."""
    counts, totals, with_edge = cell_sums(values, inside, wider, max(cell // LAYERS, 1), cell)
    cells = Cells(counts, totals)
    kept = int(cells.counts.sum())
    sigma = _error_of(cells)
    if sigma is None:  # too few cells: as if each held one independent value
        cubes = np.count_nonzero(_cubes(cells).counts)
        sigma = float(values[inside].std(dtype=np.float64) / np.sqrt(cubes))
    mean = 0.5 * (float(cells.totals.sum() / kept) + with_edge)
    return RegionMean(mean, sigma, kept, cells, with_edge)


def gas_mask(volume: Array, *, smooth: float = 1.0, erode: int = 2, share: float = 0.01) -> NDArray[np.bool_]:
    """Find the gas or air of a scan: the darkest material that fills at least `share` of the volume.

    The histogram of the smoothed volume is climbed to its first significant peak from below; the voxels within two
    half-widths of it are taken and eroded.

    Parameters
    ----------
    volume : array (z, y, x), 1/cm (a coarse pyramid level serves well), NaN outside the field of view
    smooth : Gaussian standard deviation, voxels
    erode : voxels

    Returns
    -------
    bool array (z, y, x). ValueError where there is no such peak.
    """
    v = to_host(volume)
    finite = np.isfinite(v)
    if not finite.any():
        raise ValueError("the volume holds no finite voxel; no gas can be found in it")
    known = np.where(finite, v, np.float32(v[finite].mean(dtype=np.float64))).astype(np.float32)
    smoothed = scipy.ndimage.gaussian_filter(known, smooth)
    values = smoothed[finite]
    low, high = (float(q) for q in np.percentile(values, [0.05, 99.95]))
    if not high > low:
        raise ValueError(f"the volume has the one grey value {low:.4g} /cm; no gas can be found in it")
    counts, edges = np.histogram(values, 256, (low, high))
    profile = scipy.ndimage.gaussian_filter1d(counts.astype(np.float64), 2.0, mode="nearest")
    peak = _first_peak(profile, share * values.size)
    half = 0.5 * profile[peak]
    left = peak - int(np.argmax(profile[peak::-1] < half)) if (profile[: peak + 1] < half).any() else 0
    right = peak + int(np.argmax(profile[peak:] < half)) if (profile[peak:] < half).any() else 255
    width = float(edges[1] - edges[0])
    reach = 2.0 * width * max(min(right - peak, peak - left if left > 0 else right - peak), 1)
    center = float(edges[peak]) + 0.5 * width
    mask = _eroded((np.abs(smoothed - center) <= reach) & finite, erode)
    if int(mask.sum()) < 64:
        raise ValueError(
            f"the darkest material ({center:.4g} /cm) fills only {int(mask.sum())} voxels once {erode} are taken off "
            "its edge; name the regions to calibrate on"
        )
    return mask


def dense_threshold(volume: Array, *, smooth: float = 1.0, share: float = 0.01) -> float:
    """Find the attenuation that parts a dense material, such as a ceramic, from everything lighter.

    The volume is split in two by Otsu's threshold. The upper part counts as one dense material where it fills at
    least `share` of the volume and its median is three times what 95 % of the lower part stay below.

    Parameters
    ----------
    volume : array (z, y, x), 1/cm (a coarse pyramid level serves well), NaN outside the field of view
    smooth : Gaussian standard deviation, voxels

    Returns
    -------
    float, 1/cm, half-way between the medians of the two. ValueError where no material stands out.

    References
    ----------
    N. Otsu, IEEE Trans. Syst. Man Cybern. 9 (1979) 62.
    """
    from skimage.filters import threshold_otsu

    v = to_host(volume)
    finite = np.isfinite(v)
    if not finite.any():
        raise ValueError("the volume holds no finite voxel; no dense material can be found in it")
    known = np.where(finite, v, np.float32(v[finite].mean(dtype=np.float64))).astype(np.float32)
    values = scipy.ndimage.gaussian_filter(known, smooth)[finite]
    low, high = (float(q) for q in np.percentile(values, [0.05, 99.95]))
    if high > low:
        split = float(threshold_otsu(np.clip(values, low, high)))
        dense = values > split
        if share <= dense.mean() < 1:
            upper, lower = float(np.median(values[dense])), values[~dense]
            if upper > 0 and upper >= 3 * float(np.percentile(lower, 95)):
                return (upper + float(np.median(lower))) / 2
    raise ValueError("no material stands out as much denser than the rest")


def calibrate(
    reference: Mapping[str, RegionMean], moving: Mapping[str, RegionMean], fitted: Sequence[str]
) -> GreyCalibration:
    """Fit gain and offset of a scan so that its materials take the reference's grey values.

    Parameters
    ----------
    reference, moving : grey values of the same materials in the reference scan and in the scan
    fitted : names of at least two materials to fit (weighted least squares); one alone gives an offset with gain 1

    Returns
    -------
    GreyCalibration; every material that is not fitted is a check. Errors are those of the differences between the two
    scans, cell by cell, and of where the edge of each material is drawn: what makes a material uneven in both
    alike is no error of their scales.

    Raises
    ------
    ValueError : a material is missing, or the fitted ones have too nearly the same grey value to give a gain.
    """
    missing = [name for name in fitted if name not in reference or name not in moving]
    if missing or not fitted:
        raise ValueError(f"no grey value of {missing or 'any material'} in both scans; name regions that both show")
    r = np.array([reference[name].mean for name in fitted])
    m = np.array([moving[name].mean for name in fitted])
    sigma = np.array([_error_between(reference[name], moving[name], 1.0) for name in fitted])
    if len(fitted) == 1:
        gain, covariance = 1.0, np.array([[0.0, 0.0], [0.0, sigma[0] ** 2]])
        offset = float(r[0] - m[0])
    else:
        contrast = float(m.max() - m.min())
        if contrast < 10.0 * float(sigma.max()) or contrast == 0.0:
            raise ValueError(
                f"the fitted materials differ by {contrast:.3g} /cm with an error of {float(sigma.max()):.2g}: too "
                "little for a gain; choose materials farther apart, as gas and ceramic"
            )
        (gain, offset), _ = _line(m, r, sigma)
        sigma = np.array([_error_between(reference[name], moving[name], gain) for name in fitted])
        (gain, offset), covariance = _line(m, r, sigma)
    checks = {
        name: _check(gain, offset, covariance, reference[name], moving[name])
        for name in moving
        if name in reference and name not in fitted
    }
    return GreyCalibration(gain, offset, float(np.sqrt(covariance[0, 0])), float(np.sqrt(covariance[1, 1])), checks)


def _line(
    m: NDArray[np.float64], r: NDArray[np.float64], sigma: NDArray[np.float64]
) -> tuple[tuple[float, float], NDArray[np.float64]]:
    """Return gain and offset from grey values with errors, and their covariance."""
    weight = 1.0 / np.maximum(sigma, max(1e-9 * float(np.abs(r).max()), 1e-12)) ** 2
    design = np.column_stack([m, np.ones_like(m)])
    covariance = np.asarray(np.linalg.inv(design.T @ (weight[:, None] * design)), np.float64)
    gain, offset = (float(v) for v in covariance @ (design.T @ (weight * r)))
    return (gain, offset), covariance


def _error_between(reference: RegionMean, moving: RegionMean, gain: float) -> float:
    """Return the standard error of the difference of two means, the moving one brought to the scale of the other."""
    apart = float(np.hypot(reference.sigma, gain * moving.sigma))
    if reference.cells is None or moving.cells is None:
        return apart
    difference = gain * moving.cells.totals - reference.cells.totals
    within = _error_of(Cells(reference.cells.counts, difference))
    return apart if within is None else float(np.hypot(within, _edge_error(reference, moving, gain)))


def _edge_error(reference: RegionMean, moving: RegionMean, gain: float) -> float:
    """Return by how much the difference of two means depends on where their region ends: by half a step either way.

    Cells do not see it: a ring of which the edge cuts one side off, or faces that are blurred in one scan.
    """
    if reference.wider is None or moving.wider is None:
        return 0.0
    return abs(gain * (moving.wider - moving.mean) - (reference.wider - reference.mean))


def _check(
    gain: float, offset: float, covariance: NDArray[np.float64], reference: RegionMean, moving: RegionMean
) -> tuple[float, float]:
    along = np.array([moving.mean, 1.0])
    variance = along @ covariance @ along + _error_between(reference, moving, gain) ** 2
    return gain * moving.mean + offset - reference.mean, float(np.sqrt(variance))


def _eroded(mask: NDArray[np.bool_], voxels: int) -> NDArray[np.bool_]:
    return np.asarray(~dilated(~mask, voxels), dtype=np.bool_)


def _cubes(cells: Cells) -> Cells:
    """Return the sums over cubes of cells."""
    more = -len(cells.counts) % LAYERS
    padded = (np.pad(values, ((0, more), (0, 0))) for values in cells)
    return Cells(*(values.reshape(-1, LAYERS, values.shape[1]).sum(axis=1) for values in padded))


def _error_of(cells: Cells) -> float | None:
    """Return the standard error of a mean, None of fewer than four cubes.

    The larger one of two: from the scatter of cubes, and of layers, as what a detector's row is off by in all of its
    columns (flats that do not fit) is the same in all cubes of a layer.
    """
    errors = []
    for counts, totals in (_cubes(cells), Cells(*(values.sum(axis=1) for values in cells))):
        used = counts > 0
        if used.sum() < 4:
            break
        errors.append(_cell_error(counts[used], totals[used] / counts[used]))
    return max(errors, default=None)


def _cell_error(counts: NDArray[np.float64], means: NDArray[np.float64]) -> float:
    """Return the standard error of the mean from the scatter of the cells' means, weighted by their voxels."""
    share = counts / counts.sum()
    scatter = float((share**2 * (means - float((share * means).sum())) ** 2).sum())
    return float(np.sqrt(scatter * len(means) / (len(means) - 1)))


def _first_peak(profile: NDArray[np.float64], least: float) -> int:
    """Return the first local maximum that holds at least `least` counts up to the valley after it."""
    total = 0.0
    best = 0
    for i in range(len(profile)):
        total += float(profile[i])
        if profile[i] > profile[best]:
            best = i
        if total >= least and profile[i] < 0.5 * profile[best]:
            return best
        if profile[i] < 0.5 * profile[best] and total < least:  # a speck: forget it and climb on
            total, best = 0.0, i
    return best
