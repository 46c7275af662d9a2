"""``[variation]`` and ``[electrochemistry]``: from changes of attenuation to mass, and the charge that passed."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, PositiveFloat, PositiveInt, model_validator

from xct_pipeline.config.section import Energy, RegionOfInterest, Section
from xct_pipeline.names import Name, check_distinct


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
    regions: dict[Name, RegionOfInterest] = {}
    energy_keV: Energy | None = None
    measured: dict[str, PositiveFloat] = {}
    anode: AnodeSettings = AnodeSettings()
    second_store: str | None = None
    second_energy_keV: Energy | None = None
    alternatives: list[ClosureName] = []
    bins: tuple[PositiveInt, PositiveInt, PositiveInt] | None = None
    surface_attenuation: float | None = None
    anode_above: bool = True
    noise_region: RegionOfInterest | None = None
    shell_width: Annotated[int, Field(ge=1, le=5)] = 2
    table_error: Annotated[float, Field(ge=0, lt=1)] = 0.02
    energy_error_keV: Annotated[float, Field(ge=0)] = 0.1
    registration_error_voxel: Annotated[float, Field(ge=0)] = 0.01

    @model_validator(mode="after")
    def _check(self) -> Variation:
        check_distinct(self.regions, "regions")
        return self


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
