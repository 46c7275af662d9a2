"""``[correction]``: from counts to line integrals."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, NonNegativeInt, PositiveFloat, PositiveInt, model_validator

from xct_pipeline.config.section import NoMethod, OddInt, Section


class FlatField(Section):
    """How flats become one flat per projection."""

    method: Literal["linear", "mean", "median"] = "linear"
    """"linear" interpolates between groups of flats in time; "mean" and "median" take all of them."""


class DynamicFlat(Section):
    """A flat for each projection, from the principal components of all flats (Van Nieuwenhove et al. 2015)."""

    method: Literal["dynamic"]
    """Components are weighted in each projection so that the air at both edges is even."""
    components: Literal["auto"] | NonNegativeInt = "auto"
    """Eigen flats: "auto" takes as many as exceed the noise of the flats."""
    bands: bool = True
    """Find bands along the rows that flats do not hold, as a monochromator's are, from air at both edges too."""


class Air(Section):
    """Scale each projection so that air is 1."""

    method: Literal["auto", "margin", "none"] = "auto"
    """"auto" finds columns of air beside the sample; "margin" takes those that are named; "none" leaves drift in."""
    margin: tuple[NonNegativeInt, NonNegativeInt] | None = None
    """Columns of air at the left and at the right edge, with method = "margin"."""

    @model_validator(mode="after")
    def _check(self) -> Air:
        if (self.method == "margin") != (self.margin is not None):
            raise ValueError('give margin = [left, right] (columns of air) with method = "margin", and only then')
        return self


class ZingerMedian(Section):
    """Replace a pixel that exceeds the median of its neighbourhood by more than a share of it."""

    method: Literal["median"]
    """Median of the neighbourhood."""
    threshold: PositiveFloat = 0.2
    """Share of the median by which a pixel must exceed it: at least five times the relative noise of a count."""
    size: Literal[3] = 3
    """Edge of the neighbourhood, pixels."""
    plane: Literal["projection", "sinogram"] = "projection"
    """"projection" compares within one image; "sinogram" along the angle."""


class ScatterHalo(Section):
    """Take a smooth halo of scattered light off, before the logarithm."""

    method: Literal["halo"]
    """Gaussian halo."""
    share: Annotated[float, Field(gt=0, lt=1)]
    """Of the light, that comes again as the halo."""
    width: PositiveFloat
    """Standard deviation of the halo, pixels of the detector."""


class RadialDistortion(Section):
    """Polynomial radial distortion of the lens (Vo et al. 2015)."""

    method: Literal["radial"]
    """Polynomial in the radius."""
    center: tuple[float, float]
    """Centre of the distortion, [row, column] in pixels."""
    coefficients: list[float]
    """k0, k1, ...: a point at radius r is found at r (k0 + k1 r + k2 r^2 ...)."""


class Paganin(Section):
    """Single-material phase retrieval (Paganin et al. 2002)."""

    method: Literal["paganin"]
    """Paganin et al. 2002."""
    delta_beta: PositiveFloat
    """Ratio delta / beta of the refractive index of the material."""
    distance_mm: PositiveFloat | None = None
    """From sample to detector, mm; that of [acquisition] or of the file by default."""


class BeamHardeningPolynomial(Section):
    """Linearise the line integral p to c0 p + c1 p^2 + ..."""

    method: Literal["polynomial"]
    """Polynomial without a constant term."""
    coefficients: Annotated[list[float], Field(min_length=1)]
    """c0, c1, ... of c0 p + c1 p^2 + ..."""


class StripeDefects(Section):
    """Correct only what belongs to the detector; the walls of a concentric cell stay."""

    method: Literal["defects"]
    """Isolated defective columns only."""
    snr: PositiveFloat = 5.0
    """How far above its noise a defect must stand."""
    max_width: PositiveInt = 3
    """Widest defect, columns."""


class StripeSorting(Section):
    """Vo 2018, algorithm 3: sorting."""

    method: Literal["sorting"]
    """Sorting."""
    size: OddInt | None = None
    """Window of the median across columns, odd; from the data by default."""


class StripeFiltering(Section):
    """Vo 2018, algorithm 2: filtering after sorting of the low-pass part."""

    method: Literal["filtering"]
    """Filtering after sorting."""
    sigma: PositiveFloat = 3.0
    """Low-pass along the angle, cycles per scan."""
    size: OddInt | None = None
    """Window of the median across columns, odd; from the data by default."""


class StripeFitting(Section):
    """Vo 2018, algorithm 1: polynomial fitting along the angle."""

    method: Literal["fitting"]
    """Polynomial fitting."""
    order: PositiveInt = 2
    """Of the polynomial along the angle."""
    sigma: PositiveFloat | None = None
    """Smoothing across columns, pixels; a sixtieth of the width by default."""


class StripeLarge(Section):
    """Vo 2018, algorithm 5: large stripes."""

    method: Literal["large"]
    """Large stripes."""
    snr: PositiveFloat = 3.0
    """How far above its noise a stripe must stand."""
    size: OddInt | None = None
    """Window of the median across columns, odd; from the data by default."""
    drop_ratio: Annotated[float, Field(gt=0, lt=0.5)] = 0.1
    """Share of the sorted values left out at both ends."""


class StripeDead(Section):
    """Vo 2018, algorithm 6: unresponsive and fluctuating columns."""

    method: Literal["dead"]
    """Unresponsive and fluctuating columns."""
    snr: PositiveFloat = 3.0
    """How far above its noise a column must stand."""
    size: OddInt | None = None
    """Window of the median across columns, odd; from the data by default."""


class StripeAll(Section):
    """Vo 2018: dead, large and sorting; windows follow from width and noise where not given."""

    method: Literal["all"]
    """Dead, large and sorting, one after the other."""
    snr: PositiveFloat = 3.0
    """How far above its noise a stripe must stand."""
    large_size: OddInt | None = None
    """Window for large stripes, odd; from the data by default."""
    small_size: OddInt | None = None
    """Window for narrow stripes, odd; from the data by default."""
    drop_ratio: Annotated[float, Field(gt=0, lt=0.5)] = 0.1
    """Share of the sorted values left out at both ends."""


class StripeFourierWavelet(Section):
    """Combined Fourier and wavelet filter (Munch et al. 2009)."""

    method: Literal["fourier_wavelet"]
    """Damping of vertical details of the wavelet transform."""
    level: PositiveInt = 3
    """Levels of the decomposition: stripes up to 2^level columns wide."""
    sigma: PositiveFloat = 2.0
    """Width of the damping along the angle, cycles per scan."""
    wavelet: str = "db5"
    """Name in PyWavelets."""


class StripeTitarenko(Section):
    """Titarenko et al. 2010: the smoothest angular mean."""

    method: Literal["titarenko"]
    """The smoothest angular mean."""
    order: Literal[1, 2, "product"] = 1
    """Order of the smoothness; "product" multiplies the results of orders 1 and 2."""
    regularization: PositiveFloat | None = None
    """From the data by default."""
    blocks: PositiveInt = 1
    """Blocks of angles that are treated on their own."""
    alpha: PositiveFloat = 1.5
    """Factor on the automatic regularisation."""


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
Flat = Annotated[FlatField | DynamicFlat, Field(discriminator="method")]
Zinger = Annotated[NoMethod | ZingerMedian, Field(discriminator="method")]
Scatter = Annotated[NoMethod | ScatterHalo, Field(discriminator="method")]
Distortion = Annotated[NoMethod | RadialDistortion, Field(discriminator="method")]
Phase = Annotated[NoMethod | Paganin, Field(discriminator="method")]
BeamHardening = Annotated[NoMethod | BeamHardeningPolynomial, Field(discriminator="method")]


class Correction(Section):
    """From counts to line integrals, in this order."""

    zinger: Zinger = NoMethod()
    """Outliers of single pixels."""
    scatter: Scatter = NoMethod()
    """Scattered light."""
    distortion: Distortion = NoMethod()
    """Distortion of the lens."""
    flatfield: Flat = FlatField()
    """The beam and the gain of the detector."""
    air: Air = Air()
    """The scale of each projection."""
    phase: Phase = NoMethod()
    """Phase contrast of coherent beams."""
    beam_hardening: BeamHardening = NoMethod()
    """Line integrals of a beam with a spectrum."""
    stripe: Stripe = NoMethod()
    """Rings of the slices."""
    motion: Literal["moments", "none"] = "none"
    """Slow motion of the sample within a scan: "moments" takes it from mass and centre of mass of the projections."""
