"""``[segmentation]``: labels, and what is measured on them."""

from __future__ import annotations

import itertools
from abc import abstractmethod
from typing import Annotated, Literal

from pydantic import Field, NonNegativeInt, PositiveFloat, PositiveInt, model_validator

from xct_pipeline.config.section import NoMethod, Section, default_method
from xct_pipeline.names import Name, check_distinct


class DenoiseGaussian(Section):
    """Smooth with a Gaussian of a standard deviation in voxels."""

    method: Literal["gaussian"] = "gaussian"
    sigma: Annotated[float, Field(gt=0, le=10)] = 1.0


class DenoiseMedian(Section):
    """Median over a cube of 2 radius + 1 voxels."""

    method: Literal["median"]
    radius: Annotated[int, Field(ge=1, le=5)] = 1


class DenoiseTotalVariation(Section):
    """Total variation (Chambolle 2004); weight in 1/cm, about the noise."""

    method: Literal["tv"]
    weight: PositiveFloat = 0.1
    iterations: Annotated[int, Field(ge=1, le=100)] = 30


Denoise = Annotated[
    Annotated[NoMethod | DenoiseGaussian | DenoiseMedian | DenoiseTotalVariation, Field(discriminator="method")],
    default_method("gaussian"),
]
Connectivity = Literal[6, 18, 26]


class InterfaceSettings(Section):
    """Where materials that touch the ceramic are looked up: voxels along its normal, towards the anode; [] for none."""

    offsets: list[PositiveFloat] = [1.0, 2.0, 3.0]
    direction: Literal[1, -1] = 1
    smooth: PositiveFloat = 2.0


class ObjectSettings(Section):
    """Materials whose connected components are listed: the darkest (voids) by default, [] for none."""

    materials: list[str] | None = None
    connectivity: Connectivity = 26
    smallest: PositiveInt = 8


class ThicknessSettings(Section):
    """Materials whose local thickness is measured, up to `largest` voxels."""

    materials: Annotated[list[str], Field(min_length=1)]
    largest: Annotated[float, Field(ge=2, le=64)] = 20.0
    bins: Annotated[int, Field(ge=1, le=1000)] = 20


DEFAULT_NAMES = {2: ["gas", "solid"], 3: ["gas", "metal", "ceramic"], 4: ["gas", "light", "metal", "ceramic"]}
# Okabe and Ito: told apart by people who do not see all colours
LABEL_COLORS = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#f0e442", "#7f7f7f")


class SegmentationBase(Section):
    """What every method shares: names from dark to bright, and what is measured on the labels."""

    names: list[Name] | None = None
    colors: list[Annotated[str, Field(pattern="^#[0-9a-fA-F]{6}$")]] | None = None
    denoise: Denoise = DenoiseGaussian()
    ceramic: str | None = None
    interface: InterfaceSettings = InterfaceSettings()
    objects: ObjectSettings = ObjectSettings()
    thickness: ThicknessSettings | None = None

    @property
    @abstractmethod
    def count(self) -> int:
        """Number of materials."""

    @property
    def materials(self) -> list[str]:
        """Names from dark to bright; label 1 is the first."""
        default = DEFAULT_NAMES.get(self.count, [f"class_{k + 1}" for k in range(self.count)])
        return self.names if self.names is not None else default

    @property
    def palette(self) -> list[str]:
        """A colour for each material, #rrggbb."""
        return self.colors or [LABEL_COLORS[k % len(LABEL_COLORS)] for k in range(self.count)]

    @model_validator(mode="after")
    def _check(self) -> SegmentationBase:
        names = self.materials
        if not 2 <= self.count <= 253:
            raise ValueError(f"{self.count} materials: labels hold 2 to 253")
        if len(names) != self.count:
            raise ValueError(f"{len(names)} names for {self.count} materials: give one each, from dark to bright")
        check_distinct(names, "materials")
        if len(self.palette) != self.count:
            raise ValueError(f"{len(self.palette)} colors for {self.count} materials: give one each")
        wanted = {
            "ceramic": [self.ceramic] if self.ceramic else [],
            "objects.materials": self.objects.materials or [],
            "thickness.materials": self.thickness.materials if self.thickness else [],
        }
        for key, used in wanted.items():
            unknown = [name for name in used if name not in names]
            if unknown:
                raise ValueError(
                    f"{key} names {', '.join(unknown)}, which is no material; there are {', '.join(names)}"
                )
        return self


class SegmentOtsu(SegmentationBase):
    """Thresholds that divide the histogram of all scans into classes (multi-Otsu)."""

    method: Literal["otsu"]
    classes: Annotated[int, Field(ge=2, le=32)] = 3
    bins: Annotated[int, Field(ge=16, le=1024)] = 256
    without_faces: bool = False

    @property
    def count(self) -> int:
        """Number of materials."""
        return self.classes


class SegmentValues(SegmentationBase):
    """Thresholds as given, 1/cm."""

    method: Literal["values"]
    thresholds: Annotated[list[float], Field(min_length=1)]

    @property
    def count(self) -> int:
        """Number of materials."""
        return len(self.thresholds) + 1

    @model_validator(mode="after")
    def _increasing(self) -> SegmentValues:
        if any(b <= a for a, b in itertools.pairwise(self.thresholds)):
            raise ValueError(f"thresholds {self.thresholds}: give increasing values in 1/cm")
        return self


class SegmentHysteresis(SegmentationBase):
    """Objects beyond a weak threshold that reach a strong one somewhere; dark ones where weak exceeds strong."""

    method: Literal["hysteresis"]
    weak: float
    strong: float
    connectivity: Connectivity = 26

    @property
    def count(self) -> int:
        """Number of materials."""
        return 2


class SegmentWatershed(SegmentationBase):
    """Classes by thresholds away from faces, by a watershed over the gradient at them; multi-Otsu unless given.

    `blur` is that of the images, a standard deviation in voxels: small pores and curved faces are corrected for it.
    """

    method: Literal["watershed"] = "watershed"
    classes: Annotated[int, Field(ge=2, le=32)] = 3
    thresholds: list[float] | None = None
    bins: Annotated[int, Field(ge=16, le=1024)] = 256
    edge: PositiveFloat | None = None
    sigma: Annotated[float, Field(gt=0, le=5)] = 1.0
    blur: Annotated[float, Field(ge=0, le=5)] = 0.7
    reach: Annotated[int, Field(ge=1, le=32)] = 8
    connectivity: Connectivity = 6

    @property
    def count(self) -> int:
        """Number of materials."""
        return self.classes if self.thresholds is None else len(self.thresholds) + 1

    @model_validator(mode="after")
    def _increasing(self) -> SegmentWatershed:
        given = self.thresholds
        if given is not None and (not given or any(b <= a for a, b in itertools.pairwise(given))):
            raise ValueError(f"thresholds {given}: give increasing values in 1/cm")
        return self


class SegmentClassifier(SegmentationBase):
    """A random forest trained on painted labels: 1 is the first name, 0 is not painted.

    `labels` is an OME-Zarr image or labels group, (t, z, y, x) like the registered series or (z, y, x), or a TIFF of
    planes (z, y, x); `scan` says on which scan planes are painted, `z` which planes they are where not all are there.
    """

    method: Literal["classifier"]
    labels: str
    names: Annotated[list[Name], Field(min_length=2)]
    denoise: Denoise = NoMethod()
    scan: NonNegativeInt | str | None = None
    z: list[NonNegativeInt] | None = None
    sigmas: Annotated[list[Annotated[float, Field(gt=0, le=8)]], Field(min_length=1)] = [1.0, 2.0, 4.0]
    trees: Annotated[int, Field(ge=1, le=500)] = 50
    depth: Annotated[int, Field(ge=1, le=30)] = 12

    @property
    def count(self) -> int:
        """Number of materials."""
        return len(self.names)


Segmentation = Annotated[
    Annotated[
        SegmentWatershed | SegmentOtsu | SegmentValues | SegmentHysteresis | SegmentClassifier,
        Field(discriminator="method"),
    ],
    default_method("watershed"),
]
