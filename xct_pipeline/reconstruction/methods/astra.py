"""The ASTRA toolbox, slice by slice on the CPU.

The package is optional. Its images are given the same axis, (size - 1) / 2, the same direction of rows and the same
unit as ``fourier.reconstruct`` gives, so that methods can be exchanged and compared.
"""

from __future__ import annotations

from types import ModuleType
from typing import Any, Literal

import numpy as np
import scipy

from xct_pipeline.device import Array
from xct_pipeline.reconstruction.filters import FilterName, angular_weights, ramp, window
from xct_pipeline.reconstruction.methods.common import Method, MissingMethod, Options, View, check_shapes, per_cm
from xct_pipeline.scan import Axis

AstraAlgorithm = Literal["FBP", "SIRT", "CGLS"]


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
    check_shapes(sinograms, angles, center)
    data = np.asarray(sinograms, np.float32)
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
    slices *= np.float32(per_cm(pixel_size_um))
    return slices


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


def _filter(data: np.ndarray[Any, Any], response: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Convolve each projection with the filter whose transform is `response`, in float32."""
    n = data.shape[-1]
    out = np.empty_like(data)
    for row in range(data.shape[1]):
        spectrum = scipy.fft.rfft(data[:, row], response.size, workers=1)
        spectrum *= response[: response.size // 2 + 1].astype(np.float32)
        out[:, row] = scipy.fft.irfft(spectrum, response.size, workers=1)[:, :n]
    return out


def _kernel(
    sinograms: Any, angles: np.ndarray[Any, Any], axis: Axis, size: int, pixel_size_um: float | None, options: Options
) -> Any:
    return reconstruct_astra(sinograms, angles, center=axis.column, size=size, pixel_size_um=pixel_size_um, **options)


def _memory(view: View, options: Options) -> int:
    del options
    return 4 * (4 * view.size**2 + 4 * view.angles * view.columns)


METHOD = Method(
    "astra",
    1,
    _kernel,
    _memory,
    together=lambda options: 1,  # noqa: ARG005
    linear=lambda options: bool(options["algorithm"] == "FBP"),
)
