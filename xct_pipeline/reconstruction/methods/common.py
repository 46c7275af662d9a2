"""What a method of reconstruction is, and what methods share."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np

from xct_pipeline.scan import Axis

Options = Mapping[str, Any]
"""Parameters of a method, as its model in the configuration holds them."""


class MissingMethod(ValueError):
    """The package of a method is not installed; the message says how to install it."""


class View(NamedTuple):
    """What is seen in one slice.

    Attributes
    ----------
    angles, columns : int
        Of its sinogram.
    size : int
        Side of the slice, pixels.
    axis : Axis
        In columns of the sinogram.
    half : bool
        Whether it is a half acquisition, whose sinograms are weighted first.
    """

    angles: int
    columns: int
    size: int
    axis: Axis
    half: bool = False


class Kernel(Protocol):
    """Reconstructs (angle, row, column) line integrals to (z, y, x) float32, 1/cm (1/pixel without a pixel size)."""

    def __call__(  # noqa: D102
        self,
        sinograms: Any,
        angles: np.ndarray[Any, Any],
        axis: Axis,
        size: int,
        pixel_size_um: float | None,
        options: Options,
    ) -> Any: ...


@dataclass(frozen=True)
class Method:
    """A method of reconstruction.

    Attributes
    ----------
    name : str
        As the configuration says it.
    version : int
        Of its results; a volume of another version is computed anew.
    kernel : Kernel
    memory : callable
        ``(view, options) -> bytes`` beyond the sinograms while one group of slices is computed, its result included; on
        a device where the kernel computes there, else on the host.
    together : callable
        ``(options) -> slices`` that share their last bits, aligned to detector row 0; a preview computes no more.
    linear : callable
        ``(options) -> bool``: whether it is linear in the projections, so that the rays of a half acquisition may be
        weighted instead of joined to wide projections.
    resolve : callable
        ``(options) -> options`` with what the machine decides, such as a library; it enters the identity of a volume.
    on_device : bool
        Whether the kernel takes arrays on a CUDA device; else it is given them on the host.
    """

    name: str
    version: int
    kernel: Kernel
    memory: Callable[[View, Options], int]
    together: Callable[[Options], int]
    linear: Callable[[Options], bool]
    resolve: Callable[[Options], Options] = dict
    on_device: bool = False


def check_shapes(sinograms: Any, angles: np.ndarray[Any, Any], center: float) -> None:
    """Raise ValueError where angles do not match sinograms or the axis lies outside the detector."""
    if sinograms.ndim != 3 or sinograms.shape[0] != np.size(angles):
        raise ValueError(f"sinograms of shape {sinograms.shape} do not match {np.size(angles)} angles")
    if not -0.5 <= center <= sinograms.shape[2] - 0.5:
        raise ValueError(f"the center {center} lies outside the detector's {sinograms.shape[2]} columns")


def per_cm(pixel_size_um: float | None) -> float:
    """Return what makes 1/cm of a value per pixel; 1 where no pixel size is known."""
    return 1.0 if pixel_size_um is None else 1e4 / pixel_size_um
