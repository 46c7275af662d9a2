"""What tables of the configuration have in common: their base, ranges, regions and the choice of no method."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    NonNegativeInt,
    PositiveFloat,
    model_validator,
)


class Section(BaseModel):
    """A table of the file: nothing unknown in it, nothing changed after it was read."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, use_attribute_docstrings=True)


Span = Annotated[tuple[NonNegativeInt, NonNegativeInt], Field(description="half-open range [first, stop]")]


PixelSize = Annotated[float, Field(ge=1e-4, le=1e4, description="micrometre in the sample plane")]
Energy = Annotated[float, Field(ge=0.1, le=1000, description="photon energy in keV")]
Distance = Annotated[float, Field(gt=0, le=1e6, description="millimetre")]
Degrees = Annotated[float, Field(ge=-1e6, le=1e6, description="degrees")]


def _odd(value: int) -> int:
    if value % 2 == 0:
        raise ValueError("an odd number of pixels is needed")
    return value


OddInt = Annotated[int, Field(ge=1), AfterValidator(_odd)]


class NoMethod(Section):
    """Leave the step out."""

    method: Literal["none"] = "none"
    """Leave the step out."""


def default_method(method: str) -> BeforeValidator:
    """Let a table without ``method`` mean the one that is named."""

    def fill(value: Any) -> Any:
        return {"method": method, **value} if isinstance(value, dict) else value

    return BeforeValidator(fill)


class Cylinder(Section):
    """Voxels of the reference volume: planes z, half-open, and a radius in voxels about ((N-1)/2, (N-1)/2)."""

    z: Span
    """Planes, half-open [first, stop]."""
    radius: PositiveFloat
    """In voxels about the rotation axis; a voxel whose centre lies on it is inside."""


class Box(Section):
    """Voxels of the reference volume, half-open along each axis."""

    z: Span
    """Planes, half-open [first, stop]."""
    y: Span
    """Rows of a plane, half-open."""
    x: Span
    """Columns of a plane, half-open."""


class RegionOfInterest(Section):
    """Part of the reference volume; what several keys select is what all of them select."""

    cylinder: Cylinder | None = None
    """Within a radius of the rotation axis."""
    box: Box | None = None
    """Between planes, rows and columns."""
    label: str | None = None
    """Voxels of the reference scan that the segmentation gave this name."""

    @model_validator(mode="after")
    def _check(self) -> RegionOfInterest:
        if not self.model_dump(exclude_none=True):
            raise ValueError("name a region: cylinder, box or label")
        return self
