"""The tables of elements are read as xraydb reads them, to the last bit, without loading it."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import xraydb
from hypothesis import given
from hypothesis import strategies as st

from xct_pipeline.variation import elements
from xct_pipeline.variation.attenuation import linear_attenuation, parse_formula

SYMBOLS = [xraydb.atomic_symbol(z) for z in range(1, 99)]
AMOUNTS = st.one_of(st.just(""), st.integers(1, 30).map(str), st.floats(0.01, 20).map(lambda x: f"{x:.3f}"))
PARTS = st.tuples(st.sampled_from(SYMBOLS), AMOUNTS)


@pytest.mark.parametrize("symbol", SYMBOLS)
def test_every_element_at_every_energy(symbol):
    for energy in [*np.geomspace(100, 800_000, 15).tolist(), 50_000.0, 20_000]:
        assert elements.attenuation(symbol, energy) == float(xraydb.mu_elam(symbol, energy))
    assert elements.atomic_mass(symbol) == xraydb.atomic_mass(symbol)


@given(st.lists(PARTS, min_size=1, max_size=6))
def test_formulas(parts):
    formula = "".join(symbol + amount for symbol, amount in parts)
    assert list(elements.count_atoms(formula).items()) == list(xraydb.chemparse(formula).items())


@pytest.mark.parametrize("formula", ["Zn(SO4)2", "Ca(H2O)6", "Na0.5K0.5", "CO", "Co"])
def test_formulas_as_they_are_written(formula):
    assert elements.count_atoms(formula) == xraydb.chemparse(formula)


@pytest.mark.parametrize("formula", ["Xx", "na", "Na3Qq", "", "Na-K", "Zn(SO4", "Fm"])
def test_what_is_no_formula_of_known_elements(formula):
    with pytest.raises(ValueError, match="formula"):
        parse_formula(formula)


def test_an_attenuation_loads_no_database_toolkit():
    told = (
        "import sys; from xct_pipeline.variation.attenuation import linear_attenuation as mu\n"
        "print(mu('Na3Zr2Si2PO12', 50.0, 3.2), *{'xraydb', 'sqlalchemy', 'scipy.interpolate'} & set(sys.modules))"
    )
    ended = subprocess.run([sys.executable, "-c", told], capture_output=True, text=True, check=True)
    assert [float(word) for word in ended.stdout.split()] == [linear_attenuation("Na3Zr2Si2PO12", 50.0, 3.2)]
