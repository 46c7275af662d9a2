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
    """Gaussian."""
    sigma: Annotated[float, Field(gt=0, le=10)] = 1.0
    """Standard deviation, voxels."""


class DenoiseMedian(Section):
    """Median over a cube of 2 radius + 1 voxels."""

    method: Literal["median"]
    """Median over a cube."""
    radius: Annotated[int, Field(ge=1, le=5)] = 1
    """Voxels on each side of the middle."""


class DenoiseTotalVariation(Section):
    """Total variation (Chambolle 2004); weight in 1/cm, about the noise."""

    method: Literal["tv"]
    """Total variation."""
    weight: PositiveFloat = 0.1
    """1/cm, about the noise of a voxel."""
    iterations: Annotated[int, Field(ge=1, le=100)] = 30
    """Number of iterations."""


Denoise = Annotated[
    Annotated[NoMethod | DenoiseGaussian | DenoiseMedian | DenoiseTotalVariation, Field(discriminator="method")],
    default_method("gaussian"),
]
Connectivity = Literal[6, 18, 26]


class InterfaceSettings(Section):
    """Where materials that touch the ceramic are looked up: voxels along its normal, towards the anode; [] for none."""

    offsets: list[PositiveFloat] = [1.0, 2.0, 3.0]
    """Distances from the ceramic at which materials are looked up, voxels; [] for none."""
    direction: Literal[1, -1] = 1
    """1 where the anode lies at larger z than the ceramic, -1 where at smaller."""
    smooth: PositiveFloat = 2.0
    """Gaussian on the height of the surface, voxels."""
    partners: list[str] = []
    """Materials (carbon cloth, ceramic, housing) whose whole surface is shared out among what touches it."""

    @model_validator(mode="after")
    def _look(self) -> InterfaceSettings:
        check_distinct(self.partners, "partners")
        if self.partners and not self.offsets:
            raise ValueError("interface.partners needs interface.offsets: at which distances is to be looked")
        return self


class ObjectSettings(Section):
    """Materials whose connected components are listed: the darkest (voids) by default, [] for none."""

    materials: list[str] | None = None
    """Whose objects are listed; the darkest by default, [] for none."""
    connectivity: Connectivity = 26
    """Neighbours that belong together: 6 by faces, 18 by edges too, 26 by corners too."""
    smallest: PositiveInt = 8
    """Objects of fewer voxels are left out."""


class ThicknessSettings(Section):
    """Materials whose local thickness is measured, up to `largest` voxels."""

    materials: Annotated[list[str], Field(min_length=1)]
    """Whose thickness is measured."""
    largest: Annotated[float, Field(ge=2, le=64)] = 20.0
    """Largest thickness, voxels."""
    bins: Annotated[int, Field(ge=1, le=1000)] = 20
    """Of the histogram."""


DEFAULT_NAMES = {2: ["gas", "solid"], 3: ["gas", "metal", "ceramic"], 4: ["gas", "light", "metal", "ceramic"]}
# Okabe and Ito: told apart by people who do not see all colours
LABEL_COLORS = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#f0e442", "#7f7f7f")


class SegmentationBase(Section):
    """What every method shares: names from dark to bright, and what is measured on the labels."""

    names: list[Name] | None = None
    """Of the materials, from dark to bright."""
    colors: list[Annotated[str, Field(pattern="^#[0-9a-fA-F]{6}$")]] | None = None
    """Of the materials, "#rrggbb"."""
    denoise: Denoise = DenoiseGaussian()
    """What is done to the volumes before they are labelled."""
    ceramic: str | None = None
    """The material whose surface is the interface; the brightest by default."""
    interface: InterfaceSettings = InterfaceSettings()
    """Contact of the other materials with the ceramic."""
    objects: ObjectSettings = ObjectSettings()
    """Connected objects."""
    thickness: ThicknessSettings | None = None
    """Local thickness of materials."""

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
            "interface.partners": self.interface.partners,
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
    """Thresholds from the histogram."""
    classes: Annotated[int, Field(ge=2, le=32)] = 3
    """Number of materials."""
    bins: Annotated[int, Field(ge=16, le=1024)] = 256
    """Of the histogram."""
    without_faces: bool = False
    """Leave voxels at faces out of the histogram."""

    @property
    def count(self) -> int:
        """Number of materials."""
        return self.classes


class SegmentValues(SegmentationBase):
    """Thresholds as given, 1/cm."""

    method: Literal["values"]
    """Thresholds as given."""
    thresholds: Annotated[list[float], Field(min_length=1)]
    """Increasing, 1/cm."""

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
    """Two thresholds."""
    weak: float
    """Every voxel of an object is beyond it, 1/cm."""
    strong: float
    """Some voxel of each object is beyond it, 1/cm."""
    connectivity: Connectivity = 26
    """Neighbours that belong together: 6, 18 or 26."""

    @property
    def count(self) -> int:
        """Number of materials."""
        return 2


class SegmentWatershed(SegmentationBase):
    """Classes by thresholds away from faces, by a watershed over the gradient at them; multi-Otsu unless given.

    `blur` is that of the images, a standard deviation in voxels: small pores and curved faces are corrected for it.
    """

    method: Literal["watershed"] = "watershed"
    """Thresholds, and a watershed at faces."""
    classes: Annotated[int, Field(ge=2, le=32)] = 3
    """Number of materials."""
    thresholds: list[float] | None = None
    """Increasing, 1/cm; multi-Otsu by default."""
    bins: Annotated[int, Field(ge=16, le=1024)] = 256
    """Of the histogram."""
    edge: PositiveFloat | None = None
    """Gradient from which a voxel is at a face, 1/cm per voxel; from the data by default."""
    sigma: Annotated[float, Field(gt=0, le=5)] = 1.0
    """Scale of the gradient, voxels."""
    blur: Annotated[float, Field(ge=0, le=5)] = 0.7
    """Standard deviation of the blur of the images, voxels."""
    reach: Annotated[int, Field(ge=1, le=32)] = 8
    """How far a label may be flooded, voxels."""
    connectivity: Connectivity = 6
    """Neighbours of a voxel: 6, 18 or 26."""

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
    """Random forest."""
    labels: str
    """File of painted examples."""
    names: Annotated[list[Name], Field(min_length=2)]
    """Of the materials; 1 in the painted image is the first."""
    denoise: Denoise = NoMethod()
    """What is done to the volumes before features are taken."""
    scan: NonNegativeInt | str | None = None
    """Name or position of the scan on which planes are painted."""
    z: list[NonNegativeInt] | None = None
    """Which planes are painted, where not all are in the file."""
    sigmas: Annotated[list[Annotated[float, Field(gt=0, le=8)]], Field(min_length=1)] = [1.0, 2.0, 4.0]
    """Scales of the features, voxels."""
    trees: Annotated[int, Field(ge=1, le=500)] = 50
    """Of the forest."""
    depth: Annotated[int, Field(ge=1, le=30)] = 12
    """Of each tree."""

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
