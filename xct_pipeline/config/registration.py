"""``[registration]``: every scan in the frame and on the grey scale of one of them."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, NonNegativeInt, PositiveFloat, model_validator

from xct_pipeline.config.section import RegionOfInterest, Section

Finite = Annotated[float, Field(allow_inf_nan=False)]


class MaskSettings(RegionOfInterest):
    """The parts that do not change, on which scans are matched; several keys select what all of them select."""

    min_attenuation: float | None = None
    max_attenuation: float | None = None
    grow: NonNegativeInt = 2

    @model_validator(mode="after")
    def _check(self) -> MaskSettings:
        if not self.model_dump(exclude_none=True, exclude={"grow"}):
            raise ValueError(
                'name what does not change: min_attenuation, max_attenuation, cylinder, box, label, painted, or "auto"'
            )
        return self


class StartMotion(Section):
    """Where the search begins: the scan, turned about the volume's middle and then shifted, about on the reference.

    Voxels and degrees, both (z, y, x); a positive turn about z is anticlockwise with y pointing down.
    """

    shift: tuple[Finite, Finite, Finite] = (0.0, 0.0, 0.0)
    rotation: tuple[Finite, Finite, Finite] = (0.0, 0.0, 0.0)


class Calibration(Section):
    """Grey values of each scan on the scale of the reference scan."""

    method: Literal["auto", "regions", "registration", "none"] = "auto"
    regions: dict[str, RegionOfInterest] = {}
    fitted: list[str] = []

    @model_validator(mode="after")
    def _check(self) -> Calibration:
        if (self.method == "regions") != bool(self.regions):
            raise ValueError('name regions with method = "regions", and only then')
        unknown = sorted(set(self.fitted) - set(self.regions))
        if unknown:
            raise ValueError(
                f"fitted names {', '.join(unknown)}, which is no region; there are {', '.join(self.regions)}"
            )
        return self


class LocalDisplacement(Section):
    """Digital volume correlation on a grid of nodes: a diagnostic, never used to warp."""

    window: Annotated[int, Field(ge=8, le=128)] = 32
    spacing: Annotated[int, Field(ge=4)] = 32


class Registration(Section):
    """Every scan in the frame and on the grey scale of one of them."""

    method: Literal["rigid", "translation", "affine"] = "rigid"
    reference: NonNegativeInt | str = 0
    mask: Literal["auto"] | MaskSettings = "auto"
    order: Literal["linear", "cubic", "quintic"] = "cubic"
    smoothing: Annotated[float, Field(ge=0, le=3)] = 0.7
    max_shift: PositiveFloat | None = None
    max_rotation: PositiveFloat = 15.0
    start: dict[str, StartMotion] = {}
    calibration: Calibration = Calibration()
    local: LocalDisplacement | None = None
    fragments: dict[str, RegionOfInterest] = {}

    @model_validator(mode="after")
    def _check(self) -> Registration:
        turned = [name for name, motion in self.start.items() if any(motion.rotation)]
        if self.method == "translation" and turned:
            raise ValueError(
                f'start of {", ".join(turned)} has a rotation, but method = "translation" does not turn: '
                'leave the rotation out or choose method = "rigid"'
            )
        return self
