"""From the configuration to what turns attenuation into mass: coefficients, closure, composition, errors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from xct_pipeline.acquisition.holes import same_holes, scale_error
from xct_pipeline.config import Config, Registration, Variation
from xct_pipeline.engine.blocks import Array
from xct_pipeline.scan import AnyScan, Scan
from xct_pipeline.variation import alloy, budget
from xct_pipeline.variation.anode import Anode
from xct_pipeline.variation.attenuation import coefficients, energy_sensitivity
from xct_pipeline.variation.closures import CLOSURES, NOTHING, Closure, Coefficients, DensityChange, Given, Slopes
from xct_pipeline.variation.closures.dual_energy import dual_energy_inverse
from xct_pipeline.variation.resampled import interpolation_factor
from xct_pipeline.variation.steps import residues
from xct_pipeline.variation.steps.grey_scale import offset_error, relative_error
from xct_pipeline.variation.steps.series import RegisteredSeries


@dataclass(frozen=True)
class Physics:
    """What turns attenuation into mass.

    Attributes
    ----------
    closure : Closure
    anode : Anode
    energy_keV : float or None
    percent_per_keV : float
        Of the species' coefficient.
    both : ((species, host), (species, host)) or None
        Coefficients (cm2/g) at two energies, for a closure that takes them.
    """

    closure: Closure
    anode: Anode
    energy_keV: float | None
    percent_per_keV: float
    both: Coefficients | None = None

    def slopes(self, w: float | None) -> Slopes:
        """Return the change of density per change of attenuation at each energy, g/cm3 per 1/cm."""
        return self.closure.slopes(self.anode, Given(w, k=self.both))

    def change(self, changes: Sequence[Array], w: float | None) -> DensityChange:
        """Return the change of density of changes of attenuation, one array per energy."""
        second = changes[1] if len(changes) > 1 else None
        return self.closure.change(changes[0], self.anode, Given(w, second, self.both))

    def knows(self, w: float | None) -> bool:
        """Tell whether the composition that the closure needs at a scan is known."""
        return w is not None or not self.closure.charge

    @property
    def flags(self) -> bool:
        """Whether any change of attenuation may be told to be impossible."""
        known = self.anode.w_host is not None or self.anode.density is not None
        return self.closure.flags > 0 and (known or not self.closure.from_initial)

    def density(self, changes: Sequence[Array], w: float | None) -> Array:
        """Return the change of density of the species, g/cm3, of mean changes of attenuation (one per energy).

        NaN where the composition that the closure needs is not known.
        """
        if not self.knows(w):
            return np.full_like(changes[0], np.nan)
        return np.asarray(self.change(changes, w).species)


def refusals(settings: Variation, scans: Sequence[AnyScan | None], pixel_um: float | None) -> list[str]:
    """Return why mass cannot be written."""
    good = [scan for scan in scans if scan is not None]
    reasons = []
    if settings.closure is None:
        reasons.append("no variation.closure is given, and a change of attenuation is not a mass without one")
    if settings.region is None:
        reasons.append("no variation.region says where the anode is")
    if pixel_um is None and any(scan.pixel_size_um is None for scan in good):
        reasons.append("the pixel size is unknown (acquisition.pixel_size_um)")
    if energy_of(settings, scans) is None and settings.species not in settings.measured:
        reasons.append("the photon energy is unknown (acquisition.energy_keV, or variation.measured)")
    return reasons


def energy_of(settings: Variation, scans: Sequence[AnyScan | None]) -> float | None:
    """Return the photon energy, keV: as given, else that of the first scan that tells one."""
    return settings.energy_keV or next((s.energy_keV for s in scans if s is not None and s.energy_keV), None)


def physics_of(settings: Variation, scans: Sequence[AnyScan | None]) -> Physics:
    """Look up attenuation coefficients and describe the anode.

    Raises
    ------
    ValueError
        A formula that does not parse, an energy outside the tables, or a closure that lacks what it needs.
    """
    assert settings.closure is not None
    energy = energy_of(settings, scans)
    a = settings.anode
    closure = CLOSURES[settings.closure]
    two = closure.energies > 1
    materials = (settings.species, a.host) if a.w_host is not None or two else (settings.species,)
    k = coefficients(materials, energy, settings.measured)
    anode = Anode(
        k[settings.species],
        k.get(a.host, 0.0),
        a.w_host,
        a.density,
        a.filling,
        a.carbon_fraction,
        a.temperature_C,
        a.density_model,
        None if a.density_table is None else tuple(a.density_table),
        a.boundaries,
    )
    if closure.charge:
        anode = replace(anode, boundaries=_liquidus(settings))
    alternatives = [CLOSURES[name] for name in settings.alternatives]
    for other in alternatives:
        if other.energies > 1:
            raise ValueError(f"variation.alternatives: {other.name} needs the second energy; make it the closure")
    for other in (closure, *alternatives):
        _check_closure(other, settings, anode)
    if closure.charge and a.loading_mg is None:
        raise ValueError(f"closure {closure.name} needs variation.anode.loading_mg, the mass of alloy in the anode")
    per_keV = (
        energy_sensitivity(settings.species, energy) if energy and settings.species not in settings.measured else 0.0
    )
    both = _both_energies(closure, settings, (k[settings.species], k.get(a.host, 0.0))) if two else None
    return Physics(closure, anode, energy, per_keV, both)


def _check_closure(closure: Closure, settings: Variation, anode: Anode) -> None:
    if closure.composition and anode.w_host is None:
        raise ValueError(
            f"closure {closure.name} needs variation.anode.w_host, the initial mass fraction of {settings.anode.host}"
        )
    if closure.energies == 1:
        closure.slopes(anode, NOTHING)


def _liquidus(settings: Variation) -> tuple[float, float] | None:
    """Return the liquidus compositions; None, where all metal counts as liquid, if nobody knows them."""
    a = settings.anode
    if a.boundaries is None and (settings.species, a.host) != ("Na", "K"):
        return None
    try:
        low, high = alloy.liquid_range(a.temperature_C, a.boundaries)
    except ValueError:
        if a.boundaries is not None:
            raise
        return None
    return (low, high) if (low, high) != (0.0, 1.0) else None


def _both_energies(closure: Closure, settings: Variation, first: tuple[float, float]) -> Coefficients:
    """Return the coefficients (species, host) at both energies for a closure of two energies."""
    if settings.second_store is None or settings.second_energy_keV is None:
        raise ValueError(f"closure {closure.name} needs variation.second_store and second_energy_keV")
    pair = (settings.species, settings.anode.host)
    second = coefficients(pair, settings.second_energy_keV, {})
    both = first, (second[pair[0]], second[pair[1]])
    dual_energy_inverse(both)  # refuses energies that do not tell the components apart
    return both


def errors_of(settings: Variation, physics: Physics, series: RegisteredSeries, pair: tuple[int, int]) -> budget.Errors:
    """Collect the standard errors of what turns a pair of scans into a change of mass."""
    moving, fixed = (series.motions[k] for k in pair)
    left = residues.of_pair(series, pair)
    own = (moving.tre_self, fixed.tre_self, settings.registration_error_voxel, left.shift_voxel)
    shift = float(np.linalg.norm(own))
    reach = min(series.frame[1:]) / 3
    apart, alike = _missing_angles(series, pair)
    return budget.Errors(
        shift_voxel=shift,
        rotation_rad=shift / reach,
        gain=float(np.hypot(np.hypot(moving.gain_sigma, fixed.gain_sigma), apart)),
        offset=float(
            np.linalg.norm([moving.offset_sigma, fixed.offset_sigma, offset_error(series, pair), left.offset])
        ),
        table=settings.table_error,
        energy=abs(physics.percent_per_keV) / 100 * settings.energy_error_keV,
        alternatives=tuple(CLOSURES[name].slopes(physics.anode, NOTHING).species[0] for name in settings.alternatives),
        angles=alike,
        grey=relative_error(series, pair),
        pixel=2 * settings.pixel_error,
    )


def _missing_angles(series: RegisteredSeries, pair: tuple[int, int]) -> tuple[float, float]:
    """Return relative errors from holes between the angles: of the grey values of either scan, and of the change alone.

    What both scans miss is missing from what did not change as well, and drops out of the difference.
    """
    known = [scan for scan in (series.scans[k] for k in pair) if isinstance(scan, Scan)]
    errors = [scale_error(scan.angles) for scan in known]
    if not any(errors):
        return 0.0, 0.0
    if len(known) == 2 and same_holes(known[0].angles, known[1].angles):
        return 0.0, max(errors)
    return float(np.sqrt(np.sum(np.square(errors)))), 0.0


def interpolation_of(config: Config, series: RegisteredSeries, planes: range) -> list[float]:
    """Return how much of a voxel's white noise resampling left in each scan, in the middle of some planes.

    A diagnostic: the noise of sums is measured on the resampled scans. 1 where nothing was resampled.
    """
    order = {"linear": 1, "cubic": 3, "quintic": 5}[(config.registration or Registration()).order]
    middle = np.array([(planes[0] + planes[-1]) / 2, *((n - 1) / 2 for n in series.frame[1:])])
    factors = []
    for k, motion in enumerate(series.motions):
        there = motion.transform[:, :3] @ np.floor(middle) + motion.transform[:, 3]
        still = k == series.reference or np.array_equal(motion.transform, np.eye(3, 4))
        factors.append(1.0 if still else interpolation_factor((there % 1).tolist(), order))
    return factors


def reference_of(config: Config, names: Sequence[str]) -> int:
    """Return the position of the reference scan among scans."""
    from xct_pipeline.registration.steps.stage import reference_index

    return 0 if config.registration is None else reference_index(config.registration, names)
