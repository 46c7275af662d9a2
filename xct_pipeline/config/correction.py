"""``[correction]``: from counts to line integrals."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, NonNegativeInt, PositiveFloat, PositiveInt, model_validator

from xct_pipeline.config.section import NoMethod, OddInt, Section


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
