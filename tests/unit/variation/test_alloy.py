import numpy as np
import pytest

from xct_pipeline.variation import alloy, faraday


@pytest.mark.parametrize(("temperature", "expected"), [(25, (0.8984, 0.8826, 0.8645)), (100, (0.8817, 0.8659, 0.8478))])
def test_density_after_foust(temperature, expected):
    np.testing.assert_allclose(alloy.alloy_density([0.5, 0.65, 0.8], temperature), expected, atol=6e-5)


def test_published_eutectic_density():
    assert alloy.alloy_density(0.778, 20) == pytest.approx(0.866, rel=0.003)


def test_additive_model_is_about_one_percent_low():
    w = np.array([0.5, 0.65, 0.8])
    ratio = alloy.alloy_density(w, model="additive") / alloy.alloy_density(w)
    assert np.all((ratio > 0.98) & (ratio < 0.995))
    pure = alloy.alloy_density([0.0, 1.0], model="additive")
    np.testing.assert_allclose(pure, alloy.alloy_density([0.0, 1.0]))


def test_table_of_the_user():
    table = [(0.4, 0.91), (0.8, 0.87)]
    assert alloy.alloy_density(0.6, model="table", table=table) == pytest.approx(0.89)
    with pytest.raises(ValueError, match=r"outside 0\.4 to 0\.8"):
        alloy.alloy_density(0.9, model="table", table=table)
    with pytest.raises(ValueError, match="increasing"):
        alloy.alloy_density(0.5, model="table", table=table[::-1])
    with pytest.raises(ValueError, match="two or more"):
        alloy.alloy_density(0.5, model="table")


def test_density_outside_its_domain():
    with pytest.raises(ValueError, match="outside 0 to 1"):
        alloy.alloy_density(1.2)
    with pytest.raises(ValueError, match="not liquid"):
        alloy.alloy_density(0.5, -40)


def test_liquid_range_is_never_invented():
    assert alloy.liquid_range(25) == (0.418, 0.908)
    assert alloy.liquid_range(100) == (0.0, 1.0)
    assert alloy.liquid_range(60, (0.2, 0.98)) == (0.2, 0.98)
    with pytest.raises(ValueError, match="not known"):
        alloy.liquid_range(60)
    with pytest.raises(ValueError, match="low < high"):
        alloy.liquid_range(60, (0.9, 0.2))


@pytest.mark.parametrize("w", [0.0, 0.2, 0.418, 0.6, 0.908, 0.95, 1.0])
def test_lever_rule_conserves_potassium(w):
    low, high = alloy.LIQUID_RANGE_25C
    sodium, liquid, potassium = alloy.phase_split(w, (low, high))
    assert sodium + liquid + potassium == pytest.approx(1)
    assert liquid * min(max(w, low), high) + potassium == pytest.approx(w)


def test_condensed_density_is_continuous_and_ends_at_the_solids():
    bounds = alloy.LIQUID_RANGE_25C
    assert alloy.condensed_density(1.0, bounds) == pytest.approx(0.862)
    assert alloy.condensed_density(0.0, bounds) == pytest.approx(0.968)
    for w in bounds:
        near = [alloy.condensed_density(w + d, bounds) for d in (-1e-6, 1e-6)]
        assert near[0] == pytest.approx(near[1], abs=1e-5)


def test_more_sodium_than_there_is():
    with pytest.raises(ValueError, match=r"takes 0\.6 mg"):
        alloy.composition_after(0.5, 1.0, 0.6)


@pytest.mark.parametrize(("w", "mg", "mAh"), [(0.5, 0.4493, 0.5238), (0.65, 0.2841, 0.3313), (0.8, 0.1189, 0.1387)])
def test_removable_sodium(w, mg, mAh):
    removable = alloy.removable_sodium(w)
    assert removable == pytest.approx(mg, abs=6e-5)
    assert faraday.charge_of(removable) == pytest.approx(mAh, abs=6e-5)
    assert alloy.composition_after(w, 1.0, removable) == pytest.approx(0.908)


def test_self_diffusion():
    assert alloy.sodium_self_diffusion(0.5) == pytest.approx(4.909e-5)
    with pytest.raises(ValueError, match="10 to 90"):
        alloy.sodium_self_diffusion(0.95)
