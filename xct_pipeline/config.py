"""The configuration of a run: frozen models, one per table of the TOML file. `config_file` reads it."""

from __future__ import annotations

import glob
import itertools
import os
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
    PositiveInt,
    model_validator,
)

from xct_pipeline.scan import ScanError


class Section(BaseModel):
    """A table of the file: nothing unknown in it, nothing changed after it was read."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


Span = Annotated[tuple[NonNegativeInt, NonNegativeInt], Field(description="half-open range [first, stop]")]


def _odd(value: int) -> int:
    if value % 2 == 0:
        raise ValueError("an odd number of pixels is needed")
    return value


OddInt = Annotated[int, Field(ge=1), AfterValidator(_odd)]


# ------------------------------------------------------------------------------------------- acquisition


class AngleFile(Section):
    """Angles in degrees from a text file, one a line."""

    file: str
    lines: Span | None = None


class AngleRange(Section):
    """Evenly spaced angles in degrees, both ends included."""

    start: float
    stop: float
    count: Annotated[int, Field(ge=3)]


class TiffScan(Section):
    """A scan stored as TIFF files; patterns are sorted naturally."""

    name: str
    projections: str | list[str]
    flats: str | list[str] | None = None
    flats_after: str | list[str] | None = None
    darks: str | list[str] | None = None
    darks_after: str | list[str] | None = None
    angles: AngleFile | AngleRange
    pixel_size_um: PositiveFloat | None = None
    energy_keV: PositiveFloat | None = None


class Around(Section):
    """Files recorded before and after the projections."""

    before: list[str] = []
    after: list[str] = []


class Acquisition(Section):
    """Which raw scans there are, in time order, and what their files do not say."""

    scans: list[str] = []
    tiff: list[TiffScan] = []
    flats: Literal["none"] | list[str] | Around | None = None
    darks: Literal["none"] | list[str] | Around | None = None
    pixel_size_um: PositiveFloat | None = None
    energy_keV: PositiveFloat | None = None
    distance_mm: PositiveFloat | None = None
    rows: Span | None = None
    columns: Span | None = None
    binning: Annotated[int, Field(ge=1, le=16)] = 1

    @model_validator(mode="after")
    def _check(self) -> Acquisition:
        if not self.scans and not self.tiff:
            raise ValueError('no scans: give scans = ["scan_00.nxs", ...] or [[acquisition.tiff]] tables')
        for name in ("rows", "columns"):
            span = getattr(self, name)
            if span is not None and span[0] >= span[1]:
                raise ValueError(f"{name} = {list(span)} is empty: give [first, stop] with first < stop")
        return self


# -------------------------------------------------------------------------------------------- correction


class FlatField(Section):
    """How flats become one flat per projection."""

    method: Literal["linear", "mean", "median"] = "linear"


class Air(Section):
    """Scale each projection so that air is 1."""

    method: Literal["auto", "margin", "none"] = "auto"
    margin: tuple[NonNegativeInt, NonNegativeInt] | None = None

    @model_validator(mode="after")
    def _check(self) -> Air:
        if (self.method == "margin") != (self.margin is not None):
            raise ValueError('give margin = [left, right] (columns of air) with method = "margin", and only then')
        return self


class NoMethod(Section):
    """Leave the step out."""

    method: Literal["none"] = "none"


class ZingerMedian(Section):
    """Replace a pixel that exceeds the median of its neighbourhood by more than a share of it."""

    method: Literal["median"]
    threshold: PositiveFloat = 0.2
    size: Literal[3] = 3
    plane: Literal["projection", "sinogram"] = "projection"


class RadialDistortion(Section):
    """Polynomial radial distortion of the lens (Vo et al. 2015)."""

    method: Literal["radial"]
    center: tuple[float, float]
    coefficients: list[float]


class Paganin(Section):
    """Single-material phase retrieval (Paganin et al. 2002)."""

    method: Literal["paganin"]
    delta_beta: PositiveFloat
    distance_mm: PositiveFloat | None = None


class BeamHardeningPolynomial(Section):
    """Linearise the line integral p to c0 p + c1 p^2 + ..."""

    method: Literal["polynomial"]
    coefficients: Annotated[list[float], Field(min_length=1)]


class StripeDefects(Section):
    """Correct only what belongs to the detector; the walls of a concentric cell stay."""

    method: Literal["defects"]
    snr: PositiveFloat = 5.0
    max_width: PositiveInt = 3


class StripeSorting(Section):
    """Vo 2018, algorithm 3: sorting."""

    method: Literal["sorting"]
    size: OddInt | None = None


class StripeFiltering(Section):
    """Vo 2018, algorithm 2: filtering after sorting of the low-pass part."""

    method: Literal["filtering"]
    sigma: PositiveFloat = 3.0
    size: OddInt | None = None


class StripeFitting(Section):
    """Vo 2018, algorithm 1: polynomial fitting along the angle."""

    method: Literal["fitting"]
    order: PositiveInt = 2
    sigma: PositiveFloat | None = None


class StripeLarge(Section):
    """Vo 2018, algorithm 5: large stripes."""

    method: Literal["large"]
    snr: PositiveFloat = 3.0
    size: OddInt | None = None
    drop_ratio: Annotated[float, Field(gt=0, lt=0.5)] = 0.1


class StripeDead(Section):
    """Vo 2018, algorithm 6: unresponsive and fluctuating columns."""

    method: Literal["dead"]
    snr: PositiveFloat = 3.0
    size: OddInt | None = None


class StripeAll(Section):
    """Vo 2018: dead, large and sorting; windows follow from width and noise where not given."""

    method: Literal["all"]
    snr: PositiveFloat = 3.0
    large_size: OddInt | None = None
    small_size: OddInt | None = None
    drop_ratio: Annotated[float, Field(gt=0, lt=0.5)] = 0.1


class StripeFourierWavelet(Section):
    """Combined Fourier and wavelet filter (Munch et al. 2009)."""

    method: Literal["fourier_wavelet"]
    level: PositiveInt = 3
    sigma: PositiveFloat = 2.0
    wavelet: str = "db5"


class StripeTitarenko(Section):
    """Titarenko et al. 2010: the smoothest angular mean."""

    method: Literal["titarenko"]
    order: Literal[1, 2, "product"] = 1
    regularization: PositiveFloat | None = None
    blocks: PositiveInt = 1
    alpha: PositiveFloat = 1.5


Stripe = Annotated[
    NoMethod
    | StripeDefects
    | StripeAll
    | StripeSorting
    | StripeFiltering
    | StripeFitting
    | StripeLarge
    | StripeDead
    | StripeFourierWavelet
    | StripeTitarenko,
    Field(discriminator="method"),
]
Zinger = Annotated[NoMethod | ZingerMedian, Field(discriminator="method")]
Distortion = Annotated[NoMethod | RadialDistortion, Field(discriminator="method")]
Phase = Annotated[NoMethod | Paganin, Field(discriminator="method")]
BeamHardening = Annotated[NoMethod | BeamHardeningPolynomial, Field(discriminator="method")]


class Correction(Section):
    """From counts to line integrals, in this order."""

    zinger: Zinger = NoMethod()
    distortion: Distortion = NoMethod()
    flatfield: FlatField = FlatField()
    air: Air = Air()
    phase: Phase = NoMethod()
    beam_hardening: BeamHardening = NoMethod()
    stripe: Stripe = NoMethod()


# ---------------------------------------------------------------------------------------- reconstruction


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


def _default_method(method: str) -> BeforeValidator:
    """Let a table without ``method`` mean the default one."""

    def fill(value: Any) -> Any:
        return {"method": method, **value} if isinstance(value, dict) else value

    return BeforeValidator(fill)


Reconstruction = Annotated[
    Annotated[Fourier | Astra | Tomopy, Field(discriminator="method")], _default_method("fourier")
]


# ------------------------------------------------------------------------------------------ registration


class Cylinder(Section):
    """Voxels of the reference volume: planes z, half-open, and a radius in voxels about ((N-1)/2, (N-1)/2)."""

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

    @model_validator(mode="after")
    def _check(self) -> RegionOfInterest:
        if not self.model_dump(exclude_none=True):
            raise ValueError("name a region: cylinder, box or label")
        return self


class MaskSettings(Section):
    """The parts that do not change, on which scans are matched; several keys select what all of them select."""

    min_attenuation: float | None = None
    max_attenuation: float | None = None
    cylinder: Cylinder | None = None
    box: Box | None = None
    label: str | None = None
    grow: NonNegativeInt = 2

    @model_validator(mode="after")
    def _check(self) -> MaskSettings:
        if not self.model_dump(exclude_none=True, exclude={"grow"}):
            raise ValueError(
                'name what does not change: min_attenuation, max_attenuation, cylinder, box, label, or "auto"'
            )
        return self


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
    calibration: Calibration = Calibration()
    local: LocalDisplacement | None = None


# ------------------------------------------------------------------------------------------ segmentation


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
    _default_method("gaussian"),
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

    names: list[str] | None = None
    colors: list[Annotated[str, Field(pattern="^#[0-9a-fA-F]{6}$")]] | None = None
    denoise: Denoise = DenoiseGaussian()
    ceramic: str | None = None
    interface: InterfaceSettings = InterfaceSettings()
    objects: ObjectSettings = ObjectSettings()
    thickness: ThicknessSettings | None = None

    @property
    def count(self) -> int:
        """Number of materials."""
        raise NotImplementedError

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
        if len(set(names)) < len(names) or "" in names:
            raise ValueError(f"names {', '.join(names)}: each material needs a name of its own")
        if len(self.palette) != self.count:
            raise ValueError(f"{len(self.palette)} colors for {self.count} materials: give one each")
        wanted = {"ceramic": [self.ceramic] if self.ceramic else [], "objects.materials": self.objects.materials or [],
                  "thickness.materials": self.thickness.materials if self.thickness else []}  # fmt: skip
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
    """Classes by thresholds away from faces, by a watershed over the gradient at them; multi-Otsu unless given."""

    method: Literal["watershed"] = "watershed"
    classes: Annotated[int, Field(ge=2, le=32)] = 3
    thresholds: list[float] | None = None
    bins: Annotated[int, Field(ge=16, le=1024)] = 256
    edge: PositiveFloat | None = None
    sigma: Annotated[float, Field(gt=0, le=5)] = 1.0
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
    names: Annotated[list[str], Field(min_length=2)]
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
    _default_method("watershed"),
]


# --------------------------------------------------------------------------------------------- variation


class AnodeSettings(Section):
    """The metal in a voxel of the anode at the reference scan; see the closures for what each needs."""

    host: str = "K"
    w_host: Annotated[float, Field(ge=0, le=1)] | None = None
    density: PositiveFloat | None = None
    filling: Annotated[float, Field(ge=0, le=1)] = 1.0
    carbon_fraction: Annotated[float, Field(ge=0, le=1)] = 0.0
    temperature_C: float = 25.0
    density_model: Literal["foust", "additive", "table"] = "foust"
    density_table: list[tuple[float, float]] | None = None
    boundaries: tuple[float, float] | None = None
    loading_mg: PositiveFloat | None = None


ClosureName = Literal["na_only", "const_k", "filled", "same_composition", "well_mixed", "dual_energy"]


class Variation(Section):
    """Changes of attenuation as changes of mass. Without a closure no mass is written."""

    species: str = "Na"
    closure: ClosureName | None = None
    region: RegionOfInterest | None = None
    regions: dict[str, RegionOfInterest] = {}
    energy_keV: PositiveFloat | None = None
    measured: dict[str, PositiveFloat] = {}
    anode: AnodeSettings = AnodeSettings()
    second_store: str | None = None
    second_energy_keV: PositiveFloat | None = None
    alternatives: list[ClosureName] = []
    bins: tuple[PositiveInt, PositiveInt, PositiveInt] | None = None
    surface_attenuation: float | None = None
    anode_above: bool = True
    noise_region: RegionOfInterest | None = None
    shell_width: Annotated[int, Field(ge=1, le=5)] = 2
    table_error: Annotated[float, Field(ge=0, lt=1)] = 0.02
    energy_error_keV: Annotated[float, Field(ge=0)] = 0.1
    registration_error_voxel: Annotated[float, Field(ge=0)] = 0.01


class Electrochemistry(Section):
    """The cycler's log and how it lies to the scans."""

    log: str
    time: str | None = None
    charge: str | None = None
    current: str | None = None
    voltage: str | None = None
    absolute_time: str | None = None
    units: dict[str, str] = {}
    offset_s: float = 0.0
    charge_sign: Literal[1, -1] = 1
    leakage: Annotated[float, Field(ge=0, le=1)] | Literal["fit"] | None = None


# --------------------------------------------------------------------------------------------- the whole


class Config(Section):
    """A run. `folder` is where the file lies; relative paths start there."""

    output: str
    acquisition: Acquisition
    correction: Correction = Correction()
    reconstruction: Reconstruction = Fourier()
    registration: Registration | None = None
    segmentation: Segmentation | None = None
    variation: Variation | None = None
    electrochemistry: Electrochemistry | None = None
    seed: NonNegativeInt = 0
    folder: Path = Field(default=Path("."), exclude=True)

    @property
    def store_path(self) -> Path:
        """Where the store is."""
        return self.resolve(self.output)

    def resolve(self, path: str) -> Path:
        """Return a path of the file as an absolute one."""
        return Path(os.path.normpath(self.folder.resolve() / Path(path).expanduser()))

    def expand(self, patterns: str | list[str]) -> list[Path]:
        """Return the files of names and globs, each glob's sorted naturally.

        Raises
        ------
        ScanError
            A pattern matches nothing.
        """
        files: list[Path] = []
        for pattern in [patterns] if isinstance(patterns, str) else patterns:
            path = str(self.resolve(pattern))
            if not glob.has_magic(path):
                files.append(Path(path))
                continue
            found = sorted(glob.glob(path, recursive=True), key=natural)
            if not found:
                raise ScanError(f"{path}: no file matches this pattern")
            files += map(Path, found)
        return files


def natural(text: str) -> list[tuple[int, int | str]]:
    """Return a key that sorts frame_2 before frame_10."""
    import re

    return [(0, int(part)) if part.isdigit() else (1, part) for part in re.split(r"(\d+)", text)]
