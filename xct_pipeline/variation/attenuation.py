"""Mass and linear attenuation of elements, compounds and mixtures, from tables or measured in the cell."""

from __future__ import annotations

from collections.abc import Mapping

from xct_pipeline.tabulated import tabulated

ENERGY_RANGE_KEV = (0.1, 800.0)
"""Range of the Elam, Ravel and Sieber tables."""

ATOMIC_WEIGHT = {"Li": 6.94, "Na": 22.98976928, "K": 39.0983, "Mg": 24.305, "Ca": 40.078, "Zn": 65.38}
"""Standard atomic weights (CIAAW 2021) of the usual charge carriers; the tables carry fewer digits."""

Material = str | Mapping[str, float]
"""A formula (``"Na3Zr2Si2PO12"``), or formulas with their mass fractions (``{"Na": 0.5, "K": 0.5}``)."""


def parse_formula(formula: str) -> dict[str, float]:
    """Count the atoms of a chemical formula.

    Parameters
    ----------
    formula : str
        Such as ``"Na3Zr2Si2PO12"``, ``"Na0.5K0.5"`` or ``"Zr(SO4)2"``.

    Returns
    -------
    dict
        Element symbol to number of atoms per formula unit.

    Raises
    ------
    ValueError
        Where the formula does not parse, or holds an element without tabulated attenuation.
    """
    try:
        atoms = tabulated("chemparse", formula)
    except ValueError as error:
        reason = str(error).splitlines()[0].rstrip(":")
        raise ValueError(f"formula {formula!r} does not parse: {reason}") from None
    if not atoms or sum(atoms.values()) <= 0:
        raise ValueError(f"formula {formula!r} does not parse: it names no element")
    for symbol in atoms:
        try:
            tabulated("mu_elam", symbol, 50_000.0)
        except (ValueError, IndexError, KeyError):
            raise ValueError(f"formula {formula!r}: no attenuation is tabulated for {symbol!r}") from None
    return {symbol: float(count) for symbol, count in atoms.items() if count > 0}


def _atomic_weight(symbol: str) -> float:
    return ATOMIC_WEIGHT.get(symbol) or float(tabulated("atomic_mass", symbol))


def molar_mass(formula: str) -> float:
    """Mass of one mole of a formula unit, g/mol (standard atomic weights, CIAAW; Elam tables)."""
    return sum(count * _atomic_weight(symbol) for symbol, count in parse_formula(formula).items())


def mass_fractions(material: Material) -> dict[str, float]:
    """Mass fraction of each element in a compound or in a mixture of compounds.

    Parameters
    ----------
    material : str or mapping
        A formula, or formulas with their mass fractions, which must add to 1 within 1e-6.

    Returns
    -------
    dict
        Element symbol to mass fraction; the values add to 1.
    """
    if isinstance(material, str):
        masses = {s: n * _atomic_weight(s) for s, n in parse_formula(material).items()}
        total = sum(masses.values())
        return {symbol: mass / total for symbol, mass in masses.items()}
    total = sum(material.values())
    if not material or abs(total - 1) > 1e-6 or min(material.values()) < 0:
        raise ValueError(
            f"mass fractions of a mixture must be positive and add to 1; {dict(material)} adds to {total:g}"
        )
    result: dict[str, float] = {}
    for formula, share in material.items():
        for symbol, fraction in mass_fractions(formula).items():
            result[symbol] = result.get(symbol, 0.0) + share * fraction
    return result


def mass_attenuation(material: Material, energy_keV: float) -> float:
    """Total mass attenuation coefficient mu/rho of a material.

    The mass-weighted mean of its elements' coefficients: photoabsorption, coherent and incoherent
    scattering, the parts that leave a parallel beam. The tables carry 1 to 3 % systematic error.

    Parameters
    ----------
    material : str or mapping
        A formula, or formulas with their mass fractions.
    energy_keV : float
        Photon energy, keV.

    Returns
    -------
    float
        cm2/g.

    Raises
    ------
    ValueError
        For an energy outside the tables or a formula that does not parse.

    References
    ----------
    W. T. Elam, B. D. Ravel, J. R. Sieber, Radiat. Phys. Chem. 63 (2002) 121, through xraydb.
    """
    low, high = ENERGY_RANGE_KEV
    if not low <= energy_keV <= high:
        raise ValueError(f"energy {energy_keV:g} keV is outside the attenuation tables ({low:g} to {high:g} keV)")
    fractions = mass_fractions(material)
    return sum(share * float(tabulated("mu_elam", s, energy_keV * 1e3)) for s, share in fractions.items())


def linear_attenuation(material: Material, energy_keV: float, density: float) -> float:
    """Linear attenuation mu of a material of known `density` (g/cm3), 1/cm."""
    if not density > 0:
        raise ValueError(f"the density of {material!r} must be positive, not {density:g} g/cm3")
    return density * mass_attenuation(material, energy_keV)


def energy_sensitivity(material: Material, energy_keV: float, step_keV: float = 0.05) -> float:
    """Relative change of mu/rho with energy, % per keV (negative between absorption edges).

    A central difference over ``2 * step_keV``; the step must not straddle an absorption edge.
    """
    low = mass_attenuation(material, energy_keV - step_keV)
    high = mass_attenuation(material, energy_keV + step_keV)
    return 100 * (high - low) / (2 * step_keV) / mass_attenuation(material, energy_keV)


def effective_mass_attenuation(attenuation: float, density: float, rest: float = 0.0, fraction: float = 1.0) -> float:
    """Coefficient of one component from an attenuation measured in the cell.

    A filtered white beam has no single energy, so the coefficient is taken from a region of known
    material in the scan itself: ``mu = density * (fraction * k + (1 - fraction) * rest)`` solved for k.

    Parameters
    ----------
    attenuation : float
        Measured linear attenuation of the region, 1/cm.
    density : float
        Density of the material there, g/cm3.
    rest : float
        Mass attenuation of the other component of a mixture, cm2/g.
    fraction : float
        Mass fraction of the wanted component; 1 for a pure material.

    Returns
    -------
    float
        cm2/g, to be used in place of the table's value.
    """
    if not density > 0 or not 0 < fraction <= 1:
        raise ValueError(
            f"an effective coefficient needs a positive density and a mass fraction in (0, 1], "
            f"not {density:g} g/cm3 and {fraction:g}"
        )
    return (attenuation / density - (1 - fraction) * rest) / fraction


def coefficients(
    materials: tuple[str, ...], energy_keV: float | None, measured: Mapping[str, float] | None = None
) -> dict[str, float]:
    """Mass attenuation of several materials, measured values first and the tables for the rest.

    Parameters
    ----------
    materials : tuple of str
        Formulas.
    energy_keV : float or None
        Needed for every material that is not in `measured`.
    measured : mapping, optional
        Formula to an effective coefficient, cm2/g (see `effective_mass_attenuation`).

    Returns
    -------
    dict
        Formula to cm2/g.
    """
    result = {}
    for name in materials:
        if measured and name in measured:
            if not measured[name] > 0:
                raise ValueError(f"the measured attenuation of {name} must be positive, not {measured[name]:g}")
            result[name] = float(measured[name])
        elif energy_keV is None:
            raise ValueError(
                f"no energy is known, so the attenuation of {name} cannot be looked up: "
                f"give the energy, or a coefficient measured in the cell"
            )
        else:
            result[name] = mass_attenuation(name, energy_keV)
    return result
