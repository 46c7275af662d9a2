"""Segmentation of a small registered series whose labels, objects and interface are known."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import scipy.ndimage
import tifffile
import zarr
from ome_zarr_models.v05.image_label import ImageLabel
from ome_zarr_models.v05.labels import Labels
from stored_series import LIMITS, VOXEL, reference_volume, write_image
from yaozarrs import v05

from xct_pipeline.boxes import cut, size_of, widen
from xct_pipeline.config.file import ConfigError, parse_config
from xct_pipeline.engine.execution import image_identity
from xct_pipeline.engine.resources import Resources
from xct_pipeline.segmentation.steps import labels as labels_step
from xct_pipeline.segmentation.steps import series as stage_series
from xct_pipeline.segmentation.steps import stage, thresholds
from xct_pipeline.segmentation.steps.objects import objects_path
from xct_pipeline.store.files import read_attributes
from xct_pipeline.store.image import shard_thickness
from xct_pipeline.store.labels import LABELS, label_values
from xct_pipeline.store.labels_file import open_labels
from xct_pipeline.store.store import Store

SHAPE = (40, 48, 52)
VALUES = np.array([np.nan, 0.0, 0.6, 7.0], np.float32)
NAMES = ("scan_00", "scan_01", "scan_02")


def truth(metal_until: int = 34) -> np.ndarray:
    """Gas, a block of ceramic below z = 20, metal on one half of it in x, and voids in the metal."""
    labels = np.ones(SHAPE, np.uint8)
    labels[6:20, 6:42, 6:46] = 3
    labels[20:metal_until, 3:45, 3:26] = 2
    labels[24:30, 10:17, 10:17] = 1
    labels[24:30, 24:34, 12:22] = 1
    return labels


def attenuation(labels: np.ndarray, seed: int, noise: float = 0.05) -> np.ndarray:
    smooth = scipy.ndimage.gaussian_filter(VALUES[labels], 0.5)
    return (smooth + np.random.default_rng(seed).normal(0, noise, SHAPE)).astype(np.float32)


def series_store(folder: Path, volumes: list[np.ndarray], tag: int = 0) -> tuple[Store, stage.Facts]:
    store = Store(folder / "store.zarr")
    store.claim({name: [name] for name in NAMES[: len(volumes)]})
    failed = tuple(k for k, volume in enumerate(volumes) if not np.isfinite(volume).any())
    write_image(store, "registered", volumes, "1/cm", {"tag": tag})
    times = tuple(float(k) for k in range(len(volumes)))
    return store, stage.Facts(NAMES[: len(volumes)], failed, 0, reference_volume(volumes[0].shape), times)


def test_objects_of_two_materials_never_share_an_image() -> None:
    names = ["Na-K", "Na K", "Na_K", "na k", "Na.K", "NaK"]
    paths = {objects_path(name) for name in names}
    assert len(paths) == len(names)
    assert all(Path(path).parent == Path("registered/labels") for path in paths)
    assert objects_path("gas") == "registered/labels/objects_gas"


def config(store: Store, **segmentation):
    raw = {"output": "store.zarr", "acquisition": {"scans": ["a"]}, "segmentation": segmentation, "seed": 3}
    return parse_config(raw, store.path.parent)


@pytest.fixture
def series(tmp_path: Path) -> tuple[Store, stage.Facts]:
    later = attenuation(truth(32), 1)
    later[:, :, :3] = np.nan
    return series_store(tmp_path, [attenuation(truth(), 0), later, np.full(SHAPE, np.nan, np.float32)])


def labels_of(store: Store, path: str = "registered/labels/materials") -> np.ndarray:
    return zarr.open_array(str(store.path / path / "0"), mode="r")[:]


def same_share(found: np.ndarray, expected: np.ndarray) -> float:
    return float((found == expected).mean())


def test_default_labels_tables_and_metadata(series) -> None:
    store, facts = series
    result = stage.run(config(store), facts, store, LIMITS)
    assert result.warnings == ()
    labels = labels_of(store)
    assert labels.dtype == np.uint8
    assert labels.shape == (3, *SHAPE)
    assert same_share(labels[0], truth()) > 0.985
    assert not labels[2].any()
    np.testing.assert_array_equal(labels[1] == 0, np.isnan(zarr.open_array(str(store.path / "registered/0"))[1]))
    metal = labels[0] == 2
    assert metal[:19].sum() < 20  # no false layer of metal around the ceramic

    table = store.read_table("labels")
    assert list(table.columns[:6]) == ["scan", "label", "name", "voxels", "volume_mm3", "mean_attenuation"]
    assert table["scan"].tolist() == ["scan_00"] * 3 + ["scan_01"] * 3
    assert table["name"].tolist()[:3] == ["gas", "metal", "ceramic"]
    np.testing.assert_array_equal(table["voxels"][:3], np.bincount(labels[0].ravel(), minlength=4)[1:])
    np.testing.assert_allclose(table["volume_mm3"], table["voxels"] * 1e-6)
    data = zarr.open_array(str(store.path / "registered/0"))[0]
    np.testing.assert_allclose(table["mean_attenuation"][2], data[labels[0] == 3].mean(dtype=float), rtol=1e-6)
    units = json.loads((store.path / "tables/README.json").read_text())
    assert units["labels.csv"]["volume_mm3"]["unit"] == "mm3"
    assert units["interface.csv"]["fraction"]["unit"] == "1"


def test_metadata_is_valid_for_two_readers(series) -> None:
    store, facts = series
    stage.run(
        config(store, names=["gas", "nak", "nasicon"], colors=["#000000", "#ff8000", "#0000ff"]), facts, store, LIMITS
    )
    folder = store.path / "registered/labels"
    attributes = json.loads((folder / "materials/zarr.json").read_text())["attributes"]
    assert attributes["xct"]["names"] == {"1": "gas", "2": "nak", "3": "nasicon"}
    image = v05.LabelImage.model_validate(attributes["ome"])
    assert [color.rgba for color in image.image_label.colors][1][:3] == [255, 128, 0]
    assert {"label-value": 2, "name": "nak"} in attributes["ome"]["image-label"]["properties"]
    group = json.loads((folder / "zarr.json").read_text())["attributes"]["ome"]
    assert v05.LabelsGroup.model_validate(group).labels == ["materials", "objects_gas"]
    assert ImageLabel.from_zarr(zarr.open_group(str(folder / "materials"), mode="r"))
    assert Labels.from_zarr(zarr.open_group(str(folder), mode="r"))
    assert label_values(store, ["nak", "gas"]) == [2, 1]
    with pytest.raises(ValueError, match=r"'void'.*gas \(1\), nak \(2\), nasicon \(3\)"):
        label_values(store, ["void"])


def test_without_labels_the_message_says_what_to_add(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"\[segmentation\]"):
        label_values(Store(tmp_path / "none.zarr"), ["gas"])


def paint(folder: Path) -> Path:
    painted = np.zeros((2, *SHAPE[1:]), np.uint8)
    expected = truth()
    for k, z in enumerate((12, 26)):
        core = scipy.ndimage.minimum_filter(expected[z], 5) == scipy.ndimage.maximum_filter(expected[z], 5)
        painted[k][core] = expected[z][core]
    file = folder / "painted.tif"
    tifffile.imwrite(file, painted)
    return file


METHODS = {
    "otsu": {"method": "otsu", "classes": 3},
    "without_faces": {"method": "otsu", "without_faces": True, "denoise": {"method": "median"}},
    "values": {"method": "values", "thresholds": [0.3, 3.5], "denoise": {"method": "tv", "weight": 0.05}},
    "watershed": {},
    "hysteresis": {"method": "hysteresis", "weak": 2.0, "strong": 5.0, "denoise": {"method": "none"}},
    "classifier": {
        "method": "classifier",
        "labels": "painted.tif",
        "z": [12, 26],
        "names": ["gas", "metal", "ceramic"],
        "trees": 10,
        "sigmas": [1.0],
    },
}


@pytest.mark.parametrize("method", METHODS)
def test_labels_and_tables_do_not_depend_on_blocks(tmp_path: Path, monkeypatch, method: str) -> None:
    volume = attenuation(truth(), 0)
    volume[:, :2] = np.nan
    found = []
    for granule, workers in (((64, 256, 256), 1), ((16, 32, 32), 3)):
        folder = tmp_path / str(granule[0])
        folder.mkdir()
        store, facts = series_store(folder, [volume, attenuation(truth(32), 1)])
        paint(folder)
        monkeypatch.setattr(stage_series, "GRANULE", granule)
        monkeypatch.setattr(stage_series, "FINE_GRANULE", granule)
        monkeypatch.setattr(labels_step, "flood_thickness", lambda shape, planes=granule[0]: planes)
        names = METHODS[method].get("names", [])
        options = (
            {**METHODS[method], "thickness": {"materials": ["ceramic"], "largest": 8}} if names else METHODS[method]
        )
        stage.run(config(store, **options), facts, store, Resources(workers, 4 * 10**9))
        tables = {name: store.read_table(name) for name in ("labels", "objects", "voids", "interface")}
        found.append((labels_of(store), labels_of(store, "registered/labels/objects_gas"), tables))
    (labels, objects, tables), (other, other_objects, other_tables) = found
    np.testing.assert_array_equal(labels, other)
    np.testing.assert_array_equal(objects, other_objects)
    for name, table in tables.items():
        for column in table:
            if table[column].dtype.kind == "f":
                np.testing.assert_allclose(table[column], other_tables[name][column], rtol=1e-6, err_msg=column)
            else:
                assert table[column].tolist() == other_tables[name][column].tolist()
    if method in ("watershed", "classifier", "without_faces"):
        assert same_share(labels[0][:, 2:], truth()[:, 2:]) > (0.98 if method == "watershed" else 0.91)


def cell(shape: tuple[int, int, int], seed: int) -> np.ndarray:
    """A tilted face between ceramic with pores and metal with voids, gas around, blurred, with noise."""
    rng = np.random.default_rng(seed)
    z, y, x = np.indices(shape).astype(float)
    labels = np.where(z < 0.45 * shape[0] + 0.1 * x, 3, 2)
    for radius in (1.6, 2.2, 3.0, 4.5, 6.0) * 4:
        middle = rng.uniform(8, np.array(shape) - 8)
        labels[(z - middle[0]) ** 2 + (y - middle[1]) ** 2 + (x - middle[2]) ** 2 < radius**2] = 1
    labels[np.hypot(y - shape[1] / 2 + 0.5, x - shape[2] / 2 + 0.5) > 0.46 * shape[1]] = 1
    return (scipy.ndimage.gaussian_filter(VALUES[labels], 0.7) + rng.normal(0, 0.1, shape)).astype(np.float32)


def test_labels_and_tables_are_equal_at_32_64_and_whole(tmp_path: Path, monkeypatch) -> None:
    volumes = [cell((70, 72, 76), 0)]
    volumes[0][:, :2] = np.nan
    options = {
        "names": ["gas", "metal", "ceramic"],
        "objects": {"materials": ["gas", "metal"], "connectivity": 6},
        "thickness": {"materials": ["gas"], "largest": 6},
    }
    paths = [f"registered/labels/{name}" for name in ("materials", "objects_gas", "objects_metal")]
    names = ("labels", "objects", "voids", "interface", "thickness")
    found = []
    for size in (128, 64, 32):
        folder = tmp_path / str(size)
        folder.mkdir()
        store, facts = series_store(folder, volumes)
        monkeypatch.setattr(stage_series, "GRANULE", (size, size, size))
        monkeypatch.setattr(labels_step, "flood_thickness", lambda shape, planes=size: planes)
        monkeypatch.setattr(labels_step, "WIDEST", size)
        stage.run(config(store, **options), facts, store, Resources(1 if size == 64 else 3, 4 * 10**9))
        found.append(([labels_of(store, path) for path in paths], {name: store.read_table(name) for name in names}))
    whole, tables = found[0]
    assert len(tables["objects"]) > 8
    assert set(np.unique(whole[0])) == {0, 1, 2, 3}
    for labels, others in found[1:]:
        for mine, theirs in zip(whole, labels, strict=True):
            np.testing.assert_array_equal(mine, theirs)  # objects too: they are numbered by their first voxel
        for name in names:
            pd.testing.assert_frame_equal(tables[name], others[name], rtol=1e-6)


@pytest.mark.parametrize(
    ("shape", "planes"),
    [((96, 160, 160), 16), ((320,) * 3, 64), ((640,) * 3, 128), ((1024,) * 3, 128), ((2048,) * 3, 64)],
)
def test_what_a_watershed_looks_at_is_little_more_than_what_it_labels(shape, planes) -> None:
    """Thirty planes before and after a shard cost as much as those in it where shards are as thin as of grey values."""
    settings = parse_config(
        {"output": "s.zarr", "acquisition": {"scans": ["a"]}, "segmentation": {}}, Path()
    ).segmentation
    facts = stage.Facts(NAMES[:1], (), 0, reference_volume(shape), (0.0,))
    image = labels_step.labels_image(settings, facts, None)
    assert image.thickness == labels_step.labels_granule(settings, shape)[0] == planes
    series = 4 * shard_thickness(shape) * shape[1] * shape[2]
    assert int(np.prod(image.shard_shape())) <= series  # bytes of values and of labels
    assert image.grid[1] >= 4
    halo = labels_step.segment_memory(settings)[0]
    parts = list(cut(tuple(slice(0, n) for n in shape), labels_step.labels_granule(settings, shape)))
    seen = sum(size_of(widen(part, (halo,) * 3, shape)) for part in parts)
    print(f"{shape}: looks at {seen / np.prod(shape):.2f} times what it labels")
    assert seen < {16: 4, 64: 3, 128: 2.1}[planes] * np.prod(shape)


def test_hysteresis_keeps_what_reaches_the_strong_threshold(tmp_path: Path) -> None:
    volume = np.zeros(SHAPE, np.float32)
    volume[4:36, 4:8, 4:8] = 3.0
    volume[30, 5, 5] = 6.0
    volume[4:36, 20:24, 20:24] = 3.0
    store, facts = series_store(tmp_path, [volume])
    settings = {"method": "hysteresis", "weak": 2.0, "strong": 5.0, "denoise": {"method": "none"}}
    stage.run(config(store, **settings), facts, store, LIMITS)
    expected = np.ones(SHAPE, np.uint8)
    expected[4:36, 4:8, 4:8] = 2
    np.testing.assert_array_equal(labels_of(store)[0], expected)


def test_thresholds_come_from_all_scans(tmp_path: Path) -> None:
    plain, dense = attenuation(truth(), 0), attenuation(truth(), 1) * 2
    chosen = []
    for tag, second in enumerate((plain, dense)):
        store, facts = series_store(tmp_path, [plain, second], tag)
        settings = config(store).segmentation
        chosen.append(stage.find_thresholds(settings, facts, store, LIMITS))
    assert chosen[1].values[1] > chosen[0].values[1] + 0.5


@pytest.mark.parametrize("method", ["watershed", "otsu"])
def test_thresholds_of_a_large_series_come_from_a_sample_with_their_error(tmp_path: Path, monkeypatch, method) -> None:
    rng = np.random.default_rng(3)
    volumes = [attenuation(truth(), k) + rng.normal(0, 0.2, SHAPE).astype(np.float32) for k in range(2)]
    store, facts = series_store(tmp_path, volumes)
    monkeypatch.setattr(stage_series, "GRANULE", (16, 16, 16))
    settings = config(store, method=method).segmentation
    whole = stage.find_thresholds(settings, facts, store, LIMITS)
    assert whole.sample is None
    monkeypatch.setattr(thresholds, "LARGE", 1)
    monkeypatch.setattr(thresholds, "SAMPLE", 2 * volumes[0].size // 4)
    some = stage.find_thresholds(settings, facts, store, LIMITS)
    assert 0.2 < some.sample.share < 0.3
    pulls = (np.array(some.values) - whole.values) / some.sample.sigma
    assert np.abs(pulls).max() < 3.5
    assert max(some.sample.sigma) < (0.2 if method == "watershed" else 1.5)  # which keeps blurred faces
    again = stage.find_thresholds(settings, facts, store, Resources(3, 4 * 10**9))
    assert again == some
    result = stage.run(config(store, method=method), facts, store, LIMITS)
    said = read_attributes(store.path / LABELS)["xct"]
    assert said["thresholds_sigma"] == list(some.sample.sigma)
    assert said["thresholds_from"] == some.sample.share
    assert any("not sure" in warning for warning in result.warnings) == (some.sample.warning is not None)


def test_a_sample_that_holds_too_little_is_told(tmp_path: Path, monkeypatch) -> None:
    store, facts = series_store(tmp_path, [attenuation(truth(), 0), attenuation(truth(), 1)])
    monkeypatch.setattr(stage_series, "GRANULE", (16, 16, 16))
    monkeypatch.setattr(thresholds, "LARGE", 1)
    monkeypatch.setattr(thresholds, "SAMPLE", 2 * np.prod(SHAPE) // 40)
    some = stage.find_thresholds(config(store).segmentation, facts, store, LIMITS)
    assert "not sure" in some.sample.warning
    assert "segmentation.thresholds" in some.sample.warning


def test_objects_equal_those_of_the_whole_volume(series, monkeypatch) -> None:
    store, facts = series
    monkeypatch.setattr(stage_series, "GRANULE", (16, 16, 16))
    stage.run(config(store, objects={"smallest": 5, "connectivity": 6}), facts, store, LIMITS)
    table = store.read_table("objects")
    numbers = labels_of(store, "registered/labels/objects_gas")
    for t, name in enumerate(NAMES[:2]):
        whole = scipy.ndimage.label(labels_of(store)[t] == 1)[0]
        sizes = np.bincount(whole.ravel())[1:]
        mine = table[table["scan"] == name]
        assert sorted(mine["voxels"]) == sorted(sizes[sizes >= 5])
        kept = np.isin(whole, 1 + np.flatnonzero(sizes >= 5))
        np.testing.assert_array_equal(numbers[t] > 0, kept)
    voids = store.read_table("voids")
    assert voids["count"].tolist() == [2, 2]
    first = table[(table["scan"] == "scan_00") & ~table["touches_border"]]
    np.testing.assert_allclose(sorted(first["voxels"]), [294, 600], rtol=0.25)
    np.testing.assert_allclose(first["distance_to_interface_um"], 4 * VOXEL, atol=0.6 * VOXEL)


def test_interface_half_covered(series) -> None:
    store, facts = series
    stage.run(config(store), facts, store, LIMITS)
    table = store.read_table("interface")
    metal = table[(table["material"] == "metal") & (table["offset_voxels"] == 2)]
    np.testing.assert_allclose(metal["fraction"], 0.5, atol=0.02)
    assert set(table["scan"]) == {"scan_00", "scan_01"}


def test_partners_have_a_table_of_what_touches_them(tmp_path: Path) -> None:
    store, facts = series_store(tmp_path, [attenuation(truth(), 0), attenuation(truth(32), 1)])
    stage.run(config(store), facts, store, LIMITS)
    before = store.read_table("interface")
    assert not list(store.path.rglob("contacts.csv"))
    settings = {"interface": {"partners": ["ceramic", "metal"]}}
    stage.run(config(store, **settings), facts, store, LIMITS)
    pd.testing.assert_frame_equal(store.read_table("interface"), before)
    assert list(store.path.rglob("contacts.csv"))
    table = store.read_table("contacts")
    assert set(table["scan"]) == {"scan_00", "scan_01"}
    assert set(table["partner"]) == {"ceramic", "metal"}
    np.testing.assert_allclose(table.groupby(["scan", "partner", "offset_voxels"])["fraction"].sum(), 1)
    at = table[(table["offset_voxels"] == 3) & (table["scan"] == "scan_00")].set_index(["partner", "material"])
    shared = 36 * 20 * VOXEL**2  # the face of the ceramic on which the metal lies
    np.testing.assert_allclose(at.loc[("ceramic", "metal"), "area_um2"], shared, rtol=0.15)
    with pytest.raises(ConfigError, match=r"interface\.partners names carbon, which is no material; there are gas"):
        config(store, interface={"partners": ["carbon"]})
    with pytest.raises(ConfigError, match=r"partners needs interface\.offsets"):
        config(store, interface={"partners": ["metal"], "offsets": []})


def test_no_ceramic_is_a_warning(tmp_path: Path) -> None:
    labels = truth()
    empty = attenuation(np.where(labels == 3, 1, labels), 1)
    store, facts = series_store(tmp_path, [attenuation(labels, 0), empty])
    result = stage.run(config(store, method="values", thresholds=[0.3, 3.5]), facts, store, LIMITS)
    assert any("scan_01" in text and "ceramic" in text for text in result.warnings)
    assert set(store.read_table("interface")["scan"]) == {"scan_00"}


def test_continues_and_recomputes_only_what_changed(tmp_path: Path) -> None:
    store, facts = series_store(tmp_path, [attenuation(truth(), 0), attenuation(truth(32), 1)])
    first = stage.run(config(store), facts, store, LIMITS)
    before = image_identity(store, LABELS)
    again = stage.run(config(store, names=["air", "nak", "nasicon"]), facts, store, LIMITS)
    assert sum(p.computed for p in first.passes) > 0
    assert again.passes[0].computed == 0
    assert image_identity(store, LABELS) == before
    assert set(store.read_table("labels")["name"]) == {"air", "nak", "nasicon"}
    other = stage.run(config(store, reach=3), facts, store, LIMITS)
    assert other.passes[0].computed > 0


def test_classifier_from_tiff_and_zarr_alike(series) -> None:
    store, facts = series
    planes = tifffile.imread(paint(store.path.parent))
    stage.run(config(store, **METHODS["classifier"]), facts, store, LIMITS)
    from_tiff = labels_of(store)
    series_array = zarr.create_array(str(store.path.parent / "painted.zarr"), shape=(3, *SHAPE), dtype="uint8")
    series_array[0, 12], series_array[0, 26] = planes
    options = {**METHODS["classifier"], "labels": "painted.zarr"}
    del options["z"]
    stage.run(config(store, **options), facts, store, LIMITS)
    np.testing.assert_array_equal(labels_of(store), from_tiff)
    assert same_share(from_tiff[0], truth()) > 0.92
    assert not from_tiff[2].any()


def test_classifier_reads_labels_painted_over_its_own_result(series) -> None:
    store, facts = series
    stage.run(config(store, objects={"materials": []}), facts, store, LIMITS)
    painted = store.path / "registered/labels"
    options = {"method": "classifier", "labels": str(painted), "names": ["a", "b", "c"], "trees": 5, "sigmas": [1.0]}
    loaded = open_labels(painted, "segmentation.labels")
    assert loaded.shape == (3, *SHAPE)
    assert config(store, **options).segmentation.count == 3


@pytest.mark.parametrize(
    ("write", "change", "message"),
    [
        (None, {}, "no such file"),
        (np.zeros((2, *SHAPE[1:]), np.uint8), {}, "nothing is painted"),
        (np.ones((2, *SHAPE[1:]), np.uint8), {}, "no voxel is painted as metal, ceramic"),
        (np.full((2, *SHAPE[1:]), 4, np.uint8), {}, "only 3 names"),
        (np.ones((2, *SHAPE[1:]), np.float32), {}, "whole numbers"),
        (np.ones((2, 7, 7), np.uint8), {}, "paint at full size"),
        (np.ones((2, *SHAPE[1:]), np.uint8), {"z": [12, 400]}, "one of 0 to 39"),
        (np.ones((2, *SHAPE[1:]), np.uint8), {"z": None}, "say which"),
        (np.ones((2, *SHAPE[1:]), np.uint8), {"scan": "scan_07"}, "scan_07"),
        (np.ones((2, *SHAPE[1:]), np.uint8) * np.arange(1, 53, dtype=np.uint8).clip(max=3), {"scan": 2}, "scan_02"),
    ],
)
def test_painted_labels_that_do_not_fit(series, write, change, message) -> None:
    store, facts = series
    if write is not None:
        tifffile.imwrite(store.path.parent / "painted.tif", write)
    options = {key: value for key, value in {**METHODS["classifier"], **change}.items() if value is not None}
    with pytest.raises(ValueError, match=message) as error:
        stage.run(config(store, **options), facts, store, LIMITS)
    assert "\n" not in str(error.value)
    assert not (store.path / "registered/labels/materials").exists()


def test_painted_labels_that_cannot_be_read_are_named_before_the_run(tmp_path: Path) -> None:
    settings = config(Store(tmp_path / "store.zarr"), **METHODS["classifier"])
    with pytest.raises(ValueError, match=r"painted\.tif: no such file"):
        stage.check(settings)
    tifffile.imwrite(tmp_path / "painted.tif", np.ones((4, 4)))
    with pytest.raises(ValueError, match=r"painted\.tif: painted labels are whole numbers, not float64"):
        stage.check(settings)
    tifffile.imwrite(tmp_path / "painted.tif", np.ones((4, 4), np.uint8))
    stage.check(settings)


def test_thresholds_beyond_all_values_are_refused(series) -> None:
    store, facts = series
    with pytest.raises(ValueError, match=r"thresholds 20, 30 leave all voxels in one class: the volumes hold -.* to "):
        stage.run(config(store, thresholds=[20.0, 30.0]), facts, store, LIMITS)


def test_uniform_and_empty_volumes_are_refused(tmp_path: Path) -> None:
    store, facts = series_store(tmp_path, [np.zeros(SHAPE, np.float32)])
    with pytest.raises(ValueError, match="segmentation: all voxels hold one value, 0 1/cm"):
        stage.run(config(store), facts, store, LIMITS)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"classes": 99}, "less than or equal to 32"),
        ({"names": ["a", "b"]}, "2 names for 3 materials"),
        ({"names": ["a", "b", "a"]}, "names must differ"),
        ({"ceramic": "glass"}, "glass, which is no material; there are gas, metal, ceramic"),
        ({"objects": {"materials": ["void"]}}, "void, which is no material"),
        ({"method": "values", "thresholds": [2.0, 1.0]}, "increasing"),
        ({"method": "values", "thresholds": []}, "at least 1"),
        ({"method": "otzu"}, "did you mean otsu|one of"),
        ({"clases": 3}, "did you mean classes"),
        ({"colors": ["red", "green", "blue"]}, "pattern"),
        ({"method": "classifier", "labels": "a.tif"}, "names: missing"),
    ],
)
def test_configurations_that_make_no_sense(tmp_path: Path, options, message) -> None:
    with pytest.raises(ConfigError, match=message):
        config(Store(tmp_path / "store.zarr"), **options)


def test_a_region_of_a_label_that_does_not_exist_is_found_before_running(tmp_path: Path) -> None:
    raw = {
        "output": "store.zarr",
        "acquisition": {"scans": ["a"]},
        "segmentation": {"classes": 3},
        "variation": {"region": {"label": "nak"}},
    }
    with pytest.raises(ValueError, match=r"variation.region: there is no label 'nak'.*metal \(2\)"):
        stage.check(parse_config(raw, tmp_path))
    raw["variation"] = {"region": {"label": "metal"}}
    stage.check(parse_config(raw, tmp_path))
    del raw["segmentation"]
    with pytest.raises(ValueError, match=r"needs \[segmentation\]"):
        stage.check(parse_config(raw, tmp_path))
