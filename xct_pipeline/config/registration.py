"""``[registration]``: every scan in the frame and on the grey scale of one of them."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, NonNegativeInt, PositiveFloat, model_validator

from xct_pipeline.config.section import RegionOfInterest, Section
from xct_pipeline.names import Name, check_distinct

Parameter = Literal["shift_z", "shift_y", "shift_x", "turn_z", "turn_y", "turn_x"]
Finite = Annotated[float, Field(allow_inf_nan=False)]


class MaskSettings(RegionOfInterest):
    """The parts that do not change, on which scans are matched; several keys select what all of them select."""

    min_attenuation: float | None = None
    """Voxels at least as dense, 1/cm."""
    max_attenuation: float | None = None
    """Voxels at most as dense, 1/cm."""
    grow: NonNegativeInt = 2
    """Voxels by which the mask is grown, so that faces take part."""

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
    """Voxels along z, y, x."""
    rotation: tuple[Finite, Finite, Finite] = (0.0, 0.0, 0.0)
    """Degrees about z, y, x."""


class Calibration(Section):
    """Grey values of each scan on the scale of the reference scan."""

    method: Literal["auto", "regions", "registration", "none"] = "auto"
    """"auto" from the materials of the mask; "regions" from regions that are named; "registration" from the match
    itself; "none" leaves the grey scale as it is.
    """
    regions: dict[Name, RegionOfInterest] = {}
    """Parts that do not change, by name."""
    fitted: list[str] = []
    """Which regions make gain and offset; the others test them. All by default."""

    @model_validator(mode="after")
    def _check(self) -> Calibration:
        if (self.method == "regions") != bool(self.regions):
            raise ValueError('name regions with method = "regions", and only then')
        check_distinct(self.regions, "regions")
        unknown = sorted(set(self.fitted) - set(self.regions))
        if unknown:
            raise ValueError(
                f"fitted names {', '.join(unknown)}, which is no region; there are {', '.join(self.regions)}"
            )
        return self


class LocalDisplacement(Section):
    """Digital volume correlation on a grid of nodes: a diagnostic, never used to warp."""

    window: Annotated[int, Field(ge=8, le=128)] = 32
    """Edge of the cube that is matched about each node, voxels."""
    spacing: Annotated[int, Field(ge=4)] = 32
    """Between nodes, voxels."""


class Registration(Section):
    """Every scan in the frame and on the grey scale of one of them."""

    method: Literal["rigid", "translation", "affine"] = "rigid"
    """Which motions are searched: shifts; shifts and turns; or an affine map."""
    reference: NonNegativeInt | str = 0
    """Position or name of the scan that all others are brought to."""
    fix: list[Parameter] = []
    """Motions that are not searched but left at the start, such as ["shift_z", "turn_z"]: those that the object, which
    does not vary that way, leaves open. Others that turn out to be open are left at the start too, with a warning.
    """
    mask: Literal["auto"] | MaskSettings = "auto"
    """What does not change; "auto" leaves out what changed by itself."""
    order: Literal["linear", "cubic", "quintic"] = "cubic"
    """Of the B-spline that resamples."""
    smoothing: Annotated[float, Field(ge=0, le=3)] = 0.7
    """Gaussian before matching, a standard deviation in voxels."""
    max_shift: PositiveFloat | None = None
    """A larger motion is an error, voxels; a quarter of the longest side by default."""
    max_rotation: PositiveFloat = 15.0
    """A larger turn is an error, degrees."""
    axis: tuple[float, float] | None = None
    """Rotation axis (y, x) in voxels of the volumes, about which rings are looked for; that of the reconstruction by
    default. Volumes of another program do not say where theirs is.
    """
    start: dict[str, StartMotion] = {}
    """Where the search begins, by the name of the scan."""
    calibration: Calibration = Calibration()
    """Grey values on the scale of the reference."""
    local: LocalDisplacement | None = None
    """Local displacement and strain, a diagnostic."""
    fragments: dict[Name, RegionOfInterest] = {}
    """Parts that are registered on their own, by name, a diagnostic."""

    @model_validator(mode="after")
    def _check(self) -> Registration:
        check_distinct(self.fragments, "fragments")
        turned = [name for name, motion in self.start.items() if any(motion.rotation)]
        if self.method == "translation" and turned:
            raise ValueError(
                f'start of {", ".join(turned)} has a rotation, but method = "translation" does not turn: '
                'leave the rotation out or choose method = "rigid"'
            )
        turns = [name for name in self.fix if name.startswith("turn")]
        if self.method != "rigid" and turns:
            raise ValueError(
                f'fix names {", ".join(turns)}, but method = "{self.method}" searches no turns by themselves: '
                'leave them out or choose method = "rigid"'
            )
        searched = {"translation": 3, "rigid": 6, "affine": 12}[self.method]
        if len(set(self.fix)) == searched:
            raise ValueError("fix leaves no motion to be searched: leave one out, or leave [registration] out")
        return self
