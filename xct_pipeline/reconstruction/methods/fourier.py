"""Direct Fourier reconstruction: the kernel is `xct_pipeline.reconstruction.fourier`."""

from __future__ import annotations

from typing import Any

import numpy as np

from xct_pipeline.reconstruction import fourier
from xct_pipeline.reconstruction.gridding import GROUP
from xct_pipeline.reconstruction.methods.common import Method, Options, View
from xct_pipeline.scan import Axis


def _kernel(
    sinograms: Any, angles: np.ndarray[Any, Any], axis: Axis, size: int, pixel_size_um: float | None, options: Options
) -> Any:
    return fourier.reconstruct(sinograms, angles, center=axis.column, size=size, pixel_size_um=pixel_size_um, **options)


def _memory(view: View, options: Options) -> int:
    del options
    weighted = 4 * GROUP * view.angles * view.columns if view.half else 0
    return fourier.scratch_bytes(view.angles, view.columns, view.size, center=view.axis.column) + weighted


def _resolve(options: Options) -> Options:
    return {**options, "fft": fourier.resolve_fft(options["fft"])}


METHOD = Method(
    "fourier",
    1,
    _kernel,
    _memory,
    together=lambda options: GROUP,  # noqa: ARG005
    linear=lambda options: True,  # noqa: ARG005
    resolve=_resolve,
    on_device=True,
)
