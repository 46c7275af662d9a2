"""The stage on volumes written into a store by hand: tables, conventions, what fails, what is cached."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from xct_pipeline.boxes import Region
from xct_pipeline.config import Registration
from xct_pipeline.engine.blocks import BlockOp, Pass
from xct_pipeline.engine.execution import run_passes
from xct_pipeline.engine.resources import Resources
from xct_pipeline.registration import transform as tf
from xct_pipeline.registration.levels import RegistrationError
from xct_pipeline.registration.steps import grey, stage, warp
from xct_pipeline.store.files import read_attributes
from xct_pipeline.store.image import Image, level_count
from xct_pipeline.store.opened import open_image
from xct_pipeline.store.store import Store
from xct_pipeline.threads import Shared

VOXEL_UM = 2.5
N = 64
LIMITS = Resources(2, 4 * 2**30)
MASK = {"min_attenuation": 3.0}
COLUMNS = [
    "scan",
    "gain",
    "offset",
    "residual",
    "tre_self",
    "iterations",
    *(f"m{i}{j}" for i in range(3) for j in range(4)),
]


@dataclass(frozen=True)
class ArraySource:
    """A volume in memory."""

    values: np.ndarray

    def read(self, region: Region) -> np.ndarray:
        return self.values[region]

    def nbytes(self, region: Region) -> int:
        return 4 * int(np.prod([part.stop - part.start for part in region]))


def _same(block: Any, before: Region, after: Region) -> Any:
    del before, after
    return block


def put(store: Store, name: str, values: np.ndarray, voxel_um: float = VOXEL_UM) -> None:
    """Write a volume as the reconstruction leaves it."""
    shape = values.shape
    image = Image(
        f"scans/{name}/volume",
        ("z", "y", "x"),
        shape,
        "float32",
        "1/cm",
        32,
        level_count(shape, 32),
        voxel_um,
        (0.0, 0.0, 0.0),
    )
    inputs = {"sum": float(values.sum(dtype=np.float64))}
    step = Pass(image, ArraySource(values), (BlockOp("same", 1, _same),), (32, *shape[1:]), (0, 0, 0), inputs)
    (done,) = run_passes(store, [step], LIMITS)
    assert done.problem is None


def make_store(folder, volumes: dict[str, np.ndarray]) -> Store:
    store = Store(folder)
    store.claim({name: [f"{name}.nxs"] for name in volumes})
    for name, values in volumes.items():
        put(store, name, values)
    return store


def cell(motion: np.ndarray, seed: int, loss: float = 0.0, fragment: np.ndarray | None = None) -> np.ndarray:
    """Draw a porous ceramic slab with a loose ball beside it, under an anode that loses attenuation, in gas."""
    back = tf.invert(motion)
    index = np.indices((N, N, N), dtype=np.float64)
    p = np.moveaxis(tf.apply(back, np.moveaxis(index, 0, -1)), -1, 0)
    middle = (N - 1) / 2

    def solid(distance):
        return 0.5 * (1 - np.tanh(1.2 * distance))

    radius = np.hypot(p[1] - middle, p[2] - middle)
    body = solid(radius - 24)
    ceramic = body * solid(np.abs(p[0] - 20) - 10)
    rng = np.random.default_rng(0)
    for c in rng.uniform([11, 12, 12], [29, 52, 52], (40, 3)):
        ceramic = ceramic * (1 - solid(np.sqrt(((p.T - c).T ** 2).sum(axis=0)) - 3.0))
    anode = body * solid(np.abs(p[0] - 39.5) - 9)
    f = fragment if fragment is not None else tf.identity()
    q = np.moveaxis(tf.apply(tf.invert(f), np.moveaxis(p, 0, -1)), -1, 0)
    shell = [(52.0, 26.0, 30.0, 5.5), (52.0, 38.0, 34.0, 4.0), (53.0, 30.0, 42.0, 3.5)]
    balls = sum(solid(np.sqrt(sum((q[k] - s[k]) ** 2 for k in range(3))) - s[3]) for s in shell)
    values = 5.0 * ceramic + (1.0 - loss) * anode + 2.0 * balls
    return (values + 0.05 * np.random.default_rng(seed).normal(size=values.shape)).astype(np.float32)


MIDDLE = [(N - 1) / 2] * 3
MOTION = tf.rigid(np.deg2rad([0.7, -0.4, 0.5]), [1.37, -2.61, 0.83], MIDDLE)
FRAGMENT = tf.rigid(np.deg2rad([2.0, 1.0, -1.0]), [0.6, -0.4, 4.9], [52, 31, 35])


@pytest.fixture(scope="module")
def series(tmp_path_factory):
    """The reference second; the first scan is dimmer, the third is NaN where no other scan is."""
    volumes = {
        "early": ((cell(MOTION, 1, 0.3) - 0.1) / 1.05).astype(np.float32),
        "middle": cell(tf.identity(), 2),
        "late": cell(tf.translation([1.0, 2.0, -1.0]), 3, 0.5, FRAGMENT),
    }
    return make_store(tmp_path_factory.mktemp("series") / "store.zarr", volumes)


def settings(**values: Any) -> Registration:
    return Registration.model_validate({"reference": "middle", "mask": MASK, **values})


def run(store: Store, chosen: Registration, names=("early", "middle", "late"), problems=None):
    problems = problems or [None] * len(names)
    times = [100.0, None, 900.0][: len(names)]
    return stage.run(chosen, list(names), problems, times, store, LIMITS)


def matrix(row) -> np.ndarray:
    return row[[f"m{i}{j}" for i in range(3) for j in range(4)]].to_numpy(float).reshape(3, 4)


def test_table_and_series_have_their_conventions(series):
    run(series, settings())
    table = series.read_table("registration")
    assert list(table.columns[: len(COLUMNS)]) == COLUMNS
    assert list(table["scan"]) == ["early", "middle", "late"]
    reference = table.iloc[1]
    assert reference[["gain", "offset", "residual", "tre_self", "iterations"]].tolist() == [1, 0, 0, 0, 0]
    np.testing.assert_array_equal(matrix(reference), np.eye(3, 4))
    ceramic = np.argwhere(open_image(series.path / "scans/middle/volume").values > 3) * VOXEL_UM
    for k, motion in ((0, MOTION), (2, tf.translation([1.0, 2.0, -1.0]))):  # micrometre to micrometre, voxel 0 at 0
        apart = tf.largest_distance(matrix(table.iloc[k]), tf.voxels_to_um(motion, VOXEL_UM), ceramic)
        assert apart < 0.03 * VOXEL_UM
    assert table.loc[0, "gain"] == pytest.approx(1.05, abs=0.005)
    assert table.loc[0, "offset"] == pytest.approx(0.1, abs=0.01)
    image = open_image(series.path / "registered")
    values = image.values
    assert image.dims == ("t", "z", "y", "x")
    np.testing.assert_array_equal(values[1], open_image(series.path / "scans/middle/volume").values)
    inner = np.s_[12:28, 20:44, 20:44]
    assert abs(float(np.mean(values[0][inner] - values[1][inner]))) < 0.01  # gain and offset applied, once
    missing = [int(np.isnan(v).sum()) for v in values]
    assert table["without_data"].tolist() == missing
    assert missing[1] == 0 < missing[0]
    run(series, settings())  # finished shards are counted too
    assert series.read_table("registration")["without_data"].tolist() == missing


def test_a_shift_that_the_scans_do_not_show_is_left_and_told(tmp_path, caplog):
    draw = np.random.default_rng(4)
    rod = np.broadcast_to(draw.normal(size=(1, 20, 20)).repeat(2, 1).repeat(2, 2), (24, 40, 40))
    volumes = {k: (rod + 0.3 * draw.normal(size=rod.shape)).astype(np.float32) for k in ("a", "b")}
    store = make_store(tmp_path / "store.zarr", volumes)
    plain = {"reference": "a", "mask": "auto", "max_shift": 6.0, "calibration": {"method": "none"}}
    run(store, settings(**plain), ("a", "b"))
    row = store.read_table("registration").iloc[1]
    assert row["undetermined"] == "shift_z"
    assert row["undetermined_shift"] == pytest.approx(6 / np.sqrt(3))
    assert np.isnan(row["undetermined_turn"])
    assert row["tre_self"] < 0.2
    middle = (np.array(rod.shape) - 1) / 2 * VOXEL_UM
    assert abs((tf.apply(matrix(row), middle) - middle)[0]) < 0.05 * VOXEL_UM
    (told,) = [r.getMessage() for r in caplog.records if "does not determine" in r.getMessage()]
    assert told.startswith("b: ")
    assert "its shift along z" in told
    assert "3.5 voxels" in told
    assert 'registration.fix = ["shift_z"]' in told
    caplog.clear()
    run(store, settings(**plain, fix=["shift_z"]), ("a", "b"))
    assert store.read_table("registration")["undetermined"].isna().all()
    assert not [r for r in caplog.records if "does not determine" in r.getMessage()]


def test_own_error_is_half_the_distance_of_two_halves(series):
    run(series, settings())
    table = series.read_table("registration")
    assert (table["tre_self"][[0, 2]] > 0).all()
    assert (table["tre_self"][[0, 2]] < 0.03).all()
    assert (table["residual"][[0, 2]] < 0.2).all()


@pytest.mark.parametrize(
    "mask",
    [
        "auto",
        {"box": {"z": [5, 33], "y": [5, 59], "x": [5, 59]}},
        {"cylinder": {"z": [5, 33], "radius": 28}},
        {"min_attenuation": 3.0, "cylinder": {"z": [5, 33], "radius": 28}},
    ],
    ids=["auto", "box", "cylinder", "both"],
)
def test_every_mask_finds_the_motion(series, mask):
    fixed, moving = (stage.find_volume(series, name) for name in ("middle", "early"))
    found = stage.estimate_motion(settings(mask=mask), fixed, moving, series, LIMITS)
    points = np.argwhere(np.ones((2, 2, 2))) * 40.0 + 12
    assert tf.largest_distance(found.transform, MOTION, points) < 0.05


def test_named_regions_calibrate_and_the_third_is_a_check(series):
    regions = {
        "ceramic": {"box": {"z": [10, 31], "y": [18, 46], "x": [18, 46]}},
        "gas": {"box": {"z": [4, 60], "y": [4, 60], "x": [0, 6]}},
        "ball": {"box": {"z": [48, 57], "y": [22, 31], "x": [26, 35]}},
    }
    chosen = settings(calibration={"method": "regions", "regions": regions, "fitted": ["gas", "ceramic"]})
    fixed, moving = (stage.find_volume(series, name) for name in ("middle", "early"))
    found = stage.estimate_motion(chosen, fixed, moving, series, LIMITS)
    assert found.gain == pytest.approx(1.05, abs=4 * found.gain_sigma + 0.002)
    assert found.offset == pytest.approx(0.1, abs=4 * found.offset_sigma + 0.002)
    assert abs(found.check) < 4 * found.check_sigma + 0.01
    thin = {**regions, "gas": {"box": {"z": [4, 60], "y": [4, 60], "x": [0, 1]}}}
    with pytest.raises(RegistrationError, match="early: grey value of gas: the region has"):
        stage.estimate_motion(
            settings(calibration={"method": "regions", "regions": thin, "fitted": ["gas", "ceramic"]}),
            fixed,
            moving,
            series,
            LIMITS,
        )


def test_the_regions_of_the_reference_are_found_once_for_all_scans(series, monkeypatch):
    counted, find = [], grey._regions
    monkeypatch.setattr(grey, "_regions", lambda *given: counted.append(1) or find(*given))
    monkeypatch.setattr(grey, "FOUND", Shared(1))
    volumes = {name: stage.find_volume(series, name) for name in ("early", "middle", "late")}

    def gains(chosen, names):
        found = [stage.estimate_motion(chosen, volumes["middle"], volumes[name], series, LIMITS) for name in names]
        return [(one.gain, one.offset, one.gain_sigma) for one in found]

    both = gains(settings(smoothing=0.71), ("early", "late"))
    assert len(counted) == 1
    last = gains(settings(smoothing=0.71, max_rotation=14.5), ("late",))  # another key: found anew
    assert len(counted) == 2
    assert last == both[1:]


@pytest.mark.slow
def test_displacement_and_strain_on_nodes(series):
    run(series, settings(local={"window": 16, "spacing": 8}))
    table = series.read_table("displacement")
    assert set(table["scan"]) == {"early", "late"}
    rows = table[(table["scan"] == "early") & (table["status"] == "converged")]
    inside = rows[rows["z"].between(14, 26) & rows["y"].between(16, 48) & rows["x"].between(16, 48)]
    assert len(inside) > 10
    assert np.nanmedian(np.abs(inside[["dz", "dy", "dx"]])) < 0.03  # as rigid as it was made
    assert np.nanmedian(np.abs(inside["strain_xx"])) < 0.01
    again = series.read_table("displacement")
    run(series, settings(local={"window": 16, "spacing": 8}))
    assert again.equals(series.read_table("displacement"))


def test_a_fragment_is_registered_on_its_own(series):
    box = {"z": [50, 60], "y": [19, 44], "x": [23, 47]}
    nothing = {"cylinder": {"z": [60, 60], "radius": 3.0}}
    run(series, settings(fragments={"loose": {"box": box}, "nothing": nothing}))
    table = series.read_table("fragments").set_index(["fragment", "scan"])
    late, early = table.loc[("loose", "late")], table.loc[("loose", "early")]
    middle = late[["z", "y", "x"]].to_numpy(float)
    expected = tf.apply(FRAGMENT, middle) - middle
    np.testing.assert_allclose(late[["dz", "dy", "dx"]].to_numpy(float), expected, atol=0.04)
    turned = late[["rotation_z", "rotation_y", "rotation_x"]].to_numpy(float)
    np.testing.assert_allclose(turned, [2.0, 1.0, -1.0], atol=0.3)
    np.testing.assert_allclose(early[["dz", "dy", "dx"]].to_numpy(float), 0.0, atol=0.04)
    whole = tf.compose(tf.translation([1.0, 2.0, -1.0]), FRAGMENT)
    point = middle * VOXEL_UM
    np.testing.assert_allclose(
        tf.apply(matrix(late), point), tf.apply(tf.voxels_to_um(whole, VOXEL_UM), point), atol=0.1
    )
    assert "none of the 64x64x64 voxels" in table.loc[("nothing", "late"), "problem"]


def test_same_bits_for_any_thickness_of_the_shards(series, tmp_path, monkeypatch):
    run(series, settings())
    values = open_image(series.path / "registered").values
    names = ("early", "middle", "late")
    other = make_store(
        tmp_path / "other.zarr", {n: open_image(series.path / f"scans/{n}/volume").values for n in names}
    )
    before = read_attributes(series.path / "registered")["xct"]["identity"]["layout"]["thickness"]
    monkeypatch.setattr(warp, "shard_thickness", lambda shape: 4 * before)
    run(other, settings())
    assert read_attributes(other.path / "registered")["xct"]["identity"]["layout"]["thickness"] == 4 * before
    np.testing.assert_array_equal(open_image(other.path / "registered").values.view(np.uint32), values.view(np.uint32))


def test_what_fails_names_the_scan_and_leaves_the_others(series, tmp_path, caplog):
    volumes = {n: open_image(series.path / f"scans/{n}/volume").values for n in ("early", "middle", "late")}
    store = make_store(tmp_path / "store.zarr", volumes)
    put(store, "short", volumes["late"][:48])
    put(store, "coarse", volumes["late"], voxel_um=5.0)
    put(store, "elsewhere", np.random.default_rng(8).normal(size=(N, N, N)).astype(np.float32))
    gone = np.full((N, N, N), np.nan, np.float32)
    gone[-2:] = 0.0
    put(store, "gone", gone)
    names = ["early", "middle", "short", "coarse", "elsewhere", "gone", "raw"]
    result = stage.run(settings(), names, [None] * 6 + ["raw: its flats are missing"], [None] * 7, store, LIMITS)
    problems = {motion.name: motion.problem for motion in result.motions}
    assert problems["early"] is problems["middle"] is None
    assert "short: its shape is (48, 64, 64) but that of the reference middle is (64, 64, 64)" in problems["short"]
    assert "coarse: its voxel size is 5.0 but that of the reference middle is 2.5" in problems["coarse"]
    assert problems["elsewhere"].startswith("elsewhere: ")
    assert "gone: the volumes overlap on 0 % of the mask" in problems["gone"]
    table = store.read_table("registration")
    assert list(table["scan"]) == names
    bad = table[table["problem"].notna()]
    assert list(bad["scan"]) == names[2:]
    assert bad[["gain", "m00", "m03", "tre_self"]].isna().all(axis=None)
    assert (bad["without_data"] == N**3).all()
    values = open_image(store.path / "registered").values
    assert np.isnan(values[2:]).all()
    np.testing.assert_array_equal(values[0], open_image(series.path / "registered").values[0])


def test_unusable_masks_and_references(series):
    fixed, moving = (stage.find_volume(series, name) for name in ("middle", "early"))

    def estimate(**values: Any) -> Any:
        return stage.estimate_motion(settings(**values), fixed, moving, series, LIMITS)

    for values, words in (
        ({"mask": {"min_attenuation": 100.0}}, "early: the mask is empty: none of"),
        ({"mask": {"label": "ceramic"}}, "early: mask label ceramic: no labels yet"),
        ({"max_shift": 0.5}, r"early: the motion is beyond the search range: the mask's centre moves by 3\.\d voxels"),
        ({"max_rotation": 0.2}, r"early: the motion is beyond the search range: it turns by 0\.9"),
    ):
        with pytest.raises(RegistrationError, match=words):
            estimate(**values)
    with pytest.raises(RegistrationError, match="reference = 'noon' is no scan; there are early, middle, late"):
        run(series, settings(reference="noon"))
    with pytest.raises(RegistrationError, match="reference = 5 but there are 3 scans, counted from 0"):
        run(series, settings(reference=5))
    with pytest.raises(RegistrationError, match="the reference middle cannot be used: middle: torn"):
        run(series, settings(), problems=[None, "middle: torn", None])
