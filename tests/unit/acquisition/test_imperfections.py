"""What the simulator does to grey values on demand, and that it says so in the truth."""

from __future__ import annotations

import json
from dataclasses import replace

import h5py
import numpy as np
import pytest

from xct_pipeline.simulation import cell
from xct_pipeline.simulation.beamline import SimulationSettings
from xct_pipeline.simulation.imperfections import respond, spectrum_of, with_halo
from xct_pipeline.simulation.phantom import rasterize
from xct_pipeline.simulation.simulate import charge_C, simulate

PLAIN = SimulationSettings(
    scans=2,
    rows=32,
    columns=64,
    angles=5,
    flats=3,
    darks=3,
    center_offset=0.0,
    center_spread=0.0,
    supersample=1,
    pixel_size_um=30.0,
).ideal()


def transmissions(folder, **imperfections):
    """Projections over flats of both scans (scan, angle, row, column), and the truth."""
    series = simulate(folder, settings=replace(PLAIN, **imperfections), seed=2)
    found = []
    for path in series.scans:
        with h5py.File(path) as file:
            data, key = (file[f"entry/instrument/detector/{name}"][:].astype(float) for name in ("data", "image_key"))
        dark = data[key == 2].mean(axis=0)
        found.append((data[key == 0] - dark) / (data[key == 1].mean(axis=0) - dark))
    return np.array(found), json.loads((series.truth / "truth.json").read_text())


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    return transmissions(tmp_path_factory.mktemp("plain"))[0]


def test_a_halo_lights_what_is_dark(plain, tmp_path):
    found, truth = transmissions(tmp_path, scatter=0.05, scatter_pixels=15.0)
    assert truth["settings"]["scatter"] == 0.05
    expected = with_halo(plain.reshape(-1, 32, 64), 0.05, 15.0).reshape(plain.shape) / 1.05
    np.testing.assert_allclose(found, expected, atol=2e-4)
    assert (found - plain)[plain < 0.4].min() > 0.005


def test_a_response_that_rises_with_the_light(plain, tmp_path):
    found, truth = transmissions(tmp_path, nonlinearity=0.02)
    assert truth["settings"]["nonlinearity"] == 0.02
    np.testing.assert_allclose(found, plain * (1 + 0.02 * plain) / 1.02, atol=2e-4)


def test_the_dark_rises_in_the_last_scan_alone(plain, tmp_path):
    found, truth = transmissions(tmp_path, dark_drift=0.005)
    assert truth["dark_risen"] == [0.0, 0.005]
    np.testing.assert_allclose(found[0], plain[0], atol=1e-12)
    np.testing.assert_allclose(found[1], (plain[1] + 0.005) / 1.005, atol=1e-4)


def test_gains_drift_after_the_flats_alike_at_all_angles(plain, tmp_path):
    found, truth = transmissions(tmp_path, gain_drift=0.01)
    assert truth["settings"]["gain_drift"] == 0.01
    factor = found / plain
    assert factor.mean(axis=1).std() == pytest.approx(0.01, rel=0.1)
    assert np.ptp(factor, axis=1).max() < 1e-3  # rounding of counts
    assert np.corrcoef(factor[0, 0].ravel(), factor[1, 0].ravel())[0, 1] < 0.1  # anew in each scan


def test_a_clock_that_is_behind_moves_the_log_alone(tmp_path):
    late, on_time = (
        simulate(tmp_path / str(s), settings=replace(PLAIN, log_late_s=s), seed=1).cycler.read_text().splitlines()
        for s in (1140.0, 0.0)
    )
    rows = [np.array([line.split(",") for line in lines[1:]], float) for lines in (late, on_time)]
    np.testing.assert_allclose(rows[0][1:-1, 0], rows[1][:, 0] + 1140.0)
    np.testing.assert_array_equal(rows[0][1:-1, 1:], rows[1][:, 1:])
    assert rows[0][0, 0] < rows[1][0, 0]  # and reaches as far
    assert rows[0][-1, 0] > rows[1][-1, 0]


def test_the_log_has_no_charge_for_what_gas_pushed_out(tmp_path):
    settings = replace(PLAIN, uncharged=0.2)
    made = simulate(tmp_path / "cell", settings=settings, seed=1)
    truth = json.loads((made.truth / "truth.json").read_text())
    passed = np.loadtxt(made.cycler, delimiter=",", skiprows=1)[-1, 1]
    assert passed == pytest.approx(truth["charge_C"][-1])
    assert passed == pytest.approx(0.8 * charge_C(truth["mass_change_mg"][-1]), rel=1e-12)


def test_a_spectrum_hardens_in_the_ceramic(plain, tmp_path):
    found, truth = transmissions(tmp_path, spectrum_keV=12.0)
    energies, shares = np.array(truth["spectrum"]).T
    assert shares.sum() == pytest.approx(1)
    assert (energies @ shares, energies[np.argmax(shares)]) == pytest.approx((50, 50))
    above = energies[shares >= shares.max() / 2 - 1e-9]
    assert above.max() - above.min() <= 12.0 <= np.ptp(energies)
    more = np.log(plain) / np.log(found)  # path as it should be over the path as it is
    thick, thin = plain[0] < 0.42, (plain[0] > 0.5) & (plain[0] < 0.7)
    assert more[0][thick].mean() > more[0][thin].mean() * 1.003


def test_nothing_is_added_by_default(plain):
    frames = plain[0]
    assert with_halo(frames, 0.0, 20.0) is frames
    assert respond(plain, 1.0, 0.0) is plain
    assert spectrum_of(50.0, 0.0) == ((50.0, 1.0),)


@pytest.mark.parametrize("seed", range(3))
def test_voids_at_the_interface_touch_the_ceramic_and_nothing_else(seed):
    given = {"pixel_size_um": 10.0, "energy_keV": 50.0}
    made = cell.build_cell(96, 160, **given, rng=np.random.default_rng(seed), voids="interface")
    inside = cell.build_cell(96, 160, **given, rng=np.random.default_rng(seed))
    changes = cell.changes_at(made, 1.0)
    sodium = rasterize(cell.sodium_bodies(changes), made.shape, subsamples=2)
    assert not sodium[:46].any()
    assert sodium[46].min() < -0.4 * made.materials.anode_density
    assert not sodium[68:].any()
    attenuation = rasterize(cell.attenuation_bodies(made, changes), made.shape, subsamples=2)
    assert attenuation.min() > -1e-5
    before = cell.sodium_change_mg(inside, cell.changes_at(inside, 1.0))
    assert cell.sodium_change_mg(made, changes) == pytest.approx(before, rel=1e-12)
    ceramic = [body for body, of in zip(made.constant, made.made_of, strict=True) if of == ("ceramic", "gas")]
    assert [body.value for body in ceramic] == [made.materials.ceramic]


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"scatter": -0.1}, "scatter"),
        ({"scatter_pixels": 0.0}, "scatter"),
        ({"nonlinearity": 0.9}, "nonlinearity"),
        ({"spectrum_keV": 40.0}, "spectrum_keV"),
        ({"dark_drift": 0.7}, "dark_drift"),
        ({"gain_drift": 0.2}, "gain_drift"),
        ({"log_late_s": 1e5}, "log_late_s"),
        ({"uncharged": 1.0}, "uncharged"),
        ({"voids": "below"}, "voids"),
        ({"photons": 6e4, "scatter": 0.2}, "16 bits"),
    ],
)
def test_what_cannot_be_simulated_is_refused(wrong, told):
    with pytest.raises(ValueError, match=told):
        SimulationSettings(**wrong)
