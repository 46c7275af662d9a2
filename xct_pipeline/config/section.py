"""What tables of the configuration have in common: their base, ranges, regions and the choice of no method."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

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

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, defer_build=True)

    @model_validator(mode="before")
    @classmethod
    def _no_truth_as_number(cls, data: Any) -> Any:
        """Refuse ``true`` where a number stands, which would be read as 1."""
        for name, value in data.items() if isinstance(data, dict) else ():
            field = cls.model_fields.get(name)
            if isinstance(value, bool) and field is not None and not _takes_truth(field.annotation):
                raise ValueError(f"{name} cannot be {str(value).lower()}")
        return data


def _takes_truth(annotation: Any) -> bool:
    return annotation in (bool, Any) or any(_takes_truth(part) for part in get_args(annotation))


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
    """Voxels of the reference volume: planes z, half-open, and at most a radius in voxels from ((N-1)/2, (N-1)/2)."""

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
    painted: str | None = None
    """File of a mask that somebody painted: TIFF, zarr or OME-Zarr of the size of the reference volume."""

    @model_validator(mode="after")
    def _check(self) -> RegionOfInterest:
        if not self.model_dump(exclude_none=True):
            raise ValueError("name a region: cylinder, box, label or painted")
        return self


class RegionOfMass(RegionOfInterest):
    """Part of the reference volume, once there are labels; a name alone means the whole body of that name."""

    whole: str | None = None
    """The body that the segmentation gave this name, from face to face with all that is inside."""

    @model_validator(mode="before")
    @classmethod
    def _name_alone(cls, data: Any) -> Any:
        """Take a name for that of a body."""
        return {"whole": data} if isinstance(data, str) else data


def with_absolute_paths(value: Any, resolve: Callable[[str], Path]) -> Any:
    """Return a section (or what it holds) with the painted masks of its regions named by absolute paths."""
    if isinstance(value, RegionOfInterest):
        return value if value.painted is None else value.model_copy(update={"painted": str(resolve(value.painted))})
    if isinstance(value, Section):
        changed = {name: new for name, old in value if (new := with_absolute_paths(old, resolve)) is not old}
        return value.model_copy(update=changed) if changed else value
    if isinstance(value, dict):
        new = {key: with_absolute_paths(old, resolve) for key, old in value.items()}
        return new if any(new[key] is not value[key] for key in value) else value
    return value


def painted_masks(value: Any) -> Iterator[str]:
    """Yield the files of the painted masks of all regions in a section (or what it holds)."""
    if isinstance(value, RegionOfInterest):
        yield from () if value.painted is None else (value.painted,)
    elif isinstance(value, Section):
        for _, inner in value:
            yield from painted_masks(inner)
    elif isinstance(value, dict):
        for inner in value.values():
            yield from painted_masks(inner)
