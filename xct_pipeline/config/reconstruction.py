"""``[reconstruction]``: from sinograms to attenuation."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, PositiveFloat, PositiveInt, model_validator

from xct_pipeline.config.section import Section, default_method

MOST_TILT = 10.0
MOST_LEAN = 3.0  # beyond which slices would be by 0.14 % closer than they are taken to be


def _center(value: Any) -> str | float | tuple[float, ...]:
    if value in ("auto", "common") or (isinstance(value, (int, float)) and not isinstance(value, bool)):
        return value if isinstance(value, str) else float(value)
    if isinstance(value, (list, tuple)) and value and all(isinstance(c, (int, float)) for c in value):
        return tuple(float(c) for c in value)
    raise ValueError('give "auto", "common" (one for all scans), a column, or a list with one column per scan')


def _tilt(value: Any) -> str | float:
    return _angle(value, MOST_TILT)


def _lean(value: Any) -> str | float:
    return _angle(value, MOST_LEAN)


def _angle(value: Any, most: float) -> str | float:
    if value in ("auto", "none"):
        return str(value)
    if isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) <= most:
        return float(value)
    raise ValueError(f'give "auto", "none", or an angle of at most {most:g} degrees')


class ReconstructionBase(Section):
    """What every method needs."""

    center: Annotated[Any, AfterValidator(_center)] = "auto"
    """Column of the rotation axis: "auto" for each scan, "common" for all, a number, or a list of one per scan."""
    tilt: Annotated[Any, AfterValidator(_tilt)] = "auto"
    """Of the axis in the detector's plane: found and, where significant, corrected ("auto"), degrees, or "none"."""
    lean: Annotated[Any, AfterValidator(_lean)] = "auto"
    """Of the axis along the beam: found with the tilt, corrected where significant ("auto"), degrees, or "none"."""
    half_acquisition: Literal["auto", "none", "left", "right"] = "auto"
    """Axis near the edge of the detector: "auto" where a whole turn was taken, or the side on which the axis lies."""
    circle: bool = False
    """Set voxels outside the inscribed circle to zero."""
    halves: bool = False
    """Measure noise and resolution of each scan from reconstructions of its even and of its odd projections."""

    @model_validator(mode="after")
    def _check_lean(self) -> Self:
        if isinstance(self.lean, float) and self.lean and getattr(self, "method", "") != "fourier":
            raise ValueError('a lean of the axis is corrected by method = "fourier" alone: choose it, or lean = "none"')
        return self


FilterName = Literal["ram-lak", "shepp-logan", "cosine", "hann", "hamming", "butterworth"]


class Fourier(ReconstructionBase):
    """Direct Fourier reconstruction, gridding batched over slices."""

    method: Literal["fourier"] = "fourier"
    """Direct Fourier reconstruction."""
    filter: FilterName = "ram-lak"
    """Window on the ramp."""
    cutoff: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Frequency at which the window ends, as a share of the highest."""
    order: PositiveFloat = 8.0
    """Of the Butterworth window."""
    pad: Literal["edge", "zero"] = "edge"
    """What lies beyond the detector: the value at its edge, or zero."""
    kernel_width: Literal[4, 6] = 4
    """Taps of the gridding kernel along each axis; 6 is slower and four times as exact."""
    fft: Literal["auto", "scipy", "ducc0"] = "auto"
    """Library of the transforms; "auto" takes ducc0 where it is installed."""


class Astra(ReconstructionBase):
    """The ASTRA toolbox, slice by slice on the CPU."""

    method: Literal["astra"]
    """The ASTRA toolbox."""
    algorithm: Literal["FBP", "SIRT", "CGLS"] = "FBP"
    """FBP, or one that iterates."""
    iterations: PositiveInt = 100
    """Of SIRT and CGLS."""
    filter: FilterName = "ram-lak"
    """Window on the ramp, for FBP."""


class Iterative(ReconstructionBase):
    """Iteration with an own projector, for few projections and low dose: SIRT, CGLS or total variation."""

    method: Literal["iterative"]
    """Iteration."""
    algorithm: Literal["SIRT", "CGLS", "TV"] = "SIRT"
    """SIRT converges smoothly, CGLS in some ten iterations, TV keeps edges and takes noise out between them."""
    iterations: PositiveInt = 100
    """How many."""
    regularization: Annotated[float, Field(ge=0)] = 0.0
    """Weight of the total variation, in line integrals; for TV and for no other."""
    nonnegative: bool = False
    """Keep attenuation at or above 0; not with CGLS."""

    @model_validator(mode="after")
    def _check(self) -> Iterative:
        if (self.algorithm == "TV") != (self.regularization > 0):
            raise ValueError('algorithm = "TV" needs a regularization above 0, and only it has one')
        if self.nonnegative and self.algorithm == "CGLS":
            raise ValueError('algorithm = "CGLS" cannot keep values at or above 0: choose SIRT or TV')
        return self


class Tomopy(ReconstructionBase):
    """Any algorithm of tomopy (conda-forge only)."""

    method: Literal["tomopy"]
    """tomopy."""
    algorithm: str = "gridrec"
    """Its name in tomopy.recon."""
    options: dict[str, Any] = {}
    """Passed on to tomopy.recon."""


Reconstruction = Annotated[
    Annotated[Fourier | Astra | Iterative | Tomopy, Field(discriminator="method")], default_method("fourier")
]
