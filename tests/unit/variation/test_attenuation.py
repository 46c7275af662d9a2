import numpy as np
import pytest

from xct_pipeline.variation import attenuation

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
