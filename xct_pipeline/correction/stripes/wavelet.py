"""Combined Fourier-wavelet stripe filter of B. Münch et al., Opt. Express 17, 8567 (2009).

The filter damps, in each vertical-detail band of a 2-D wavelet transform, the angular frequencies about zero
by 1 - exp(-k^2 / 2 sigma^2). What it *removes* is therefore confined to a few dozen slow functions of the
angle: the angular half of the transform is a pair of small matrices (angle x rank), computed once for a
number of angles, and only `rank` rows instead of all angles pass through the wavelet transform across columns.
The result is the published one to rounding, at a fraction of its cost.
"""

from __future__ import annotations

import functools
from types import ModuleType
from typing import Any

import numpy as np
import scipy

from xct_pipeline.compiled import empty, njit
from xct_pipeline.correction.stripes.columns import product
from xct_pipeline.correction.stripes.common import each_row
from xct_pipeline.device import Array, array_namespace

TAIL = 1e-7  # damping below this share is left out
RANK_TOLERANCE = 1e-6  # relative length below which an angular function is left out


def remove_stripe_fourier_wavelet(block: Array, *, level: int = 3, sigma: float = 2.0, wavelet: str = "db5") -> Any:
    """Remove stripes by damping slow angular frequencies in the column-wise details of a wavelet transform.

    A column that is constant in angle and stands out from its neighbours is a stripe to this filter, whatever
    made it: walls concentric with the rotation axis are flattened too.

    Parameters
    ----------
    block : array (angle, row, column)
        Line integrals or transmissions.
    level : int
        Number of decompositions; each doubles the width of stripes that are removed, up to about 2**level
        columns, and of the walls that are flattened. At the full depth, ``log2(columns)``, hardly anything of
        a sample's mean over angles is left: no default to copy, though some packages have it.
    sigma : float
        Width of the damping in cycles over the (decomposed) scan. Larger removes shorter partial stripes.
    wavelet : str
        Name of an orthogonal or biorthogonal wavelet of PyWavelets.

    Returns
    -------
    float32 array (angle, row, column)

    Raises
    ------
    ValueError
        For a level below 1, a sigma that is not positive, or a wavelet PyWavelets does not know.

    References
    ----------
    B. Münch, P. Trtik, F. Marone and M. Stampanoni, Opt. Express 17, 8567 (2009), doi:10.1364/OE.17.008567.
    """
    if level < 1:
        raise ValueError(f"a wavelet decomposition needs at least 1 level, not {level}")
    if not sigma > 0:
        raise ValueError(f"sigma must be positive, not {sigma}")
    taps = _filters(wavelet)

    def correct(sinogram: Array) -> Any:
        xp = array_namespace(sinogram)
        analysis, mixing, synthesis = _angular_operators(sinogram.shape[0], wavelet, level, sigma)
        slow = product(xp.asarray(analysis), sinogram)
        removed = _filter_columns(slow, [xp.asarray(step) for step in mixing], taps, xp)
        return sinogram - product(xp.asarray(synthesis), removed)

    return each_row(block, correct)


def _filter_columns(slow: Array, mixing: list[Any], taps: tuple[Any, ...], xp: ModuleType) -> Any:
    """Wavelet transform across columns, `mixing` applied to the details of each level, and back."""
    low, high, low_back, high_back = taps
    details, widths = [], []
    for step in mixing:
        widths.append(slow.shape[1])
        details.append(product(step, _analyse(slow, high, xp)))
        slow = _analyse(slow, low, xp)
    total: Any = None
    for width, detail in zip(reversed(widths), reversed(details), strict=True):
        part = _synthesise(detail, high_back, width, xp)
        total = part if total is None else part + _synthesise(total, low_back, width, xp)
    return total


def _analyse(rows: Array, taps: np.ndarray[Any, Any], xp: ModuleType) -> Any:
    """Convolve rows with a wavelet filter and keep every second value; ends reflect (half-sample)."""
    length, width = taps.size, rows.shape[1]
    position = np.arange(2 - length, width + length) % (2 * width)
    position = np.where(position < width, position, 2 * width - 1 - position)
    padded = rows[:, xp.asarray(position)]
    count = (width + length - 1) // 2
    result = xp.zeros((rows.shape[0], count), rows.dtype)
    for tap in range(length):
        result += float(taps[length - 1 - tap]) * padded[:, tap : tap + 2 * count - 1 : 2]
    return result


def _synthesise(rows: Array, taps: np.ndarray[Any, Any], width: int, xp: ModuleType) -> Any:
    """Inverse of `_analyse` for one band: insert zeros, convolve, keep the `width` valid samples."""
    half = taps.size // 2
    count = rows.shape[1] - half + 1
    result = xp.zeros((rows.shape[0], 2 * count), rows.dtype)
    for tap in range(half):
        part = rows[:, half - 1 - tap : half - 1 - tap + count]
        result[:, 0::2] += float(taps[2 * tap]) * part
        result[:, 1::2] += float(taps[2 * tap + 1]) * part
    return result[:, :width]


@functools.cache
def _filters(wavelet: str) -> tuple[Any, ...]:
    """Low and high filters of analysis and of synthesis in single precision."""
    import pywt

    return tuple(np.array(taps, np.float32) for taps in pywt.Wavelet(wavelet).filter_bank)


def _damping(count: int, sigma: float) -> np.ndarray[Any, Any]:
    """Share of each angular frequency (in the order of an FFT of `count`) that is removed."""
    return np.asarray(np.exp(-0.5 * (np.fft.fftfreq(count, 1 / count) / sigma) ** 2))


@functools.lru_cache(maxsize=4)
def _angular_operators(
    angles: int, wavelet: str, depth: int, sigma: float
) -> tuple[np.ndarray[Any, Any], list[np.ndarray[Any, Any]], np.ndarray[Any, Any]]:
    """Angular half of the filter as matrices: analysis (rank, angle), one mixing per level, synthesis.

    At level l the removed band is B_l = S_l F^-1 g F A_l along the angle, where A_l is the low-pass analysis
    of l levels, S_l its synthesis and g the damping. All A_l (limited to frequencies that g removes) are
    expressed in one orthonormal basis, and so are all S_l; a mixing takes the first into the second.
    """
    import pywt

    analysed = np.eye(angles)
    sizes, forward, backward = [angles], [], []
    for _ in range(depth):
        analysed = pywt.dwt(analysed, wavelet, mode="symmetric", axis=0)[0]
        count = analysed.shape[0]
        sizes.append(count)
        removed = _damping(count, sigma)
        kept = np.flatnonzero(removed > TAIL)
        spectrum = scipy.fft.fft(analysed, axis=0, norm="ortho")[kept]
        forward.append(np.tile(removed[kept], 2)[:, None] * np.concatenate([spectrum.real, spectrum.imag]))
        waves = np.exp(-2j * np.pi * (np.outer(kept, np.arange(count)) % count) / count) / np.sqrt(count)
        backward.append(_synthesis(np.concatenate([waves.real, waves.imag]).T, sizes, wavelet))
    analysis = _basis(np.concatenate(forward))
    synthesis = _basis(np.concatenate(backward, axis=1).T)
    mixing = [
        product(product(synthesis, back), product(ahead, analysis.T)).astype(np.float32)
        for ahead, back in zip(forward, backward, strict=True)
    ]
    return analysis.astype(np.float32), mixing, np.ascontiguousarray(synthesis.T, np.float32)


def _synthesis(signal: np.ndarray[Any, Any], sizes: list[int], wavelet: str) -> np.ndarray[Any, Any]:
    """Rebuild full-length signals from low-pass bands alone, level by level."""
    import pywt

    for size in reversed(sizes[:-1]):
        signal = pywt.idwt(signal, None, wavelet, mode="symmetric", axis=0)[:size]
    return signal


@njit
def _basis(rows: Array) -> Array:
    """Orthonormal rows that span the given ones to `RANK_TOLERANCE`: Gram-Schmidt, the longest row first."""
    rest = rows.copy()
    basis = empty((min(rows.shape), rows.shape[1]), np.float64)
    rank = 0
    largest = 0.0
    while rank < basis.shape[0]:
        squares = (rest * rest).sum(axis=1)
        pivot = np.argmax(squares)
        largest = max(largest, squares[pivot])
        if squares[pivot] <= RANK_TOLERANCE**2 * largest:
            break
        vector = rest[pivot].copy()
        for known in range(rank):  # once more, so that rounding does not add up
            vector -= (vector * basis[known]).sum() * basis[known]
        basis[rank] = vector / np.sqrt((vector * vector).sum())
        for row in range(rest.shape[0]):
            rest[row] -= (rest[row] * basis[rank]).sum() * basis[rank]
        rank += 1
    found: Array = basis[:rank].copy()
    return found
