"""Other packages' methods in the units and the geometry of this one: ASTRA and tomopy, on the CPU.

Both are optional. Their images are given the same axis, (size - 1) / 2, the same direction of rows and the
same unit as ``fourier.reconstruct`` gives, so that methods can be exchanged and compared.
"""

from __future__ import annotations

from types import ModuleType
from typing import Any, Literal

import numpy as np
import scipy.fft

from xct_pipeline.device import Array, is_cupy, to_device, to_host
from xct_pipeline.reconstruction.filters import FilterName, angular_weights, ramp, window

AstraAlgorithm = Literal["FBP", "SIRT", "CGLS"]


class MissingMethod(ValueError):
    """The package of a method is not installed; the message says how to install it."""


def reconstruct_astra(
    sinograms: Array,
    angles: np.ndarray[Any, Any],
    *,
    center: float,
    size: int | None = None,
    pixel_size_um: float | None = None,
    algorithm: AstraAlgorithm = "FBP",
    iterations: int = 100,
    filter: FilterName = "ram-lak",
    cutoff: float = 1.0,
    order: float = 8.0,
    projector: Literal["linear", "strip", "line"] = "linear",
) -> Any:
    """Reconstruct slice by slice with the ASTRA toolbox (van Aarle et al. 2015).

    FBP filters with the exact discrete ramp of this package and weights by the angles' spacing, and
    back-projects with ASTRA: its own FBP takes neither an axis off the middle nor uneven angles.

    Parameters
    ----------
    sinograms : (angle, row, column), line integrals
    angles : (angle,) radians, any
    center : float
        Column of the axis.
    size : int, optional
        Pixels of the image along x and y, default the number of columns.
    pixel_size_um : float, optional
        Without it the result is in 1/pixel.
    algorithm : {'FBP', 'SIRT', 'CGLS'}
    iterations : int
        Of SIRT (some hundred to converge) or CGLS (some ten); not used by FBP.
    filter, cutoff, order
        Apodisation of FBP, see ``filters.window``.
    projector : {'linear', 'strip', 'line'}
        ASTRA's model of a ray.

    Returns
    -------
    (z, y, x) float32, 1/cm (1/pixel without `pixel_size_um`)

    Raises
    ------
    MissingMethod
        If ASTRA is not installed.
    ValueError
        If shapes do not match or the algorithm is unknown.
    """
    try:
        import astra
    except ImportError as error:
        raise MissingMethod("ASTRA is not installed: pip install 'xct-pipeline[astra]'") from error
    if algorithm not in ("FBP", "SIRT", "CGLS"):
        raise ValueError(f"unknown ASTRA algorithm {algorithm!r}: FBP, SIRT or CGLS")
    _check(sinograms, angles, center)
    data = np.asarray(to_host(sinograms), np.float32)
    angles = np.asarray(angles, np.float64)
    _, n_rows, n_columns = data.shape
    size = n_columns if size is None else size
    if algorithm == "FBP":
        # Within the inscribed circle the farthest distance along u is the larger side plus half the image.
        padded = 2 * scipy.fft.next_fast_len(int(size / 2 + max(center, n_columns - 1 - center)) + 1, real=True)
        response = ramp(padded) * window(padded, filter, cutoff=cutoff, order=order)
        data = _filter(data, response) * angular_weights(angles).astype(np.float32)[:, None, None]
    # ASTRA's y axis points up, along decreasing rows: (cos, -sin) is the detector's direction there.
    along = np.stack([np.cos(angles), -np.sin(angles)], axis=1)
    ray = np.stack([np.sin(angles), np.cos(angles)], axis=1)
    vectors = np.hstack([ray, ((n_columns - 1) / 2 - center) * along, along])
    geometry = astra.create_proj_geom("parallel_vec", n_columns, vectors)
    method = "BP" if algorithm == "FBP" else algorithm
    slices = np.empty((n_rows, size, size), np.float32)
    model = astra.create_projector(projector, geometry, astra.create_vol_geom(size, size))
    runs = 1 if algorithm == "FBP" else iterations
    try:
        for row in range(n_rows):
            sinogram = np.ascontiguousarray(data[:, row])
            slices[row] = _astra_slice(astra, method, model, geometry, sinogram, size, runs)
    finally:
        astra.projector.delete(model)
    slices *= np.float32(_per_cm(pixel_size_um))
    return to_device(slices) if is_cupy(sinograms) else slices


def reconstruct_tomopy(
    sinograms: Array,
    angles: np.ndarray[Any, Any],
    *,
    center: float,
    size: int | None = None,
    pixel_size_um: float | None = None,
    algorithm: str = "gridrec",
    options: dict[str, Any] | None = None,
) -> Any:
    """Reconstruct with tomopy (Gursoy et al. 2014).

    tomopy has two conventions: gridrec puts the axis on the pixel size / 2 and counts columns from their
    centres, the others on (size - 1) / 2 and count from their edges. Both are brought to this package's;
    for gridrec that takes a move of each projection by a fraction of a pixel, done in its transform.
    gridrec is given projections padded with zeros to twice their width, without which its values are off by
    tens of percent. Its remaining error is tomopy's own, as is the iterative methods' before they converge.

    Parameters
    ----------
    sinograms, angles, center, size, pixel_size_um
        As in ``reconstruct_astra``.
    algorithm : str
        Any of tomopy's that returns attenuation: art, bart, gridrec, mlem, osem, ospml_hybrid, ospml_quad,
        pml_hybrid, pml_quad, sirt, tv, grad, tikh. Not its fbp, which neither filters nor scales.
    options : dict, optional
        Further arguments of ``tomopy.recon``, for instance ``{"num_iter": 50}``.

    Returns
    -------
    (z, y, x) float32, 1/cm (1/pixel without `pixel_size_um`)

    Raises
    ------
    MissingMethod
        If tomopy is not installed.
    ValueError
        If shapes do not match or tomopy refuses the algorithm or an option.
    """
    try:
        import tomopy
    except ImportError as error:
        raise MissingMethod("tomopy is not installed: conda install -c conda-forge tomopy") from error
    if algorithm == "fbp":
        raise ValueError("tomopy's fbp neither filters nor scales: use gridrec, or ASTRA's FBP")
    _check(sinograms, angles, center)
    data = np.asarray(to_host(sinograms), np.float32)
    angles = np.asarray(angles, np.float64)
    size = data.shape[2] if size is None else size
    options = {**(options or {}), "algorithm": algorithm, "ncore": 1}
    if algorithm == "gridrec":
        data, center, first = _prepare_gridrec(data, angles, center, size)
        slices = tomopy.recon(data, angles, center=center, **options)
        # Its rows run against ours; flipped, the axis stays on the middle pixel.
        slices = slices[:, ::-1][:, first : first + size, first : first + size]
    else:
        options = {**options, "num_gridx": size, "num_gridy": size}
        slices = tomopy.recon(np.ascontiguousarray(data), angles, center=center + 0.5, **options)[:, ::-1]
    slices = np.ascontiguousarray(slices, np.float32) * np.float32(_per_cm(pixel_size_um))
    return to_device(slices) if is_cupy(sinograms) else slices


def _astra_slice(
    astra: ModuleType,
    method: str,
    projector: int,
    geometry: dict[str, Any],
    sinogram: np.ndarray[Any, Any],
    size: int,
    iterations: int,
) -> np.ndarray[Any, Any]:
    """Run one algorithm on one sinogram; a new one each time, as ASTRA's continue from where they stopped."""
    ids = [astra.data2d.create("-sino", geometry, sinogram)]
    try:
        ids.append(astra.data2d.create("-vol", astra.create_vol_geom(size, size), 0))
        config = astra.astra_dict(method)
        config["ProjectorId"], config["ProjectionDataId"], config["ReconstructionDataId"] = projector, *ids
        algorithm = astra.algorithm.create(config)
        astra.algorithm.run(algorithm, iterations)
        astra.algorithm.delete(algorithm)
        return np.asarray(astra.data2d.get(ids[1]))
    finally:
        astra.data2d.delete(ids)


def _check(sinograms: Array, angles: np.ndarray[Any, Any], center: float) -> None:
    if sinograms.ndim != 3 or sinograms.shape[0] != np.size(angles):
        raise ValueError(f"sinograms of shape {sinograms.shape} do not match {np.size(angles)} angles")
    if not -0.5 <= center <= sinograms.shape[2] - 0.5:
        raise ValueError(f"the center {center} lies outside the detector's {sinograms.shape[2]} columns")


def _per_cm(pixel_size_um: float | None) -> float:
    return 1.0 if pixel_size_um is None else 1e4 / pixel_size_um


def _filter(data: np.ndarray[Any, Any], response: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Convolve each projection with the filter whose transform is `response`, in float32."""
    n = data.shape[-1]
    out = np.empty_like(data)
    for row in range(data.shape[1]):
        spectrum = scipy.fft.rfft(data[:, row], response.size, workers=1)
        spectrum *= response[: response.size // 2 + 1].astype(np.float32)
        out[:, row] = scipy.fft.irfft(spectrum, response.size, workers=1)[:, :n]
    return out


def _prepare_gridrec(
    data: np.ndarray[Any, Any], angles: np.ndarray[Any, Any], center: float, size: int
) -> tuple[np.ndarray[Any, Any], float, int]:
    """Pad to twice the width, and for an even image move the axis by half a pixel in x and y."""
    n = data.shape[2]
    width = 2 * max(n, size)
    left = (width - n) // 2
    padded = np.zeros((*data.shape[:2], width), np.float32)
    padded[:, :, left : left + n] = data
    if size % 2 == 0:
        turns = scipy.fft.rfftfreq(width) * (0.5 * (np.cos(angles) + np.sin(angles)))[:, None]
        spectrum = scipy.fft.rfft(padded, workers=1) * np.exp(2j * np.pi * turns).astype(np.complex64)[:, None]
        padded = scipy.fft.irfft(spectrum, width, workers=1).astype(np.float32)
    return padded, center + left, width // 2 - size // 2
