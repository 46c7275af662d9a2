"""``[variation]``: from changes of attenuation to mass."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, PositiveFloat, PositiveInt, model_validator

from xct_pipeline.config.section import Energy, RegionOfMass, Section
from xct_pipeline.names import Name, check_distinct


class AnodeSettings(Section):
    """The metal in a voxel of the anode at the reference scan; see the closures for what each needs."""

    host: str = "K"
    """Element that stays when the species leaves."""
    w_host: Annotated[float, Field(ge=0, le=1)] | None = None
    """Mass fraction of the host in the pristine metal."""
    density: PositiveFloat | None = None
    """Of a pure species, g/cm3; from tables by default."""
    filling: Annotated[float, Field(ge=0, le=1)] = 1.0
    """Share of a voxel that is filled with metal."""
    carbon_fraction: Annotated[float, Field(ge=0, le=1)] = 0.0
    """Share of a voxel that is carbon."""
    temperature_C: float = 25.0
    """Of the cell, degrees Celsius."""
    density_model: Literal["foust", "additive", "table"] = "foust"
    """Of the alloy: Foust, additive volumes, or a table."""
    density_table: list[tuple[float, float]] | None = None
    """Rows [mass fraction of the host, density in g/cm3], for density_model = "table"."""
    boundaries: tuple[float, float] | None = None
    """Liquidus at both ends, mass fractions of the host."""
    loading_mg: PositiveFloat | None = None
    """Mass of the pristine alloy, mg."""


ClosureName = Literal["na_only", "const_k", "filled", "same_composition", "well_mixed", "dual_energy"]


class Variation(Section):
    """Changes of attenuation as changes of mass. Without a closure no mass is written."""

    species: str = "Na"
    """What is followed, a formula."""
    closure: ClosureName | None = None
    """What turns attenuation into mass; without one no mass is written."""
    estimator: Literal["volume", "projections"] = "volume"
    """What the total of a scan is taken from: the sum over the region's voxels, or least squares on its projections."""
    region: RegionOfMass | None = None
    """The anode, whose change is summed."""
    null: list[str] = []
    """Scans in which nothing changed (their scatter tests the errors); the reference may be among them."""
    regions: dict[Name, RegionOfMass] = {}
    """More regions by name, for region_totals.csv."""
    energy_keV: Energy | None = None
    """Photon energy, keV; that of the scans by default."""
    measured: dict[str, PositiveFloat] = {}
    """Mass attenuation determined in the cell, cm2/g, by formula."""
    anode: AnodeSettings = AnodeSettings()
    """The metal in a voxel of the anode at the reference scan."""
    second_store: str | None = None
    """Store of the scans at a second energy, for dual_energy."""
    second_energy_keV: Energy | None = None
    """Its photon energy, keV."""
    alternatives: list[ClosureName] = []
    """Other defensible closures: half their range enters the error."""
    bins: tuple[PositiveInt, PositiveInt, PositiveInt] | None = None
    """Voxels per bin (z, y, x), for bins.csv."""
    keep: list[Literal["attenuation", "density", "attenuation_consecutive", "density_consecutive"]] = []
    """Images of changes to store voxel by voxel; without it they are computed from the registered series when read."""
    surface_attenuation: float | None = None
    """Attenuation at the surface of the ceramic, 1/cm, from which depth is counted."""
    anode_above: bool = True
    """The anode lies at larger z than the ceramic."""
    noise_region: RegionOfMass | None = None
    """Where nothing changes, for the noise; found by itself by default."""
    shell_width: Annotated[int, Field(ge=1, le=5)] = 2
    """Voxels this close to a strong face are flagged."""
    table_error: Annotated[float, Field(ge=0, lt=1)] = 0.02
    """Relative standard error of tabulated mass attenuation."""
    energy_error_keV: Annotated[float, Field(ge=0)] = 0.1
    """Standard error of the energy, keV."""
    pixel_error: Annotated[float, Field(ge=0, lt=0.5)] = 0.005
    """Relative standard error of the pixel size in the sample plane: the mass goes with its square."""
    registration_error_voxel: Annotated[float, Field(ge=0)] = 0.01
    """Least standard error of a motion, voxels."""

    @model_validator(mode="after")
    def _check(self) -> Variation:
        check_distinct(self.regions, "regions")
        return self
