"""``[reconstruction]``: from sinograms to attenuation."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, PositiveFloat, PositiveInt

from xct_pipeline.config.section import Section, default_method


def _center(value: Any) -> str | float | tuple[float, ...]:
    if value in ("auto", "common") or (isinstance(value, (int, float)) and not isinstance(value, bool)):
        return value if isinstance(value, str) else float(value)
    if isinstance(value, (list, tuple)) and value and all(isinstance(c, (int, float)) for c in value):
        return tuple(float(c) for c in value)
    raise ValueError('give "auto", "common" (one for all scans), a column, or a list with one column per scan')


class ReconstructionBase(Section):
    """What every method needs."""

    center: Annotated[Any, AfterValidator(_center)] = "auto"
    half_acquisition: Literal["auto", "none", "left", "right"] = "auto"
    circle: bool = False


FilterName = Literal["ram-lak", "shepp-logan", "cosine", "hann", "hamming", "butterworth"]


class Fourier(ReconstructionBase):
    """Direct Fourier reconstruction, gridding batched over slices."""

    method: Literal["fourier"] = "fourier"
    filter: FilterName = "ram-lak"
    cutoff: Annotated[float, Field(gt=0, le=1)] = 1.0
    order: PositiveFloat = 8.0
    pad: Literal["edge", "zero"] = "edge"
    kernel_width: Literal[4, 6] = 4
    fft: Literal["auto", "scipy", "ducc0"] = "auto"


class Astra(ReconstructionBase):
    """The ASTRA toolbox, slice by slice on the CPU."""

    method: Literal["astra"]
    algorithm: Literal["FBP", "SIRT", "CGLS"] = "FBP"
    iterations: PositiveInt = 100
    filter: FilterName = "ram-lak"


class Tomopy(ReconstructionBase):
    """Any algorithm of tomopy (conda-forge only)."""

    method: Literal["tomopy"]
    algorithm: str = "gridrec"
    options: dict[str, Any] = {}


Reconstruction = Annotated[
    Annotated[Fourier | Astra | Tomopy, Field(discriminator="method")], default_method("fourier")
]
