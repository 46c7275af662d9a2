import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xct_pipeline.variation.anode import Anode
from xct_pipeline.variation.closures import CLOSURES, dual_energy, filled, well_mixed

COEFFICIENTS = {30: (0.7199, 3.4123), 50: (0.2804, 0.8678), 80: (0.1796, 0.3252)}
energies = st.sampled_from([30, 50, 80])
shares = st.floats(0.01, 0.99)


@given(energies, shares, shares, st.floats(0.05, 1.0))
@settings(max_examples=60, deadline=None)
def test_filled_inverts_the_forward_model(energy, w0, w1, filling):
    anode = Anode(*COEFFICIENTS[energy], w0, filling=filling)
    dmu = np.array([filling * (anode.metal_attenuation(w1) - anode.metal_attenuation(w0))])
    change = filled.filled(dmu, anode)
    expected = filling * anode.metal_density(w1) * (1 - w1) - anode.initial[0]
    assert change.species[0] == pytest.approx(expected, abs=1e-6)
    host = filling * anode.metal_density(w1) * w1 - anode.initial[1]
    assert change.host[0] == pytest.approx(host, abs=1e-6)


@given(energies, shares, shares, st.floats(0, 1.0), st.floats(0, 1.0))
@settings(max_examples=60, deadline=None)
def test_well_mixed_inverts_the_forward_model(energy, w0, w1, f0, f1):
    anode = Anode(*COEFFICIENTS[energy], w0, filling=f0)
    dmu = np.array([f1 * anode.metal_attenuation(w1) - f0 * anode.metal_attenuation(w0)])
    change = well_mixed.well_mixed(dmu, anode=anode, w_host=w1)
    assert change.total[0] == pytest.approx(f1 * anode.metal_density(w1) - f0 * anode.metal_density(w0), abs=1e-9)
    assert change.flags[0] == 0


@given(st.integers(0, 2**32 - 1), st.sampled_from(["na_only", "const_k", "same_composition"]))
@settings(max_examples=30, deadline=None)
def test_linear_closures_flip_with_the_sign_exactly(seed, name):
    dmu = np.random.default_rng(seed).standard_normal((3, 4, 5)).astype(np.float32)
    anode = Anode(*COEFFICIENTS[50], 0.5)
    there = CLOSURES[name].change(dmu, anode).species
    back = CLOSURES[name].change(-dmu, anode).species
    assert there.dtype == np.float32
    np.testing.assert_array_equal(there, -back)


@given(st.floats(-3, 3), st.floats(-3, 3))
@settings(max_examples=40, deadline=None)
def test_dual_energy_round_trip(sodium, potassium):
    k = (COEFFICIENTS[30], COEFFICIENTS[80])
    first, second = (np.array([a * sodium + b * potassium]) for a, b in k)
    change = dual_energy.dual_energy(first, second, k=k)
    assert change.species[0] == pytest.approx(sodium, abs=1e-9)
    assert change.host[0] == pytest.approx(potassium, abs=1e-9)
