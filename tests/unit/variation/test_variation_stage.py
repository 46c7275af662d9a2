"""The stage on a small registered series whose change of attenuation is known in every voxel."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from stored_series import LIMITS, VOXEL, reference_volume, same, write_image

from xct_pipeline.boxes import Region, size_of
from xct_pipeline.config.file import parse_config
from xct_pipeline.engine.blocks import BlockOp, Pass
from xct_pipeline.engine.execution import run_passes
from xct_pipeline.registration import transform as tf
from xct_pipeline.registration.steps.stage import Motion
from xct_pipeline.store.files import read_attributes, write_group
from xct_pipeline.store.image import Image, level_count
from xct_pipeline.store.labels import LABELS
from xct_pipeline.store.opened import open_image
from xct_pipeline.store.store import Store
from xct_pipeline.variation import alloy
from xct_pipeline.variation import faraday as ec
from xct_pipeline.variation.attenuation import mass_attenuation
from xct_pipeline.variation.closures import CLOSURES, Given, dual_energy
from xct_pipeline.variation.steps import physics, stage
from xct_pipeline.variation.steps.physics import physics_of

SHAPE = (40, 56, 60)
NOISE = 0.02
NAMES = ("scan_00", "scan_01", "scan_02", "scan_03")
REGION = {"cylinder": {"z": [14, 30], "radius": 20.0}}
ANODE = {"w_host": 0.5, "filling": 0.9, "carbon_fraction": 0.1, "loading_mg": 0.05}
K_NA, K_K = mass_attenuation("Na", 50.0), mass_attenuation("K", 50.0)
TO_MG = (VOXEL * 1e-4) ** 3 * 1e3


def region_mask() -> np.ndarray:
    z, y, x = np.ogrid[: SHAPE[0], : SHAPE[1], : SHAPE[2]]
    return (z >= 14) & (z < 30) & ((y - 27.5) ** 2 + (x - 29.5) ** 2 < 20.0**2)


def change(t: int) -> np.ndarray:
    """Change of attenuation of scan `t` against scan 0: falling in the anode, more in one half than in the other."""
    part = np.where(region_mask(), -0.03 * t, 0.0)
    part[:, :, 30:] *= 5 / 3
    return part


def volumes(noise: float = NOISE, changes=change, seed: int = 0) -> list[np.ndarray]:
    """Ceramic below plane 10, metal above it; white noise of its own in each scan."""
    generator = np.random.default_rng(seed)
    still = np.full(SHAPE, 0.5)
    still[:10] = 7.5
    return [(still + changes(t) + generator.normal(0, noise, SHAPE)).astype(np.float32) for t in range(len(NAMES))]


def series_of(
    store: Store, values: list[np.ndarray], failed: tuple[int, ...] = (), reference: int = 0
) -> stage.RegisteredSeries:
    store.claim({name: [name] for name in NAMES})
    empty = np.full(SHAPE, np.nan, np.float32)
    write_image(store, "registered", [empty if k in failed else v for k, v in enumerate(values)], "1/cm")
    motions = tuple(Motion(name, np.eye(3, 4)) for name in NAMES)
    return stage.RegisteredSeries(NAMES, failed, reference, reference_volume(SHAPE), motions, (None,) * len(NAMES))


def config_of(store: Store, registration: dict | None = None, **variation):
    data = {"closure": "na_only", "region": REGION, "energy_keV": 50.0, **variation}
    return parse_config(
        {
            "output": str(store.path),
            "acquisition": {"scans": ["*.nxs"], "pixel_size_um": VOXEL},
            "registration": registration or {"mask": {"min_attenuation": 4.0}},
            "variation": data,
            "store": {"precision": "float32"},
        }
    )


def run(folder: Path, values=None, failed=(), reference=0, **variation) -> Store:
    store = Store(folder / "store.zarr")
    series = series_of(store, volumes() if values is None else values, failed, reference)
    result = stage.run(config_of(store, **variation), series, store, LIMITS)
    assert not result.refused
    return store


def test_maps_and_tables_follow_from_the_voxels(tmp_path):
    store = run(
        tmp_path,
        bins=[8, 16, 16],
        surface_attenuation=4.0,
        regions={"left": {"box": {"z": [14, 30], "y": [20, 36], "x": [14, 30]}}},
    )
    values, mask = volumes(), region_mask()
    delta = np.stack([v.astype(np.float64) - values[0] for v in values])
    table = store.read_table("mass_balance")
    assert list(table["scan"]) == list(NAMES)
    expected = np.array([d[mask].sum() for d in delta]) / K_NA * TO_MG
    np.testing.assert_allclose(table["mass_change_mg"], expected, rtol=1e-6, atol=1e-12)
    areal = open_image(store.path / "variation/areal").values
    columns = mask.any(axis=0)
    assert np.isfinite(areal[:, columns]).all()
    assert np.isnan(areal[:, ~columns]).all()
    want = np.where(mask, delta[3], 0).sum(axis=0)[columns] / K_NA * VOXEL * 1e-4 * 1e3
    np.testing.assert_allclose(areal[3][columns], want, rtol=1e-5)
    step = table["mass_change_mg"].diff()[1:]
    np.testing.assert_allclose(table["mass_change_consecutive_mg"][1:], step, rtol=1e-6)
    left = store.read_table("region_totals")
    box = (slice(14, 30), slice(20, 36), slice(14, 30))
    np.testing.assert_allclose(left["mass_change_mg"], [d[box].sum() / K_NA * TO_MG for d in delta], rtol=1e-6)
    assert (left["sigma_mg"][1:] > 0).all()
    depth = store.read_table("depth_profile").query("scan == 'scan_03'").set_index("depth_um")
    layer = delta[3][16][mask[16]].mean() / K_NA
    assert depth.loc[65.0, "density_g_cm3"] == pytest.approx(layer, rel=1e-6)  # plane 16 lies 6 planes above plane 9
    bins = store.read_table("bins").query("scan == 'scan_03' and z == 2 and y == 1 and x == 1")
    part = (slice(16, 24), slice(16, 32), slice(16, 32))
    assert bins["density_g_cm3"].item() == pytest.approx(delta[3][part][mask[part]].mean() / K_NA, rel=1e-6)


def test_limits_per_area_come_from_what_stays_where_nothing_changes(tmp_path):
    table = run(tmp_path).read_table("mass_balance")
    null = np.sqrt((table[["sigma_noise_mg", "sigma_registration_mg", "sigma_calibration_mg"]] ** 2).sum(axis=1))
    area = region_mask().any(axis=0).sum() * (VOXEL * 1e-4) ** 2
    np.testing.assert_allclose(table["decision_limit_mg_cm2"], 1.645 * null / area, rtol=1e-6)
    np.testing.assert_allclose(table["detection_limit_mg_cm2"], 3.29 * null / area, rtol=1e-6)
    np.testing.assert_allclose(table["voxel_sigma_g_cm3"][1:], np.sqrt(2) * NOISE / K_NA, rtol=0.03)


def test_profiles_bins_and_materials_have_honest_errors(tmp_path):
    still = volumes(changes=lambda t: np.zeros(SHAPE), seed=5)
    store = Store(tmp_path / "store.zarr")
    series = series_of(store, still)
    labels = np.ones(SHAPE, np.uint8)
    labels[:, :, 30:] = 2
    labels[20:23, ::3] = 3
    write_image(store, "registered/labels/materials", [labels] * len(NAMES), "1", labels=True)
    set_names(store, {1: "west", 2: "east", 3: "sheets"})
    stage.run(config_of(store, bins=[8, 8, 8], surface_attenuation=4.0), series, store, LIMITS)
    for name in ("depth_profile", "radial_profile", "bins"):
        table = store.read_table(name).query("scan != 'scan_00'")
        pull = table["density_g_cm3"] / table["sigma_density_g_cm3"]
        assert 0.75 < np.sqrt((pull**2).mean()) < 1.25, name
        assert len(pull) >= 45
    table = store.read_table("material_totals")
    assert set(table["material"]) == {"west", "east", "sheets"}
    changed = table.query("scan != 'scan_00'")
    assert np.sqrt(((changed["mass_change_mg"] / changed["sigma_mg"]) ** 2).mean()) < 1.8
    white = NOISE * np.sqrt(2 * changed["voxels"]) / K_NA * TO_MG
    np.testing.assert_allclose(changed["sigma_mg"], white, rtol=0.25)  # measured in 30,000 voxels
    whole = store.read_table("mass_balance").set_index("scan")["mass_change_mg"]
    total = changed.groupby("scan")["mass_change_mg"].sum()
    np.testing.assert_allclose(total, whole[total.index], rtol=1e-6, atol=1e-12)


def set_names(store: Store, names: dict[int, str]) -> None:
    attributes = read_attributes(store.path / LABELS)
    attributes["xct"]["names"] = {str(k): v for k, v in names.items()}
    write_group(store.path / LABELS, attributes)


@pytest.mark.parametrize("name", ["const_k", "filled", "same_composition", "well_mixed"])
def test_every_closure_maps_what_its_formula_says(tmp_path, name):
    charge = [0.0, 5.0e-3, 1.0e-2, 1.5e-2]
    compositions = (
        [alloy.composition_after(0.5, 0.05, q * 0.23827e-3 * 1e3) for q in charge]
        if (name == "well_mixed")
        else [None] * 4
    )
    store, values = Store(tmp_path / "store.zarr"), volumes()
    config = config_of(store, closure=name, anode=ANODE)
    config = with_log(config, tmp_path, charge) if name == "well_mixed" else config
    series = series_of(store, values)
    if name == "well_mixed":
        series = replace(series, scans=timed_scans())
    result = stage.run(config, series, store, LIMITS)
    assert not result.refused
    anode = physics_of(config.variation, ()).anode
    density = open_image(store.path / "variation/density").values
    steps = open_image(store.path / "variation/density_consecutive").values
    assert not density[0].any()
    for t in (1, 2, 3):
        delta = values[t] - values[0]
        want = CLOSURES[name].change(delta, anode, Given(compositions[t])).species
        np.testing.assert_allclose(density[t], want, atol=2e-5)
        np.testing.assert_allclose(steps[t], density[t] - density[t - 1], atol=1e-4)
    mask = region_mask()
    columns = mask.any(axis=0)
    areal = open_image(store.path / "variation/areal").values
    difference = open_image(store.path / "variation/areal_consecutive").values
    np.testing.assert_allclose(
        difference[3][columns], (areal[3] - areal[2])[columns], atol=2e-5 * np.abs(areal[3][columns]).max()
    )
    if name != "filled":
        want = np.where(mask, density[3].astype(np.float64), 0).sum(axis=0)[columns] * VOXEL * 0.1
        np.testing.assert_allclose(areal[3][columns], want, rtol=1e-3, atol=1e-4)


def timed_scans():
    from datetime import UTC, datetime, timedelta

    from xct_pipeline.scan import ArrayFrames, Scan

    begin = datetime(2026, 5, 1, 10, tzinfo=UTC)
    frames = ArrayFrames(np.ones((2, 2, 2), np.uint16))
    return tuple(
        Scan(name, frames, np.zeros(2), pixel_size_um=VOXEL, energy_keV=50.0, start=begin + timedelta(seconds=1000 * k))
        for k, name in enumerate(NAMES)
    )


def with_log(config, folder: Path, charge: list[float], **more):
    pd.DataFrame({"time_s": [1000.0 * k for k in range(len(charge))], "charge_C": charge}).to_csv(
        folder / "log.csv", index=False
    )
    data = config.model_dump(exclude_none=True)
    data["electrochemistry"] = {"log": str(folder / "log.csv"), "time": "time_s", "charge": "charge_C", **more}
    return parse_config(data)


def test_a_scan_that_failed_has_a_row_and_no_mass(tmp_path):
    store = run(tmp_path, failed=(1,), surface_attenuation=4.0, regions={"all": REGION})
    table = store.read_table("mass_balance").set_index("scan")
    assert list(table.index) == list(NAMES)
    assert table.loc["scan_01", ["mass_change_mg", "sigma_mg"]].isna().all()
    assert table.loc[["scan_00", "scan_02", "scan_03"], "mass_change_mg"].notna().all()
    assert table.loc["scan_02", "mass_change_consecutive_mg"] == pytest.approx(table.loc["scan_02", "mass_change_mg"])
    for path in ("attenuation", "density", "areal", "areal_sigma", "attenuation_consecutive", "density_consecutive"):
        image = open_image(store.path / "variation" / path).values
        assert np.isnan(image[1]).all(), path
        assert np.isfinite(image[2]).any(), path
    assert "scan_01" not in set(store.read_table("depth_profile")["scan"])


def test_another_reference_keeps_the_order_and_has_zeros_in_its_row(tmp_path):
    store = run(tmp_path, reference=2)
    table = store.read_table("mass_balance").set_index("scan")
    assert list(table.index) == list(NAMES)
    assert table.loc["scan_02", ["mass_change_mg", "sigma_mg"]].eq(0).all()
    assert table.loc["scan_00", "mass_change_mg"] > 0 > table.loc["scan_03", "mass_change_mg"]
    density = open_image(store.path / "variation/density").values
    assert not density[2].any()


def test_swapping_reference_and_moving_flips_the_sign(tmp_path):
    first = run(tmp_path / "a", reference=0)
    last = run(tmp_path / "b", reference=3)
    there = open_image(first.path / "variation/attenuation").values[3]
    back = open_image(last.path / "variation/attenuation").values[0]
    np.testing.assert_array_equal(there, -back)
    masses = [
        first.read_table("mass_balance")["mass_change_mg"][3],
        last.read_table("mass_balance")["mass_change_mg"][0],
    ]
    assert masses[0] == pytest.approx(-masses[1], rel=1e-12)


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Store:
    return run(tmp_path_factory.mktemp("whole"), bins=[8, 16, 16], surface_attenuation=4.0)


@pytest.mark.parametrize("slab", [32, 64, pytest.param(16, marks=pytest.mark.slow)])
def test_maps_do_not_depend_on_the_size_of_blocks(tmp_path, slab, monkeypatch, whole):
    """Sums over slabs of 16 planes, of 32 and of all planes; tasks of a part of a plane."""
    from xct_pipeline.variation.steps import images as stage_images
    from xct_pipeline.variation.steps import sums as stage_sums

    monkeypatch.setattr("xct_pipeline.variation.steps.series.SLAB", slab)
    monkeypatch.setattr(stage_sums, "PIECE", 3)
    monkeypatch.setattr("xct_pipeline.variation.steps.series.ROWS", 19)
    monkeypatch.setattr(stage_images, "GRANULE", (min(slab, 40), 32, 64) if slab == 32 else (13, 29, 31))
    parts = run(tmp_path / "b", bins=[8, 16, 16], surface_attenuation=4.0)
    for path in ("attenuation", "density", "flags", "areal", "areal_sigma", "areal_consecutive", "density_consecutive"):
        a, b = (open_image(s.path / "variation" / path).values for s in (whole, parts))
        np.testing.assert_allclose(b, a, rtol=1e-6, atol=1e-6 * np.nanmax(np.abs(a)), err_msg=path)
    for name in ("mass_balance", "depth_profile", "radial_profile", "bins"):
        a, b = (s.read_table(name).select_dtypes("number") for s in (whole, parts))
        np.testing.assert_allclose(b, a, rtol=1e-6, atol=1e-12, err_msg=name)


def test_two_energies_give_both_components_in_maps_and_totals(tmp_path):
    """Na leaves where K enters: one energy alone would be wrong by far."""
    mask = region_mask()
    sodium, potassium = np.where(mask, -0.2, 0.0), np.where(mask, 0.1, 0.0)
    potassium[:, :, :30] = 0
    stores = []
    for energy, name in ((30.0, "low"), (80.0, "high")):
        k = [mass_attenuation(s, energy) for s in ("Na", "K")]
        values = volumes(1e-3, lambda t, k=k: (sodium * k[0] + potassium * k[1]) * t, seed=int(energy))
        stores.append(Store(tmp_path / f"{name}.zarr"))
        series = series_of(stores[-1], values)
        stores[-1].write_table("registration", motion_rows())
        describe_volume(stores[-1])
        more = {"closure": "dual_energy", "second_store": str(stores[0].path), "second_energy_keV": 30.0}
        config = config_of(stores[-1], energy_keV=energy, **(more if name == "high" else {}))
        result = stage.run(config, series, stores[-1], LIMITS)
        assert not result.refused
    table = stores[1].read_table("mass_balance")
    want = np.array([sodium[mask].sum() * t * TO_MG for t in range(4)])
    assert (np.abs(table["mass_change_mg"] - want)[1:] < 4 * table["sigma_noise_mg"][1:]).all()
    np.testing.assert_allclose(table["mass_change_mg"][1:], want[1:], rtol=0.02)
    density = open_image(stores[1].path / "variation/density").values
    assert density[3][mask].mean() == pytest.approx(-0.6, rel=0.01)
    steps = open_image(stores[1].path / "variation/density_consecutive").values
    assert steps[3][mask].mean() == pytest.approx(-0.2, rel=0.02)
    areal = open_image(stores[1].path / "variation/areal").values
    assert np.nanmean(areal[3]) == pytest.approx(-0.6 * 16 * VOXEL * 0.1, rel=0.02)
    inverse = dual_energy.dual_energy_inverse(
        tuple((mass_attenuation("Na", e), mass_attenuation("K", e)) for e in (80.0, 30.0))
    )
    sigma = np.hypot(*inverse[0]) * 1e-3 * np.sqrt(2) * np.sqrt(mask.sum()) * TO_MG
    np.testing.assert_allclose(table["sigma_noise_mg"][1:], sigma, rtol=0.15)


def motion_rows() -> pd.DataFrame:
    return pd.DataFrame(
        [
            {"scan": n, "gain_sigma": 0.0, "offset_sigma": 0.0, "tre_self": 0.0, "problem": None}
            | tf.to_row(tf.identity())
            for n in NAMES
        ]
    )


def describe_volume(store: Store) -> None:
    """A finished volume of the reference, as the second energy's run would find it."""
    image = Image("scans/scan_00/volume", ("z", "y", "x"), SHAPE, "float32", "1/cm", 16, level_count(SHAPE, 16), VOXEL)
    data = np.zeros(SHAPE, np.float32)

    @dataclass(frozen=True)
    class Still:
        def read(self, region: Region) -> np.ndarray:
            return data[region]

        def nbytes(self, region: Region) -> int:
            return size_of(region) * 4

    run_passes(store, [Pass(image, Still(), (BlockOp("copy", 1, same),), SHAPE, (0, 0, 0), {})], LIMITS)


def test_a_second_energy_of_another_size_is_an_error(tmp_path):
    other = Store(tmp_path / "other.zarr")
    series = series_of(other, volumes())
    stage.run(config_of(other), series, other, LIMITS)
    store = Store(tmp_path / "store.zarr")
    config = config_of(store, closure="dual_energy", second_store=str(other.path), second_energy_keV=30.0)
    with pytest.raises(ValueError, match="holds 4 scans of 40 x 56 x 60 voxels, this run 3 of 40 x 56 x 60"):
        stage.check(config, (None,) * 3, SHAPE)


def test_an_empty_label_is_an_error_before_any_density(tmp_path):
    store = Store(tmp_path / "store.zarr")
    series = series_of(store, volumes())
    write_image(store, "registered/labels/materials", [np.ones(SHAPE, np.uint8)] * 4, "1", labels=True)
    set_names(store, {1: "metal", 2: "void"})
    with pytest.raises(ValueError, match="holds no voxel"):
        stage.run(config_of(store, region={"label": "void"}), series, store, LIMITS)
    assert not (store.path / "variation/density").exists()


def test_the_factor_of_interpolation_is_told(tmp_path):
    from xct_pipeline.variation.steps.physics import interpolation_of

    store = Store(tmp_path / "store.zarr")
    series = series_of(store, volumes())
    moved = np.eye(3, 4)
    moved[:, 3] = (1.5, -0.63, 2.21)  # from the voxel (21, 27, 29) to fractions of 0.5, 0.37 and 0.21
    motions = (*series.motions[:2], Motion("scan_02", moved), series.motions[3])
    from dataclasses import replace

    factors = interpolation_of(config_of(store), replace(series, motions=motions), range(14, 30))
    assert factors == pytest.approx([1, 1, 0.73, 1], abs=0.006)


@pytest.mark.parametrize("leakage", [None, 0.05, "fit"])
def test_leakage_of_the_host_needs_no_composition(tmp_path, leakage):
    """Masses as if 5 % of the charge were carried by K, which looks 5.3 times as heavy."""
    store = Store(tmp_path / "store.zarr")
    ratio = ec.apparent_ratio(K_NA, K_K)
    lost = np.array([change(t)[region_mask()].sum() / K_NA * TO_MG for t in range(4)])
    charge = ec.charge_of(-lost) * ec.COULOMB_PER_MAH / (1 + 0.05 * (ratio - 1))
    more = {} if leakage is None else {"leakage": leakage}
    config = with_log(config_of(store), tmp_path, list(charge), **more)
    series = replace(series_of(store, volumes(1e-3)), scans=timed_scans())
    result = stage.run(config, series, store, LIMITS)
    found = store.read_table("faraday").set_index("quantity")
    slope = 1.0 if leakage == 0.05 else 1 + 0.05 * (ratio - 1)
    assert found.loc["slope", "value"] == pytest.approx(slope, rel=2e-3)
    assert bool(result.warnings) == (leakage is None)
    if leakage is not None:
        assert found.loc["leakage", "value"] == pytest.approx(0.05, abs=1e-3)


def test_a_bend_of_grey_values_is_in_every_mass_and_once_in_the_slope(tmp_path, monkeypatch):
    charge = ec.charge_of([-change(t)[region_mask()].sum() / K_NA * TO_MG for t in range(4)]) * ec.COULOMB_PER_MAH
    slopes = []
    for bent in (0.0, 0.05):
        monkeypatch.setattr(physics, "relative_error", lambda series, pair, bent=bent: bent)
        store = Store(tmp_path / f"{bent}.zarr")
        series = replace(series_of(store, volumes(1e-3)), scans=timed_scans())
        stage.run(with_log(config_of(store, table_error=0.001), tmp_path, list(charge)), series, store, LIMITS)
        table = store.read_table("mass_balance")
        np.testing.assert_allclose(table["sigma_linearity_mg"], bent * table["mass_change_mg"].abs(), rtol=1e-6)
        slopes.append(store.read_table("faraday").set_index("quantity").loc["slope"])
    assert slopes[1]["value"] == pytest.approx(slopes[0]["value"], rel=1e-9)
    assert slopes[1]["sigma"] == pytest.approx(np.hypot(slopes[0]["sigma"], 0.05 * slopes[0]["value"]), rel=1e-3)


def test_scans_declared_unchanged_test_the_errors(tmp_path):
    """Errors that the scatter of unchanged scans exceeds grow by what it tells; else they stay."""
    still = volumes(changes=lambda t: 0 * change(1))
    quiet = run(tmp_path / "quiet", still, null=list(NAMES))
    found = quiet.read_table("null").set_index("quantity")["value"]
    assert (found["degrees"], found["applied"]) == (3, 1)
    plain = quiet.read_table("mass_balance")["sigma_noise_mg"]
    loud = run(tmp_path / "loud", volumes(), null=["scan_01", "scan_02", "scan_03"])  # which did change
    found = loud.read_table("null").set_index("quantity")["value"]
    assert found["degrees"] == 2
    assert found["applied"] == found["factor"] > 2
    told = loud.read_table("mass_balance")["sigma_noise_mg"]
    np.testing.assert_allclose(told[1:], found["factor"] * plain[1:], rtol=0.2)
    with pytest.raises(ValueError, match=r"variation.null names scan_7; the scans are"):
        run(tmp_path / "unknown", volumes(), null=["scan_00", "scan_7"])
    with pytest.raises(ValueError, match=r"variation.null names scan_01 only"):
        run(tmp_path / "alone", volumes(), null=["scan_01"])
