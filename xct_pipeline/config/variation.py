"""``[variation]``: from changes of attenuation to mass."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, PositiveFloat, PositiveInt

from xct_pipeline.config.section import RegionOfInterest, Section


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
