"""What tables of the configuration have in common: their base, ranges, regions and the choice of no method."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
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

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


Span = Annotated[tuple[NonNegativeInt, NonNegativeInt], Field(description="half-open range [first, stop]")]


def _odd(value: int) -> int:
    if value % 2 == 0:
        raise ValueError("an odd number of pixels is needed")
    return value


OddInt = Annotated[int, Field(ge=1), AfterValidator(_odd)]


class NoMethod(Section):
    """Leave the step out."""

    method: Literal["none"] = "none"


def default_method(method: str) -> BeforeValidator:
    """Let a table without ``method`` mean the one that is named."""

    def fill(value: Any) -> Any:
        return {"method": method, **value} if isinstance(value, dict) else value

    return BeforeValidator(fill)


class Cylinder(Section):
    """Voxels of the reference volume: planes z, half-open, and at most a radius in voxels from ((N-1)/2, (N-1)/2)."""

    z: Span
    radius: PositiveFloat


class Box(Section):
    """Voxels of the reference volume, half-open along each axis."""

    z: Span
    y: Span
    x: Span


class RegionOfInterest(Section):
    """Part of the reference volume; what several keys select is what all of them select."""

    cylinder: Cylinder | None = None
    box: Box | None = None
    label: str | None = None
    painted: str | None = None

    @model_validator(mode="after")
    def _check(self) -> RegionOfInterest:
        if not self.model_dump(exclude_none=True):
            raise ValueError("name a region: cylinder, box, label or painted")
        return self


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
