"""What a closure has to know about the metal in the anode."""

from __future__ import annotations

from dataclasses import dataclass

from xct_pipeline.variation.alloy import DensityModel, alloy_density, condensed_density


@dataclass(frozen=True)
class Anode:
    """The metal in a voxel of the anode at the reference scan.

    Attributes
    ----------
    k_species, k_host : float
        Mass attenuation, cm2/g, from the tables or measured.
    w_host : float or None
        Mass fraction of the host (K) in the metal; None where there is only the species.
    density : float or None
        Density of a pure species, g/cm3; an alloy (with `w_host`) takes it from its density model.
    filling : float
        Volume fraction of metal in a voxel of the anode.
    carbon_fraction : float
        Volume fraction of what never changes (carbon felt).
    temperature_C, density_model, density_table, boundaries
        See `alloy.alloy_density` and `alloy.liquid_range`; without `boundaries` all metal counts as liquid.
    """

    k_species: float
    k_host: float = 0.0
    w_host: float | None = None
    density: float | None = None
    filling: float = 1.0
    carbon_fraction: float = 0.0
    temperature_C: float = 25.0
    density_model: DensityModel = "foust"
    density_table: tuple[tuple[float, float], ...] | None = None
    boundaries: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        if not self.k_species > 0:
            raise ValueError(f"the species' mass attenuation must be positive, not {self.k_species:g} cm2/g")
        if self.w_host is not None and not 0 <= self.w_host <= 1:
            raise ValueError(f"the initial mass fraction of K must be from 0 to 1, not {self.w_host:g}")
        if self.w_host is not None and self.density is not None:
            raise ValueError("an alloy's density comes from its model: give a measured one as density_table")
        if not 0 <= self.filling <= self.room + 1e-9:
            raise ValueError(
                f"metal and carbon fill {self.filling + self.carbon_fraction:g} of a voxel; it must be at most 1"
            )

    @property
    def room(self) -> float:
        """Volume fraction that metal can fill."""
        return 1 - self.carbon_fraction

    def metal_density(self, w_host: float) -> float:
        """Density of the metal at a composition, g/cm3, with solids by the lever rule."""
        model = (self.temperature_C, self.density_model, self.density_table)
        if self.boundaries is None:
            return float(alloy_density(w_host, *model))
        return condensed_density(w_host, self.boundaries, *model)

    def metal_attenuation(self, w_host: float) -> float:
        """Linear attenuation of the metal at a composition, 1/cm."""
        return self.metal_density(w_host) * self.mixture(w_host)

    def mixture(self, w_host: float) -> float:
        """Mass attenuation of the metal at a composition, cm2/g."""
        return w_host * self.k_host + (1 - w_host) * self.k_species

    @property
    def initial(self) -> tuple[float, float]:
        """Partial densities (species, host) of a voxel at the reference, g/cm3."""
        w = self.composition
        density = self.density if self.density is not None else self.metal_density(w)
        return self.filling * density * (1 - w), self.filling * density * w

    @property
    def composition(self) -> float:
        """Mass fraction of the host, 0 for a pure metal whose density is given."""
        if self.w_host is None and self.density is None:
            raise ValueError("give the initial composition w_K of the alloy, or the density of the pure metal")
        return self.w_host or 0.0
