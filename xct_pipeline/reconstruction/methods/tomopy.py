"""Any algorithm of tomopy, on the CPU.

The package is optional. Its images are given the same axis, (size - 1) / 2, the same direction of rows and the same
unit as ``fourier.reconstruct`` gives, so that methods can be exchanged and compared.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy

from xct_pipeline.device import Array
from xct_pipeline.reconstruction.methods.common import Method, MissingMethod, Options, View, check_shapes, per_cm
from xct_pipeline.scan import Axis

SLICES = 16  # that gridrec takes together: it computes pairs of them as one complex image


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
    check_shapes(sinograms, angles, center)
    data = np.asarray(sinograms, np.float32)
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
    slices = np.ascontiguousarray(slices, np.float32) * np.float32(per_cm(pixel_size_um))
    return slices


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


def _kernel(
    sinograms: Any, angles: np.ndarray[Any, Any], axis: Axis, size: int, pixel_size_um: float | None, options: Options
) -> Any:
    return reconstruct_tomopy(sinograms, angles, center=axis.column, size=size, pixel_size_um=pixel_size_um, **options)


def _memory(view: View, options: Options) -> int:
    del options
    return 4 * SLICES * (view.size**2 + 4 * view.angles * view.columns)


METHOD = Method(
    "tomopy",
    1,
    _kernel,
    _memory,
    together=lambda options: SLICES if options["algorithm"] == "gridrec" else 1,
    linear=lambda options: False,  # noqa: ARG005
)
