"""Files of spectra that end early, repeat frequencies or lack numbers; spectra that arcs do not describe."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xct_pipeline.electrochemistry.drt import relaxation
from xct_pipeline.electrochemistry.impedance import read_spectra
from xct_pipeline.electrochemistry.spectrum import FEWEST, spectrum_of

F = np.logspace(5, 0, 31)
Z = 10 + 20 / (1 + (2j * np.pi * F * 1e-3) ** 0.9)
NAMES = "freq/Hz,Re(Z)/Ohm,-Im(Z)/Ohm"


def write(folder, frequency, impedance):
    path = folder / "z.csv"
    rows = (f"{f:.9g},{z.real:.9g},{-z.imag:.9g}" for f, z in zip(frequency, impedance, strict=True))
    path.write_text("\n".join([NAMES, *rows]) + "\n")
    return path


@settings(max_examples=40, deadline=None)
@given(count=st.integers(1, 4), upwards=st.booleans(), left=st.integers(1, 31))
def test_files_of_spectra_that_end_early(tmp_path_factory, count, upwards, left):
    order = slice(None, None, -1 if upwards else 1)
    frequency, impedance = np.tile(F[order], count), np.tile(Z[order], count)
    rows = 31 * (count - 1) + left
    path = write(tmp_path_factory.mktemp("early"), frequency[:rows], impedance[:rows])
    if rows < FEWEST:
        with pytest.raises(ValueError, match=f"holds {rows} frequencies"):
            read_spectra(path)
        return
    found = read_spectra(path)
    assert len(found) == count - (left < FEWEST)
    for spectrum in found[: count - 1]:
        np.testing.assert_allclose(spectrum.impedance_ohm, Z, rtol=1e-6)
    notes = found[-1].notes
    assert any(f"goes on with {left} frequencies more" in note for note in notes) == (left < FEWEST)
    cut = count > 1 and left >= FEWEST and not upwards and F[left - 1] > 3 * F[-1]
    assert any("was it cut short?" in note for note in notes) == cut


@settings(max_examples=30, deadline=None)
@given(again=st.sets(st.integers(0, 30), max_size=10), missing=st.sets(st.integers(0, 30), max_size=10))
def test_rows_without_numbers_and_frequencies_again(tmp_path_factory, again, missing):
    rows = np.sort(np.r_[np.arange(31), sorted(again)].astype(int))
    impedance = np.where(np.isin(rows, list(missing)), np.nan, Z[rows])
    (found,) = read_spectra(write(tmp_path_factory.mktemp("again"), F[rows], impedance))
    kept = [k for k in range(31) if k not in missing]
    np.testing.assert_allclose(found.frequency_Hz, F[kept], rtol=1e-6)
    np.testing.assert_allclose(found.impedance_ohm, Z[kept], rtol=1e-6)
    assert any("without an impedance were left out" in note for note in found.notes) == bool(missing)
    assert any("more than once and were averaged" in note for note in found.notes) == bool(again - missing)
    apart = np.where(np.arange(62) % 2, 1.2, 1.0)
    with pytest.raises(ValueError, match=r"Hz occurs more than once, with impedances .* from their mean"):
        read_spectra(write(tmp_path_factory.mktemp("apart"), np.repeat(F, 2), np.repeat(Z, 2) * apart))


def test_what_arcs_do_not_describe_is_told():
    loop = Z - 8 / (1 + 2j * np.pi * F * 3e-2)
    assert any("such as an inductive loop" in note for note in relaxation(spectrum_of("s", F, loop)).notes)
    for seed in range(5):
        rng = np.random.default_rng(seed)
        noisy = Z * (1 + 2e-3 * (rng.normal(size=31) + 1j * rng.normal(size=31)))
        assert relaxation(spectrum_of("s", F, noisy)).notes == ()


@pytest.mark.parametrize("again", [True, False])
@pytest.mark.parametrize("count", [2, 3])
def test_sweeps_down_and_up_are_spectra_of_their_own(tmp_path, again, count):
    """The frequency at which they turn may be measured once or twice."""
    f, z = F, 10 + 20 / (1 + 2j * np.pi * F * 1e-3)
    parts = [slice(None, None, -1 if k % 2 else 1) for k in range(count)]
    whole_f, whole_z = np.concatenate([f[p] for p in parts]), np.concatenate([z[p] for p in parts])
    if not again:
        keep = np.concatenate([[True], np.diff(whole_f) != 0])
        whole_f, whole_z = whole_f[keep], whole_z[keep]
    found = read_spectra(write(tmp_path, whole_f, whole_z))
    assert len(found) == count
    assert sum(len(s.frequency_Hz) for s in found) == len(whole_f)
    for spectrum in found:
        np.testing.assert_allclose(
            spectrum.impedance_ohm, 10 + 20 / (1 + 2j * np.pi * spectrum.frequency_Hz * 1e-3), rtol=1e-5
        )
