import sqlite3

import numpy as np
import pytest
import xraydb
from hypothesis import given
from hypothesis import strategies as st

from xct_pipeline.variation import attenuation, element_tables

# cm2/g at 30, 50 and 80 keV; xraylib gives the same to 4 digits.
TABLE = {
    "Na": (0.7199, 0.2804, 0.1796),
    "K": (3.4123, 0.8678, 0.3252),
    "C": (0.2562, 0.1871, 0.1610),
    "Zr": (24.857, 6.1745, 1.7212),
    "Si": (1.4365, 0.4385, 0.2228),
    "P": (1.7002, 0.4918, 0.2324),
    "O": (0.3779, 0.2133, 0.1679),
    "Sn": (41.225, 10.701, 3.0294),
    "Na3Zr2Si2PO12": (9.0295, 2.3121, 0.7132),
}


@pytest.mark.parametrize("formula", TABLE)
def test_table(formula):
    values = [attenuation.mass_attenuation(formula, e) for e in (30, 50, 80)]
    np.testing.assert_allclose(values, TABLE[formula], rtol=0.01)
    np.testing.assert_allclose(values, TABLE[formula], rtol=3e-4)


def test_ceramic():
    assert attenuation.molar_mass("Na3Zr2Si2PO12") == pytest.approx(530.55, abs=0.02)
    mu = [attenuation.linear_attenuation("Na3Zr2Si2PO12", e, 3.27) for e in (30, 50, 80)]
    np.testing.assert_allclose(mu, [29.53, 7.560, 2.332], rtol=1e-3)


def test_mixture_is_the_mass_weighted_mean():
    parts = {"Na": 0.5, "K": 0.5}
    assert attenuation.mass_attenuation(parts, 50) == pytest.approx(0.5741, abs=1e-4)
    assert sum(attenuation.mass_fractions({"NaCl": 0.3, "Zr(SO4)2": 0.7}).values()) == pytest.approx(1)


@pytest.mark.parametrize(("element", "percent"), [("Na", (7.8, 2.7, 0.8)), ("K", (9.4, 4.9, 2.1))])
def test_energy_sensitivity(element, percent):
    slopes = [-attenuation.energy_sensitivity(element, e) for e in (30, 50, 80)]
    np.testing.assert_allclose(slopes, percent, atol=0.05)


@pytest.mark.parametrize("formula", ["", "Xx2", "na", "Na3Zr2(", "NaK-5"])
def test_formula_that_does_not_parse_is_named(formula):
    with pytest.raises(ValueError, match=r"formula .* does not parse"):
        attenuation.mass_attenuation(formula, 50)


@pytest.mark.parametrize("energy", [0.05, 900, float("nan")])
def test_energy_outside_the_tables_is_named(energy):
    with pytest.raises(ValueError, match="outside the attenuation tables"):
        attenuation.mass_attenuation("Na", energy)


def test_fractions_must_add_to_one():
    with pytest.raises(ValueError, match="add to 1"):
        attenuation.mass_attenuation({"Na": 0.5, "K": 0.6}, 50)


def test_effective_coefficient_inverts_the_mixture():
    na, k = (attenuation.mass_attenuation(f, 50) for f in ("Na", "K"))
    mu = attenuation.linear_attenuation({"Na": 0.5, "K": 0.5}, 50, 0.8984)
    assert attenuation.effective_mass_attenuation(mu, 0.8984, rest=na, fraction=0.5) == pytest.approx(k)
    assert attenuation.effective_mass_attenuation(0.968 * na, 0.968) == pytest.approx(na)
    with pytest.raises(ValueError, match="positive density"):
        attenuation.effective_mass_attenuation(1.0, 0.0)


def test_measured_coefficients_come_first():
    found = attenuation.coefficients(("Na", "K"), 50, {"Na": 0.3})
    assert found["Na"] == 0.3
    assert found["K"] == pytest.approx(0.8678, abs=1e-4)
    assert attenuation.coefficients(("Na",), None, {"Na": 0.3}) == {"Na": 0.3}
    with pytest.raises(ValueError, match="no energy"):
        attenuation.coefficients(("Na", "K"), None, {"Na": 0.3})


@pytest.mark.parametrize("number", [*range(1, 99, 4), 19, 40, 96])  # the table of Cm does not rise throughout
def test_tables_are_read_to_the_bits_of_xraydb(number):
    symbol = xraydb.atomic_symbol(number)
    assert element_tables.atomic_mass(symbol) == xraydb.atomic_mass(symbol)
    points = np.exp(element_tables._curves(symbol)[0][0])  # at those, the interval on either side is taken as one
    energies = [*np.random.default_rng(number).uniform(100, 8e5, 30), *points[(points >= 100) & (points <= 8e5)]]
    for energy in map(float, [100, 50_000, 800_000, *energies]):
        assert element_tables.mass_attenuation(symbol, energy) == xraydb.mu_elam(symbol, energy)


def test_tables_laid_out_otherwise_are_left_to_xraydb(monkeypatch):
    def missing(*path, **more):
        raise sqlite3.OperationalError("no such table: scattering")

    known = element_tables.atomic_mass("Fe"), element_tables.mass_attenuation("Fe", 3e4)
    monkeypatch.setattr(sqlite3, "connect", missing)
    for kept in (element_tables.atomic_mass, element_tables._curves):
        kept.cache_clear()
    assert (element_tables.atomic_mass("Fe"), element_tables.mass_attenuation("Fe", 3e4)) == known
    element_tables._curves.cache_clear()


COUNTS = st.sampled_from(["", "2", "0.5", ".25", "1e-3", "12"])
FORMULAS = st.recursive(
    st.builds(lambda symbol, count: symbol + count, st.sampled_from(["Na", "K", "O", "D", "H", "Co"]), COUNTS),
    lambda part: st.builds(lambda parts, count: f"({''.join(parts)}){count}", st.lists(part, max_size=3), COUNTS),
)


@given(parts=st.lists(FORMULAS, min_size=1, max_size=4))
def test_formulas_are_parsed_as_xraydb_does(parts):
    formula = "".join(parts)
    found = element_tables.atoms(formula)
    assert found == xraydb.chemparse(formula)
    assert list(found) == list(xraydb.chemparse(formula))


@pytest.mark.parametrize("formula", ["2Na", "Na)", "(Na", "na", "Na-1", "Na2.5.3", "(2)", "Xx2", "Es", "()"])
def test_what_is_no_formula_of_tabulated_elements_is_refused(formula):
    with pytest.raises(ValueError, match="formula"):
        attenuation.parse_formula(formula)


def test_a_formula_may_be_nested_as_deep_as_it_likes():
    assert element_tables.atoms("(" * 5000 + "Na2" + ")" * 5000) == {"Na": 2.0}
