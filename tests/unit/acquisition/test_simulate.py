"""The simulated cell, detector and files: exact masses, honest statistics, truth kept apart."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from datetime import datetime

import h5py
import numpy as np
import pytest

from xct_pipeline.simulation import beamline, cell, frames
from xct_pipeline.simulation.beamline import SimulationSettings, detect, generator, make_detector
from xct_pipeline.simulation.phantom import disc, project, rasterize
from xct_pipeline.simulation.simulate import FIRST_START, charge_C, simulate

SMALL = SimulationSettings(scans=3, rows=32, columns=64, angles=19, flats=4, darks=3)


@pytest.fixture(scope="module")
def default_cell():
    return cell.build_cell(96, 160, pixel_size_um=10.0, energy_keV=50.0, rng=np.random.default_rng(0))


@pytest.fixture(scope="module")
def series(tmp_path_factory):
    return simulate(tmp_path_factory.mktemp("series"), settings=SMALL, seed=4)


@pytest.fixture(scope="module")
def truth(series):
    return json.loads((series.truth / "truth.json").read_text())


def read(path):
    with h5py.File(path) as file:
        detector = file["entry/instrument/detector"]
        return detector["data"][:], detector["image_key"][:], file["entry/sample/rotation_angle"][:]


def test_materials_are_the_tabulated_ones():
    m = cell.cell_materials(50.0)
    assert m.sodium_cm2_g == pytest.approx(0.2804, rel=1e-3)
    assert m.potassium_cm2_g == pytest.approx(0.8678, rel=1e-3)
    assert m.ceramic == pytest.approx(0.94 * 7.560, rel=1e-3)
    assert [round(cell.nak_density(w), 4) for w in (0.5, 0.65, 0.8)] == [0.8984, 0.8826, 0.8645]


def test_region_of_the_default_cell(default_cell):
    assert default_cell.region_z == (50, 74)
    assert default_cell.region_radius == 49.0


@pytest.mark.parametrize("seed", range(4))
def test_changes_lie_inside_the_region_and_leave_no_negative_density(seed):
    made = cell.build_cell(96, 160, pixel_size_um=10.0, energy_keV=50.0, rng=np.random.default_rng(seed))
    changes = cell.changes_at(made, 1.0)
    sodium = rasterize(cell.sodium_bodies(changes), made.shape, subsamples=2)
    y, x = np.indices(made.shape[1:]) - 79.5
    assert not sodium[:51].any()
    assert not sodium[73:].any()
    assert not sodium[:, np.hypot(y, x) > 47.5].any()
    assert sodium.min() >= -made.materials.anode_density * (1 + 1e-6)  # bodies never overlap
    attenuation = rasterize(cell.attenuation_bodies(made, changes), made.shape, subsamples=2)
    assert attenuation.min() > -1e-5
    assert len(made.sites) >= 12
    assert any(site.void for site in made.sites)


def test_attenuation_along_z_is_sodium_alone(default_cell):
    """Potassium stays in its column, so the closure `na_only` is exact for sums along z."""
    changes = cell.changes_at(default_cell, 0.6)
    bodies = cell.attenuation_bodies(default_cell, changes)[len(default_cell.constant) :]
    columns = rasterize(bodies, default_cell.shape).sum(axis=0, dtype=float)
    sodium = rasterize(cell.sodium_bodies(changes), default_cell.shape).sum(axis=0, dtype=float)
    apparent = columns / default_cell.materials.sodium_cm2_g
    np.testing.assert_allclose(apparent, sodium, atol=1e-5)
    total = sum(body.value * body.volume for body in bodies) / default_cell.materials.sodium_cm2_g
    assert total == pytest.approx(sum(c.sodium * c.body.volume for c in changes), rel=1e-12)
    assert sum(c.potassium * c.body.volume for c in changes) == pytest.approx(0.0, abs=1e-9)


def test_progress_is_a_share_of_the_mass(default_cell):
    final = cell.sodium_change_mg(default_cell, cell.changes_at(default_cell, 1.0))
    assert cell.changes_at(default_cell, 0.0) == []
    for progress in (0.1, 0.5, 0.9):
        mass = cell.sodium_change_mg(default_cell, cell.changes_at(default_cell, progress))
        assert mass == pytest.approx(progress * final, rel=1e-9)
    with pytest.raises(ValueError, match="progress"):
        cell.changes_at(default_cell, 1.5)


def test_rasterised_sodium_is_the_exact_mass(default_cell):
    changes = cell.changes_at(default_cell, 1.0)
    mass = rasterize(cell.sodium_bodies(changes), default_cell.shape).sum(dtype=float) * 1e-9 * 1e3
    assert mass == pytest.approx(cell.sodium_change_mg(default_cell, changes), rel=1e-3)
    assert 1.0 < -mass / (np.pi * 0.049**2) < 8.0  # mg/cm2: what such an anode can lose


@pytest.mark.parametrize("average", ["integral", "intensity"])
@pytest.mark.parametrize("lower", np.linspace(3.5, 4.5, 7) + 0.003)
def test_a_lying_disc_is_as_thick_as_it_is(lower, average):
    """To the last digit, wherever its faces lie between pixels, and another disc's beside them."""
    faces, strength = [lower, lower + 3.517, lower + 3.52, lower + 6.011], 1e-3
    discs = [disc(low, high, 40.0, strength) for low, high in zip(faces[::2], faces[1::2], strict=True)]
    seen = project(discs, [0.3], rows=16, columns=5, center=2.0, pixel_size_um=10.0, average=average)[0, :, 2]
    thick = faces[1] - faces[0] + faces[3] - faces[2]
    rays = (np.arange(2) - 0.5) / 2
    chord = 2 * np.sqrt(40.0**2 - rays**2).mean() * strength * 10e-4
    assert seen.sum() == pytest.approx(thick * chord, rel=1e-9 if average == "integral" else 2e-5)


def test_faraday(truth):
    charge, mass = np.array(truth["charge_C"]), np.array(truth["mass_change_mg"])
    np.testing.assert_allclose(-charge * cell.SODIUM_G_PER_MOL / cell.FARADAY_C_PER_MOL * 1e3, mass, rtol=1e-12)
    assert charge_C(-0.85778) / 3.6 == pytest.approx(1.0, rel=1e-5)  # mAh
    assert mass[0] == 0.0
    assert np.all(np.diff(mass) < 0)
    np.testing.assert_allclose(mass[1], 0.5 * mass[2], rtol=1e-9)


def test_cycler_log_agrees_with_the_scans(series, truth):
    with open(series.cycler, newline="") as file:
        rows = list(csv.DictReader(file))
    time, charge, voltage, current = (
        np.array([float(row[name]) for row in rows]) for name in ("time_s", "charge_C", "voltage_V", "current_A")
    )
    np.testing.assert_allclose(np.interp(truth["time_s"], time, charge), truth["charge_C"], rtol=1e-9)
    assert time[0] == 0.0
    assert time[-1] == truth["time_s"][-1] + 0.5 * SMALL.scan_seconds
    assert np.all(np.diff(time) >= 0)
    passed = np.sum(0.5 * (current[1:] + current[:-1]) * np.diff(time))
    assert passed == pytest.approx(truth["charge_C"][-1], rel=1e-9)
    assert 0 <= voltage.min() < voltage.max() < 0.3


def test_files_are_nxtomo(series, truth):
    for k, path in enumerate(series.scans):
        data, key, angles = read(path)
        assert data.shape == (3 + 4 + 19 + 4, 32, 64)
        assert data.dtype == np.uint16
        assert key.tolist() == [2] * 3 + [1] * 4 + [0] * 19 + [1] * 4
        np.testing.assert_allclose(angles[key == 0], np.linspace(0, 180, 19), atol=1e-9)
        with h5py.File(path) as file:
            assert file["entry/definition"].asstr()[()] == "NXtomo"
            assert file["entry/instrument/detector/x_pixel_size"].attrs["units"] == "um"
            assert file["entry/instrument/beam/incident_energy"][()] == 50.0
            assert file["entry/data/data"].shape == data.shape
            start, end = (
                datetime.fromisoformat(file[f"entry/{name}"].asstr()[()]) for name in ("start_time", "end_time")
            )
            middle = (start - FIRST_START).total_seconds() + 0.5 * (end - start).total_seconds()
            assert middle == truth["time_s"][k]


def test_truth_stays_in_its_folder(series):
    beside = {path.name for path in series.folder.iterdir()}
    spectra = {f"impedance_0{k}.csv" for k in range(3)}
    assert beside == {"scan_00.nxs", "scan_01.nxs", "scan_02.nxs", "cycler.csv", "truth"} | spectra
    names: list[str] = []
    with h5py.File(series.scans[1]) as file:
        file.visit(names.append)
    assert not [n for n in names if any(word in n for word in ("truth", "mass", "center", "motion", "defect"))]


def test_truth_maps(series, truth):
    with np.load(series.truth / "truth.npz") as maps:
        areal, density = maps["areal_mg_cm2"], maps["density_g_cm3"]
    assert density.shape == (3, *series.shape)
    assert not density[0].any()
    mass = areal.sum(axis=(1, 2), dtype=float) * (series.pixel_size_um * 1e-4) ** 2
    np.testing.assert_allclose(mass, truth["mass_change_mg"], rtol=0.01)


def test_motions_are_rigid_and_turn_about_the_middle(truth):
    motion = np.array(truth["motion"])
    np.testing.assert_array_equal(motion[0], np.eye(3, 4))
    middle = 10.0 * 0.5 * (np.array(truth["shape"]) - 1)
    for m in motion[1:]:
        np.testing.assert_allclose(m[:, :3] @ m[:, :3].T, np.eye(3), atol=1e-12)
        shift = (m[:, :3] @ middle + m[:, 3] - middle) / 10.0
        assert np.all((np.abs(shift) >= 0.5 * SMALL.shift_voxels) & (np.abs(shift) <= SMALL.shift_voxels))
    assert len(set(truth["center"])) == 3


def test_equal_seeds_give_equal_files_and_others_do_not(tmp_path, series):
    again = simulate(tmp_path / "again", settings=SMALL, seed=4)
    other = simulate(tmp_path / "other", settings=SMALL, seed=5)
    for mine, same, different in zip(series.scans, again.scans, other.scans, strict=True):
        assert np.array_equal(read(mine)[0], read(same)[0])
        assert not np.array_equal(read(mine)[0], read(different)[0])
    assert (series.truth / "truth.json").read_bytes() == (again.truth / "truth.json").read_bytes()
    assert series.cycler.read_bytes() == again.cycler.read_bytes()


def test_nothing_is_overwritten(series):
    before = series.scans[0].stat().st_mtime_ns
    with pytest.raises(ValueError, match="exists already"):
        simulate(series.folder, settings=SMALL, seed=9)
    assert series.scans[0].stat().st_mtime_ns == before


def test_air_is_left_at_both_edges_of_every_projection(tmp_path):
    settings = replace(SimulationSettings(angles=13, scans=3).ideal(), dark_offset=0.0)
    made = simulate(tmp_path / "air", settings=settings, seed=2)
    for path in made.scans:
        data, key, _ = read(path)
        edges = data[key == 0][:, :, np.r_[0:6, -6:0]]
        assert np.abs(edges - settings.photons).max() <= 1.0


def test_ideal_scans_are_free_of_noise(tmp_path):
    settings = replace(SMALL.ideal(), stripped=0.0, shift_voxels=0.0, rotation_deg=0.0, tilt_deg=0.0, center_spread=0.0)
    made = simulate(tmp_path / "ideal", settings=settings, seed=2)
    assert np.array_equal(read(made.scans[0])[0], read(made.scans[2])[0])
    truth = json.loads((made.truth / "truth.json").read_text())
    assert truth["charge_C"] == [0.0, 0.0, 0.0]


def test_photon_statistics():
    settings = replace(SMALL.ideal(), photon_noise=True, photons=2e4, dark_offset=0.0)
    detector = make_detector(settings, generator(1))
    counts = detect(np.full((40, 32, 64), 1.2e4), detector, settings, generator(2)).astype(float)
    assert counts.mean() == pytest.approx(1.2e4, rel=1e-3)
    assert counts.var() == pytest.approx(1.2e4, rel=0.03)


def test_point_spread_keeps_light_and_blurs():
    settings = replace(SMALL.ideal(), psf_pixels=1.0, dark_offset=0.0)
    light = np.zeros((1, 32, 64))
    light[0, 16, 32] = 4e4
    counts = detect(light, make_detector(settings, generator(1)), settings, generator(2)).astype(float)
    assert counts.sum() == pytest.approx(4e4, rel=1e-3)
    spread = (counts[0].sum(axis=0) * (np.arange(64) - 32) ** 2).sum() / counts.sum()
    assert spread == pytest.approx(1.0, rel=0.02)


def test_each_defect_does_what_it_says():
    settings = replace(SMALL.ideal(), defective_columns=2, dead_pixels=4, dark_offset=50.0)
    detector = make_detector(settings, generator(1))
    light = np.full((3, 32, 64), 1e4)
    flat = detect(light, detector, settings, generator(2)).astype(float)
    seen = detect(light, detector, settings, generator(2), projections=True).astype(float)
    (bent, kind, excess), (glowing, other, share) = detector.columns
    assert (kind, other) == ("nonlinear", "afterglow")
    alive = np.ones((32, 64), bool)
    alive[tuple(detector.dead[:, :2].T)] = False
    rows, columns, stuck = detector.dead.T
    assert np.all(seen[:, rows, columns] == stuck)
    expected = settings.photons * (1e4 / settings.photons) ** (1 + excess)
    dark = detector.dark[:, bent]
    assert np.allclose((flat[0, :, bent] - dark)[alive[:, bent]], expected, atol=1.0)
    extra = (seen - flat)[0, :, glowing][alive[:, glowing]]
    assert np.allclose(extra, share * settings.photons, atol=1.0)
    untouched = np.setdiff1d(np.arange(64), [bent, glowing])
    assert np.array_equal(seen[:, :, untouched], flat[:, :, untouched])


def test_zingers_hit_their_share():
    settings = replace(SMALL.ideal(), zinger_fraction=1e-3)
    detector = make_detector(settings, generator(1))
    light = np.full((40, 32, 64), 1e4)
    counts = detect(light, detector, settings, generator(2)).astype(float)
    struck = np.mean(counts > 1.5e4)
    assert struck == pytest.approx(1e-3, rel=0.3)


def test_center_of_the_projections_is_the_recorded_one(tmp_path):
    settings = replace(SMALL.ideal(), columns=96, dark_offset=0.0, average_intensity=False, supersample=4)
    made = simulate(tmp_path / "center", settings=settings, seed=3)
    truth = json.loads((made.truth / "truth.json").read_text())
    for path, center in zip(made.scans, truth["center"], strict=True):
        data, key, _ = read(path)
        p = -np.log(data[key == 0][[0, -1]] / data[key == 1].mean(axis=0))
        column = (p * np.arange(96)).sum(axis=2) / p.sum(axis=2)
        np.testing.assert_allclose(column.mean(axis=0), center, atol=0.02)


def test_axis_tilt_and_angle_jitter_are_recorded(tmp_path):
    settings = replace(SMALL, scans=1, axis_tilt_deg=0.4, angle_jitter_deg=0.05, endpoint=False)
    made = simulate(tmp_path / "tilt", settings=settings, seed=3)
    _, key, angles = read(made.scans[0])
    off = angles[key == 0] - np.linspace(0, 180, 19, endpoint=False)
    assert 0.02 < off.std() < 0.1
    assert json.loads((made.truth / "truth.json").read_text())["axis_tilt_deg"] == 0.4


def test_drift_follows_its_setting():
    walk = frames._drift(SMALL, generator(1))
    assert 0 < np.abs(walk - 1).max() <= 2 * SMALL.beam_drift + 1e-12
    assert np.all(frames._drift(SMALL.ideal(), generator(1)) == 1.0)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("scans", 0),
        ("angles", 2),
        ("columns", 8),
        ("photons", 1e6),
        ("stripped", 2.0),
        ("energy_keV", 0.0),
        ("defective_columns", 99),
    ],
)
def test_bad_settings_are_named(name, value):
    with pytest.raises(ValueError, match=name):
        replace(SMALL, **{name: value})


def test_bands_that_drift(tmp_path):
    settings = replace(SMALL, flat_drift=0.02)
    bands = beamline.bands_of(settings, 4)
    light = np.concatenate([bands.light(k, slice(None)) for k in range(settings.scans)])
    np.testing.assert_allclose(light.mean(axis=(1, 2)), 1, atol=0.005)
    sizes = []
    for seed in range(40):  # of stationary states, the second of which comes and goes by this r.m.s. share
        states = beamline.bands_of(replace(settings, angles=3), seed).states
        sizes.append(np.mean(states[..., 1] ** 2))
    assert 0.7 < np.sqrt(np.mean(sizes)) < 1.3
    assert np.abs(np.diff(light, axis=0))[: settings.angles].std() < 0.5 * light.std()  # slow against a projection
    longer = beamline.bands_of(replace(settings, scans=5), 4)
    assert np.array_equal(longer.states[:3], bands.states)
    assert beamline.bands_of(SMALL, 4) is None
    with pytest.raises(ValueError, match="flat_drift is"):
        replace(SMALL, flat_drift=0.2)


def test_flats_with_the_first_scan_only(series, tmp_path):
    drifting = simulate(tmp_path, settings=replace(SMALL, flat_drift=0.02, flats_of_first=True), seed=4)
    truth = json.loads((drifting.truth / "truth.json").read_text())["bands"]
    assert np.shape(truth["amount"]) == np.shape(truth["rows_moved"]) == (3, SMALL.angles + 2)
    for k, (path, steady) in enumerate(zip(drifting.scans, series.scans, strict=True)):
        data, keys, angles = read(path)
        other, other_keys, _ = read(steady)
        assert (keys == 1).sum() == (8 if k == 0 else 0)
        assert len(data) == len(keys) == len(angles)
        change = data[keys == 0].sum(axis=0)[:, :4].sum(axis=1) / other[other_keys == 0].sum(axis=0)[:, :4].sum(axis=1)
        assert 0.002 < change.std() < 0.08


def test_a_cell_that_drifts_within_a_scan(tmp_path):
    settings = replace(SMALL, scans=1, drift_voxels=2.0).ideal()
    made = [simulate(tmp_path / str(d), settings=replace(settings, drift_voxels=d), seed=4) for d in (0.0, 2.0)]
    path = json.loads((made[1].truth / "truth.json").read_text())["drift_voxels"]
    assert path[0] == 0
    assert path[-1] == pytest.approx(2.0)
    assert (np.diff(path) > 0).all()
    still, moved = (data[keys == 0].astype(float) for data, keys, _ in (read(each.scans[0]) for each in made))
    assert np.array_equal(still[0], moved[0])
    np.testing.assert_allclose(moved[-1, 4:, 4:], still[-1, 2:-2, 2:-2], rtol=0.02)
