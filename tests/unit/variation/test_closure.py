from dataclasses import replace
from typing import get_args

import numpy as np
import pytest

from xct_pipeline.config import ClosureName
from xct_pipeline.variation import alloy, attenuation, closures
from xct_pipeline.variation.anode import Anode
from xct_pipeline.variation.closures import CLOSURES, NOTHING, Given, const_k, dual_energy, filled, na_only, well_mixed
from xct_pipeline.variation.faraday import faraday_mg


def nak(energy, w=0.5, **rest):
    k = attenuation.coefficients(("Na", "K"), energy)
    return Anode(k["Na"], k["K"], w, **rest)


def test_ten_micrometres_of_sodium():
    k = attenuation.mass_attenuation("Na", 50)
    areal = na_only.na_only(np.array([0.968 * k]), k_species=k).species * 10e-4 * 1e3
    np.testing.assert_allclose(areal, 0.9680, rtol=1e-6)


def test_void_in_nak():
    anode = nak(50)
    dmu = np.array([-anode.metal_attenuation(0.5)], np.float32)
    assert dmu[0] == pytest.approx(-0.5158, abs=5e-5)
    alone = CLOSURES["na_only"].change(dmu, anode)
    assert alone.species[0] == pytest.approx(-1.840, abs=5e-4)
    assert alone.flags[0] == closures.DENSITY
    moved = CLOSURES["same_composition"].change(dmu, anode)
    assert moved.total[0] == pytest.approx(-0.898, abs=5e-4)
    assert moved.species[0] == pytest.approx(-0.8984 / 2, abs=5e-5)
    assert moved.flags[0] == 0
    assert moved.species.dtype == np.float32


@pytest.mark.parametrize(("energy", "dmu"), [(30, 0.628), (50, 0.133), (80, 0.029)])
def test_filled_brightens_when_sodium_leaves(energy, dmu):
    anode = nak(energy)
    step = np.array([anode.metal_attenuation(0.8) - anode.metal_attenuation(0.5)])
    assert step[0] == pytest.approx(dmu, abs=6e-4)
    change = filled.filled(step, anode)
    sodium, potassium = anode.initial[0] + change.species[0], anode.initial[1] + change.host[0]
    assert potassium / (sodium + potassium) == pytest.approx(0.8, abs=1e-5)
    assert change.species[0] == pytest.approx(-0.276, abs=5e-4)
    assert change.flags[0] == 0


def test_filled_beyond_the_pure_metals_is_flagged_and_not_clipped():
    anode = nak(50)
    high = anode.metal_attenuation(1.0) - anode.metal_attenuation(0.5)
    dmu = np.array([high, high + 0.1, high + 0.2])
    change = filled.filled(dmu, anode)
    assert list(change.flags) == [0, closures.COMPOSITION, closures.COMPOSITION]
    assert change.species[2] - change.species[1] == pytest.approx(change.species[1] - change.species[0])
    assert change.species[1] < change.species[0] - 0.2


def test_filled_refuses_an_energy_without_a_unique_answer():
    with pytest.raises(ValueError, match="no unique answer"):
        filled.filled(np.zeros(1), nak(150))


def test_const_k():
    anode = nak(50)
    potassium = anode.initial[1]
    left = potassium * 0.2 / 0.8
    dmu = anode.k_species * (left - anode.initial[0])
    change = const_k.const_k(np.array([dmu]), anode)
    assert change.species[0] == pytest.approx(-0.3369, abs=5e-5)
    assert change.flags[0] == 0
    gained = const_k.const_k(np.array([0.1]), anode)
    assert gained.flags[0] == closures.FRACTION


def test_shuffled_components_keep_the_total():
    rng = np.random.default_rng(4)
    anode = nak(50)
    sodium = rng.random((40, 40)) * 0.4
    potassium = rng.random((40, 40)) * 0.4
    new_potassium = rng.permutation(potassium.ravel()).reshape(potassium.shape)
    new_sodium = rng.permutation(sodium.ravel()).reshape(sodium.shape) * 0.7
    dmu = anode.k_species * (new_sodium - sodium) + anode.k_host * (new_potassium - potassium)
    total = na_only.na_only(dmu, k_species=anode.k_species).species.sum()
    assert total == pytest.approx((new_sodium - sodium).sum(), rel=1e-6)


def test_well_mixed_stripping():
    anode = nak(50, filling=0.8, carbon_fraction=0.2, boundaries=alloy.LIQUID_RANGE_25C)
    thickness = 100e-4
    loading = sum(anode.initial) * thickness * 1e3
    out = -float(faraday_mg(2 * 3.6))
    assert out == pytest.approx(1.7156, abs=5e-5)
    w = alloy.composition_after(0.5, loading, out)
    assert w == pytest.approx(0.6568, abs=5e-5)
    f = (loading - out) / 1e3 / thickness / anode.metal_density(w)
    dmu = f * anode.metal_attenuation(w) - 0.8 * anode.metal_attenuation(0.5)
    assert dmu * thickness == pytest.approx(-4.810e-4, abs=5e-8)
    change = well_mixed.well_mixed(np.full(3, dmu), anode=anode, w_host=w)
    np.testing.assert_allclose(change.species * thickness * 1e3, -1.7156, atol=5e-5)
    np.testing.assert_allclose(change.host, 0, atol=1e-9)
    assert not change.flags.any()


def test_well_mixed_past_the_liquidus_uses_the_lever_rule():
    anode = nak(50, boundaries=alloy.LIQUID_RANGE_25C)
    w = 0.95
    liquid = Anode(anode.k_species, anode.k_host, 0.5)
    assert anode.metal_density(w) != pytest.approx(liquid.metal_density(w), rel=1e-4)
    f = 0.5
    dmu = f * anode.metal_attenuation(w) - anode.metal_attenuation(0.5)
    change = well_mixed.well_mixed(np.array([dmu]), anode=anode, w_host=w)
    assert change.species[0] + anode.initial[0] == pytest.approx(f * anode.metal_density(w) * 0.05)


def test_dual_energy_is_exact_and_its_noise_known():
    low, high = nak(30), nak(80)
    k = ((low.k_species, low.k_host), (high.k_species, high.k_host))
    sodium, potassium = np.array([-0.3, 0.1]), np.array([0.2, -0.4])
    change = dual_energy.dual_energy(
        k[0][0] * sodium + k[0][1] * potassium, k[1][0] * sodium + k[1][1] * potassium, k=k
    )
    np.testing.assert_allclose(change.species, sodium, rtol=1e-12)
    np.testing.assert_allclose(change.host, potassium, rtol=1e-12)
    sigma = np.sqrt((dual_energy.dual_energy_inverse(k) ** 2).sum(axis=1)) * 0.01 * np.sqrt(2)
    np.testing.assert_allclose(sigma, [0.128, 0.0277], rtol=5e-3)
    with pytest.raises(ValueError, match="further apart"):
        dual_energy.dual_energy_inverse((k[0], k[0]))


@pytest.mark.parametrize("name", ["na_only", "const_k", "same_composition", "filled", "well_mixed"])
def test_sensitivity_is_the_slope(name):
    anode = nak(50)
    dmu = np.array([-1e-4, 1e-4])
    species = CLOSURES[name].change(dmu, anode, Given(0.5)).species
    assert CLOSURES[name].slopes(anode, NOTHING).species[0] == pytest.approx((species[1] - species[0]) / 2e-4, rel=1e-3)


def test_what_a_closure_needs_is_asked_for():
    plain = Anode(0.28)
    assert CLOSURES["na_only"].change(np.ones(2), plain).flags.max() == 0
    for name in ("filled", "same_composition", "const_k"):
        with pytest.raises(ValueError, match="initial composition"):
            CLOSURES[name].change(np.ones(2), plain)
    with pytest.raises(ValueError, match="charge and loading"):
        CLOSURES["well_mixed"].change(np.ones(2), nak(50))
    with pytest.raises(ValueError, match="initial composition"):
        CLOSURES["well_mixed"].change(np.ones(2), plain, Given(0.5))
    with pytest.raises(ValueError, match="density_table"):
        nak(50, density=0.9)
    with pytest.raises(ValueError, match="second scan"):
        CLOSURES["dual_energy"].change(np.ones(2), nak(50))
    with pytest.raises(ValueError, match="at most 1"):
        replace(plain, carbon_fraction=0.3)
    with pytest.raises(ValueError, match="from 0 to 1"):
        nak(50, w=1.4)


def test_pure_metal_of_known_density():
    k = attenuation.mass_attenuation("Li", 50)
    change = CLOSURES["na_only"].change(np.array([-0.6 * k, -0.534 * k]), Anode(k, density=0.534))
    assert list(change.flags) == [closures.DENSITY, 0]


def test_the_table_holds_what_the_configuration_accepts():
    assert set(CLOSURES) == set(get_args(ClosureName))
    assert all(name == closure.name for name, closure in CLOSURES.items())


@pytest.mark.parametrize("name", sorted(CLOSURES))
def test_a_closure_is_what_its_attributes_say(name):
    closure, anode = CLOSURES[name], nak(50)
    k = ((anode.k_species, anode.k_host), (nak(80).k_species, nak(80).k_host))
    given = Given(0.6 if closure.charge else None, np.zeros(5) if closure.energies > 1 else None, k)

    def species(dmu):
        return closure.change(np.asarray(dmu, float), anode, given).species

    x, y, none = species([0.01] * 5), species([0.02] * 5), species([0.0] * 5)
    assert np.allclose(species([0.03] * 5) - none, (x - none) + (y - none), atol=1e-9) == closure.linear
    assert np.allclose(none, 0, atol=1e-9) == (closure.proportional or closure.name == "filled")
    assert np.allclose(species([0.03] * 5), 3 * x, atol=1e-9) == closure.proportional
    extreme = closure.change(np.array([-50.0, -1.0, 0.0, 1.0, 50.0]), anode, given).flags
    assert np.bitwise_or.reduce(extreme) == closure.flags
    assert len(closure.slopes(anode, given).species) == len(closure.slopes(anode, given).host) == closure.energies
    for attribute, wanting in (("charge", given._replace(w_host=None)), ("energies", given._replace(second=None))):
        if getattr(closure, attribute) not in (False, 1):
            with pytest.raises(ValueError, match=f"closure {name} needs"):
                closure.change(np.zeros(5), anode, wanting)
    if closure.composition:
        with pytest.raises(ValueError, match=f"closure {name} needs the initial composition"):
            closure.change(np.zeros(5), Anode(0.28), given)
