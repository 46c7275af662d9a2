"""Direct Fourier reconstruction of sixteen slices at once, the default on a CPU."""

from __future__ import annotations

import functools
import importlib.util
from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import numpy as np
import scipy

from xct_pipeline.device import Array, array_namespace, fft_of, is_cupy
from xct_pipeline.reconstruction.filters import FilterName, angular_weights, ramp, window
from xct_pipeline.reconstruction.gridding import (
    GROUP,
    STRIP,
    grid_plain,
    grid_strip,
    kernel_polynomials,
    kernel_shape,
    kernel_transform,
    tile_floats,
)
from xct_pipeline.reconstruction.packing import COLUMNS, keep_columns, multiply, pack, unpack
from xct_pipeline.reconstruction.truncation import edge_columns, extension

FftName = Literal["auto", "scipy", "ducc0"]
OVERSAMPLING = 1.25
_ANGLES = 8  # projections transformed together: they stay in the L2 cache


class _Plan(NamedTuple):
    """All that does not depend on the sinograms' values, and is the same for every group of slices."""

    n_columns: int
    padded: int
    size: int
    n_grid: int
    steps: np.ndarray[Any, Any]  # (angle, 2) float64, see grid_strip
    shift: np.ndarray[Any, Any]  # (angle,) float64, pixels from the first sample to the image's origin
    weights: np.ndarray[Any, Any]  # (angle,) float64, radians
    response: np.ndarray[Any, Any]  # (padded,) float64, ramp times window, zero frequency in the middle
    center: float
    n_extend: int  # columns outside either edge that its value may extend over
    coefficients: np.ndarray[Any, Any]  # of the kernel
    deapodise: np.ndarray[Any, Any]  # (size,) float64 with the alternating sign of the transform


def resolve_fft(fft: FftName = "auto") -> Literal["scipy", "ducc0"]:
    """Return the FFT library that will be used; 'auto' is ducc0 where it is installed.

    The two agree to the rounding of float32, not to the last bit: whoever stores a result stores this name.

    Raises
    ------
    ValueError
        If the name is unknown, or ducc0 is asked for and not installed.
    """
    if fft not in ("auto", "scipy", "ducc0"):
        raise ValueError(f"unknown FFT library {fft!r}: auto, scipy or ducc0")
    installed = importlib.util.find_spec("ducc0") is not None
    if fft == "ducc0" and not installed:
        raise ValueError("ducc0 is not installed: pip install 'xct-pipeline[fft]', or use fft='scipy'")
    return "ducc0" if installed and fft != "scipy" else "scipy"


def scratch_bytes(n_angles: int, n_columns: int, size: int | None = None, *, center: float | None = None) -> int:
    """Upper bound of the memory ``reconstruct`` takes for one group of sixteen rows, its result included.

    It holds for float32 sinograms; their own memory is the caller's. The default of `center` is the middle.
    """
    size = n_columns if size is None else size
    padded = _padded_length(n_columns, size, (n_columns - 1) / 2 if center is None else center)
    n_grid = _fast_even(OVERSAMPLING * size)
    samples = n_angles * padded * GROUP * 4
    columns = -(-size // COLUMNS) * COLUMNS * n_grid * GROUP * 4
    result = GROUP * size * size * 4
    # A strip, its tile, a batch of projections and one block of columns, each copied once by the FFT.
    small = 8 * GROUP * (STRIP * n_grid + _ANGLES * padded + COLUMNS * n_grid) + 8 * n_angles * 16
    return max(samples + columns, columns + result + size * size) + small + (4 << 20)


def reconstruct(
    sinograms: Array,
    angles: np.ndarray[Any, Any],
    *,
    center: float,
    size: int | None = None,
    filter: FilterName = "ram-lak",
    cutoff: float = 1.0,
    order: float = 8.0,
    pixel_size_um: float | None = None,
    pad: Literal["edge", "zero"] = "edge",
    kernel_width: int = 4,
    circle: bool = False,
    weights: np.ndarray[Any, Any] | None = None,
    fft: FftName = "auto",
) -> Any:
    """Reconstruct slices from their sinograms by gridding in the Fourier plane.

    The projections' transforms are the image's transform along lines through its origin. They are filtered
    with the exact discrete ramp, gridded with a Kaiser-Bessel kernel (O'Sullivan 1985; Jackson et al. 1991;
    oversampling 1.25 after Beatty et al. 2005) and transformed back. Two slices share a complex number, so
    a slice's last bits depend on the fifteen it is computed with: to get the same bits whatever is asked
    for, give whole groups of sixteen rows, aligned to the detector's first row. Only the detector's last
    group may be shorter; it is filled up with zeros.

    Parameters
    ----------
    sinograms : (angle, row, column) float32, numpy or CuPy
        Line integrals, dimensionless. All values finite.
    angles : (angle,) radians
        Any order, spacing and range; ``angular_weights`` says how they are weighted.
    center : float
        Column of the rotation axis, 0 is the centre of the first pixel; it falls on (size - 1) / 2.
    size : int, optional
        Pixels of the image along x and y, default the number of columns.
    filter, cutoff, order
        Apodisation, see ``filters.window``.
    pixel_size_um : float, optional
        Detector pixel in the sample's plane; without it the result is in 1/pixel.
    pad : {'edge', 'zero'}
        What lies outside the detector: the edge's value falling to zero like the projection of a disc whose
        radius is fitted to each row (for a sample wider than the detector; nothing changes where the edges
        are zero), or zero.
    kernel_width : int
        Grid points the kernel spans, 4 or 6; the method's error against exact filtered back-projection is
        about 3e-4 of the image's RMS with 4 and 1e-4 with 6.
    circle : bool
        Set pixels outside the inscribed circle to zero, see ``mask_circle``.
    weights : (angle,) float64, optional
        Radians each projection stands for, in place of ``angular_weights(angles)``.
    fft : {'auto', 'scipy', 'ducc0'}
        See ``resolve_fft``. A CuPy array is always transformed by CuPy.

    Returns
    -------
    (z, y, x) float32, 1/cm (1/pixel without `pixel_size_um`), same kind of array

    Raises
    ------
    ValueError
        If shapes do not match, the center lies outside the detector, or a value is not finite.
    """
    if sinograms.ndim != 3 or sinograms.shape[0] != np.size(angles):
        raise ValueError(f"sinograms of shape {sinograms.shape} do not match {np.size(angles)} angles")
    n_columns = sinograms.shape[2]
    if not -0.5 <= center <= n_columns - 0.5:
        raise ValueError(f"the center {center} lies outside the detector's {n_columns} columns")
    if kernel_width not in (4, 6):
        raise ValueError(f"the kernel is {kernel_width} wide: 4 or 6")
    if pixel_size_um is not None and not pixel_size_um > 0:
        raise ValueError(f"the pixel size is {pixel_size_um} um: give a length above 0")
    library = resolve_fft(fft)
    size = n_columns if size is None else size
    scale = 1.0 if pixel_size_um is None else 1e4 / pixel_size_um
    response = functools.partial(_response, name=filter, cutoff=cutoff, order=order, scale=scale)
    angles = np.asarray(angles, np.float64)
    plan = _make_plan(angles, n_columns, size, center, response, pad, kernel_width, weights)
    xp = array_namespace(sinograms)
    n_rows = sinograms.shape[1]
    out = xp.empty((n_rows, size, size), np.float32) if n_rows > GROUP else None
    for first in range(0, n_rows, GROUP):
        group = xp.asarray(sinograms[:, first : first + GROUP], dtype=np.float32)
        slices = _group_plain(group, plan) if is_cupy(group) else _group_fast(group, plan, library)
        slices = slices[: group.shape[1]]
        if circle:
            slices = mask_circle(slices)
        if out is None:
            return slices
        out[first : first + GROUP] = slices
    return out


def mask_circle(volume: Array) -> Any:
    """Return slices (z, y, x) with the pixels whose centre lies outside the inscribed circle set to zero."""
    xp = array_namespace(volume)
    y, x = ((xp.arange(n) - (n - 1) / 2) ** 2 for n in volume.shape[1:])
    inside = y[:, None] + x[None] <= (min(volume.shape[1:]) / 2) ** 2
    return volume * inside.astype(volume.dtype)


def _fast_even(length: float) -> int:
    """Smallest even length of at least `length` with no prime factor above 11, as scipy.fft does fast.

    Without asking scipy.fft, which a plan of what is already done need not load.
    """
    n = int(np.ceil(length))
    while n % 2 or not _is_smooth(n):
        n += 1
    return n


def _is_smooth(n: int) -> bool:
    for prime in (2, 3, 5, 7, 11):
        while n % prime == 0:
            n //= prime
    return n == 1


def _padded_length(n_columns: int, size: int, center: float) -> int:
    """Length of the padded projections: the ramp must not wrap round within the inscribed circle.

    Where the axis is off the middle by less than a 16th of the width, twice the width is kept: what wraps
    round then comes from the far edge of the detector and is below 1e-4 of the image.
    """
    farthest = size / 2 + max(center + 0.5, n_columns - 0.5 - center)
    if farthest <= n_columns * 17 / 16:
        farthest = n_columns
    return _fast_even(2 * farthest)


def _response(padded: int, *, name: FilterName, cutoff: float, order: float, scale: float) -> Any:
    """Filter with zero frequency in the middle, without the lowest frequency, which has no partner."""
    response = scipy.fft.fftshift(ramp(padded) * window(padded, name, cutoff=cutoff, order=order))
    response[0] = 0.0
    return response * (scale / padded)


def _make_plan(
    angles: np.ndarray[Any, Any],
    n_columns: int,
    size: int,
    center: float,
    response: Callable[[int], Array],
    pad: str,
    kernel_width: int,
    weights: np.ndarray[Any, Any] | None,
) -> _Plan:
    """Compute the tables that all groups share."""
    if pad not in ("edge", "zero"):
        raise ValueError(f"unknown padding {pad!r}: edge or zero")
    padded = _padded_length(n_columns, size, center)
    n_grid = _fast_even(OVERSAMPLING * size)
    beta = kernel_shape(kernel_width, n_grid / size)
    direction = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    direction[np.abs(direction) < 1e-12] = 0.0  # so that 0 and 2 pi are one angle also to the gridding
    # Pixels of an even image lie half a pixel off the grid that the transform returns.
    half = 0.5 * (size % 2 == 0)
    pixel = np.arange(size) - size // 2
    sign = 1.0 - 2.0 * ((pixel + n_grid // 2 + n_grid // 2) % 2)
    return _Plan(
        n_columns=n_columns,
        padded=padded,
        size=size,
        n_grid=n_grid,
        steps=direction * (n_grid / padded),
        shift=center + half * direction.sum(axis=1),
        weights=angular_weights(angles) if weights is None else np.asarray(weights, np.float64),
        response=response(padded),
        center=center,
        n_extend=(padded - n_columns) // 2 if pad == "edge" else 0,
        coefficients=kernel_polynomials(kernel_width, beta),
        deapodise=sign / kernel_transform(pixel, kernel_width, beta, n_grid),
    )


def _transform(x: np.ndarray[Any, Any], axis: int, library: str, *, inverse: bool = False) -> Any:
    """Complex FFT without a factor, in place where the library can: the one place that knows both of them."""
    if library == "ducc0":
        import ducc0

        return ducc0.fft.c2c(x, axes=(axis,), forward=not inverse, out=x, nthreads=1)
    if inverse:
        return scipy.fft.ifft(x, axis=axis, norm="forward", overwrite_x=True, workers=1)
    return scipy.fft.fft(x, axis=axis, overwrite_x=True, workers=1)


def _aligned(shape: tuple[int, ...]) -> np.ndarray[Any, Any]:
    """Uninitialised float32 array on a cache line: sixteen slices never straddle two of them."""
    raw = np.empty(int(np.prod(shape)) * 4 + 64, np.uint8)
    start = -raw.ctypes.data % 64
    return raw[start : start + raw.size - 64].view(np.float32).reshape(shape)


def _group_fast(sinograms: np.ndarray[Any, Any], plan: _Plan, library: str) -> np.ndarray[Any, Any]:
    """Reconstruct up to sixteen rows on the CPU; always returns sixteen slices."""
    columns = _grid_rows(_filter_projections(sinograms, plan, library), plan, library)
    out = np.empty((GROUP, plan.size, plan.size), np.float32)
    for block in range(columns.shape[0]):
        image = _transform(columns[block].view(np.complex64), 0, library, inverse=True)
        first_row = plan.n_grid // 2 - plan.size // 2
        unpack(image.view(np.float32), first_row, plan.deapodise, block * COLUMNS, out)
    return out


def _filter_projections(sinograms: np.ndarray[Any, Any], plan: _Plan, library: str) -> np.ndarray[Any, Any]:
    """Return the filtered transforms (angle, frequency, 16) of the projections."""
    n_angles = sinograms.shape[0]
    samples = _aligned((n_angles, plan.padded, GROUP))
    buffer = _aligned((_ANGLES, plan.padded, GROUP))
    n_edge = edge_columns(plan.n_columns)
    outside = extension(sinograms, plan.center, plan.n_extend)
    for first in range(0, n_angles, _ANGLES):
        block = sinograms[first : first + _ANGLES]
        packed = buffer[: block.shape[0]]
        if not pack(block, outside, n_edge, packed):
            bad = np.flatnonzero(~np.isfinite(sinograms).all(axis=(0, 2)))
            raise ValueError(f"rows {bad.tolist()} of the group are not finite: replace and count them first")
        spectrum = _transform(packed.view(np.complex64), 1, library).view(np.float32)
        end = first + _ANGLES
        multiply(spectrum, plan.response, plan.shift[first:end], plan.weights[first:end], samples[first:end])
    return samples


def _grid_rows(samples: np.ndarray[Any, Any], plan: _Plan, library: str) -> np.ndarray[Any, Any]:
    """Grid strip by strip and transform along x; (block of columns, v, column, 16) of the image's columns."""
    n_grid = plan.n_grid
    taps = tuple(range(plan.coefficients.shape[0]))
    columns = _aligned((-(-plan.size // COLUMNS), n_grid, COLUMNS * GROUP))
    tile = _aligned((tile_floats(len(taps)),))
    buffer = _aligned((STRIP, n_grid, GROUP))
    for first in range(0, n_grid, STRIP):
        strip = buffer[: min(STRIP, n_grid - first)]
        grid_strip(samples, plan.steps, first - n_grid // 2, plan.coefficients, tile, strip, taps)
        for row in range(0, strip.shape[0], _ANGLES):
            rows = strip[row : row + _ANGLES].view(np.complex64)
            rows = _transform(rows, 1, library, inverse=True).view(np.float32)
            keep_columns(rows, n_grid // 2 - plan.size // 2, plan.size, first + row, columns)
    return columns


def _group_plain(sinograms: Array, plan: _Plan) -> Any:
    """Reconstruct one group in array operations: the CUDA path, and with numpy the tests' reference."""
    xp, fft = array_namespace(sinograms), fft_of(sinograms)
    if not bool(xp.isfinite(sinograms).all()):
        raise ValueError("a row of the group is not finite: replace and count such rows first")
    n_angles, n_rows, n = sinograms.shape
    packed = xp.zeros((n_angles, plan.padded, GROUP), np.float32)
    packed[:, :n, :n_rows] = sinograms.transpose(0, 2, 1)
    if plan.n_extend:
        left, right = extension(sinograms, plan.center, plan.n_extend).transpose(0, 2, 1)
        n_edge = edge_columns(n)
        edge = packed[:, n - n_edge : n, :n_rows].mean(axis=1, keepdims=True)
        packed[:, n : n + plan.n_extend, :n_rows] = edge * right
        edge = packed[:, :n_edge, :n_rows].mean(axis=1, keepdims=True)
        packed[:, plan.padded - plan.n_extend :, :n_rows] = edge * left[::-1]
    samples = fft.fftshift(fft.fft(packed.view(np.complex64), axis=1), axes=1)
    frequency = xp.arange(plan.padded) - plan.padded // 2
    turns = xp.asarray(plan.shift / plan.padded)[:, None] * frequency
    factor = xp.exp(2j * np.pi * turns) * xp.asarray(plan.response) * xp.asarray(plan.weights)[:, None]
    samples = samples * factor.astype(np.complex64)[:, :, None]
    grid = grid_plain(samples, plan.steps, plan.coefficients, plan.n_grid)
    image = fft.ifft2(grid, axes=(0, 1), norm="forward")
    keep = slice(plan.n_grid // 2 - plan.size // 2, plan.n_grid // 2 - plan.size // 2 + plan.size)
    deapodise = xp.asarray(plan.deapodise)
    factor = (deapodise[:, None] * deapodise[None]).astype(np.float32)
    image = xp.ascontiguousarray(image[keep, keep]).view(np.float32) * factor[:, :, None]
    return xp.ascontiguousarray(image.transpose(2, 0, 1))
