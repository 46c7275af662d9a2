import numpy as np
import pytest

from xct_pipeline.variation import faraday as ec


def test_faraday_mass_of_sodium():
    assert -ec.faraday_mg(3.6) == pytest.approx(0.85778, abs=5e-6)
    assert ec.charge_of(1000) == pytest.approx(1165.80, abs=5e-3)
    assert ec.charge_of(0.9680) == pytest.approx(1.1285, abs=1e-5)
    assert ec.faraday_mg(ec.charge_of(0.9680) * 3.6) == pytest.approx(-0.9680, rel=1e-12)


def test_faraday_mass_of_others():
    assert -ec.faraday_mg(2 * ec.FARADAY, "Mg") == pytest.approx(24305)
    assert -ec.faraday_mg(ec.FARADAY, "K") == pytest.approx(39098.3)
    with pytest.raises(ValueError, match="'Sn' as an ion is not known"):
        ec.faraday_mg(1.0, "Sn")


FARADAY_MG = np.array([0.0, -1.0, -2.0, -3.0, -4.0])


def test_balance_of_exact_masses():
    sigma = np.array([0.0, 0.1, 0.1, 0.2, 0.2])
    found = ec.faraday_balance(0.9 * FARADAY_MG, sigma, FARADAY_MG)
    assert found.slope == pytest.approx(0.9)
    assert found.chi2 == pytest.approx(0, abs=1e-20)
    assert found.degrees == 3
    assert found.sigma == pytest.approx(1 / np.sqrt((FARADAY_MG[1:] ** 2 / sigma[1:] ** 2).sum()))


def test_error_of_the_slope_is_the_scatter_that_is_there():
    rng = np.random.default_rng(0)
    own, shared = 0.2, 0.3
    sigma = np.array([0, *[np.hypot(own, shared)] * 4])
    slopes, covered, chi2 = [], 0, []
    for _ in range(4000):
        noise = rng.normal(0, own, 5) - rng.normal(0, shared)
        noise[0] = 0
        found = ec.faraday_balance(FARADAY_MG + noise, sigma, FARADAY_MG, sigma_reference_mg=shared)
        slopes.append(found.slope)
        chi2.append(found.chi2)
        covered += abs(found.slope - 1) < 2 * found.sigma
    assert np.std(slopes) == pytest.approx(found.sigma, rel=0.04)
    assert covered / 4000 == pytest.approx(0.954, abs=0.012)
    assert np.mean(chi2) == pytest.approx(3, rel=0.05)


def test_scale_is_added_to_the_error():
    sigma = np.array([0, 1e-6, 1e-6, 1e-6, 1e-6])
    assert ec.faraday_balance(FARADAY_MG, sigma, FARADAY_MG, scale=0.03).sigma == pytest.approx(0.03, rel=1e-3)


def pulls(scans: int, relative: np.ndarray | float, *, common: bool) -> tuple[float, float]:
    """Return the width of the slope's pulls over draws of a bend that all scans share, and the mean chi2 per degree."""
    rng = np.random.default_rng(scans)
    faraday = -np.arange(scans + 1.0) / scans
    own, shared = 0.03, 0.02
    sigma = np.array([0, *[np.hypot(own, shared)] * scans])
    size = np.broadcast_to(relative, faraday.shape)
    found = []
    for _ in range(3000):
        noise = rng.normal(0, own, scans + 1) - rng.normal(0, shared)
        noise[0] = 0
        mass = faraday * (1 + rng.normal() * size) + noise
        known = {"scale": size} if common else {}
        error = sigma if common else np.hypot(sigma, size * np.abs(mass))
        balance = ec.faraday_balance(mass, error, faraday, sigma_reference_mg=shared, **known)
        found.append(((balance.slope - 1) / balance.sigma, balance.chi2 / balance.degrees))
    pull, chi2 = np.array(found).T
    return float(np.std(pull)), float(chi2.mean())


@pytest.mark.parametrize("scans", [2, 5, 12, 40])
def test_what_bends_all_scans_alike_is_in_the_slope_once_and_whole(scans):
    width, chi2 = pulls(scans, 0.03, common=True)
    assert 0.9 < width < 1.1
    assert chi2 == pytest.approx(1, rel=0.15)
    # larger in some scans than in others, as it is estimated from each
    uneven = 0.03 * np.resize([0.5, 1.0, 1.5], scans + 1)
    width, _ = pulls(scans, uneven, common=True)
    assert 0.9 < width < 1.1


def test_taken_for_independent_it_would_be_lost_among_many_scans():
    width, chi2 = pulls(40, 0.03, common=False)
    assert width > 1.5
    assert chi2 < 0.9


def test_leakage_of_potassium():
    ratio = ec.apparent_ratio(0.2804, 0.8678)
    assert ratio == pytest.approx(39.0983 * 0.8678 / (22.98977 * 0.2804), rel=1e-6)
    sigma = np.array([0, 0.1, 0.1, 0.1, 0.1])
    mass = FARADAY_MG * (0.98 + 0.02 * ratio)
    fitted = ec.faraday_balance(mass, sigma, FARADAY_MG, leakage="fit", leakage_ratio=ratio)
    assert fitted.leakage == pytest.approx(0.02)
    assert fitted.leakage_sigma == pytest.approx(fitted.sigma / (ratio - 1))
    known = ec.faraday_balance(mass, sigma, FARADAY_MG, leakage=0.02, leakage_ratio=ratio)
    assert known.slope == pytest.approx(1)
    with pytest.raises(ValueError, match="leakage_ratio"):
        ec.faraday_balance(mass, sigma, FARADAY_MG, leakage=0.02)


def test_missing_scans_are_left_out():
    mass = np.array([0, -1, np.nan, -3, -4.0])
    charge = np.array([0, -1, -2, -3, np.nan])
    found = ec.faraday_balance(mass, np.array([0, 0.1, 0.1, 0.1, 0.1]), charge)
    assert (found.slope, found.degrees) == (pytest.approx(1), 1)
    with pytest.raises(ValueError, match="after some charge"):
        ec.faraday_balance(mass, np.zeros(5), charge)
