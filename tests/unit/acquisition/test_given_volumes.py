"""Volumes of other programs: every layout gives the values that were written, and what is wrong is one line."""

from __future__ import annotations

import pickle
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from volume_series import LAYOUTS

from xct_pipeline.acquisition.steps.volumes import open_volumes, volume_pass
from xct_pipeline.acquisition.volumes.arrays import FlatArray, VolumeView, picks_of, split_data
from xct_pipeline.acquisition.volumes.given import attenuation
from xct_pipeline.config.file import ConfigError, parse_config
from xct_pipeline.planning.plan import plan
from xct_pipeline.scan import ScanError, without_date

SHAPE = (6, 9, 10)
VOLUME = np.random.default_rng(3).normal(2.0, 1.0, SHAPE).astype(np.float32)
NAMED = 'name = "a"\naxes = "zyx"\nvoxel_um = 10.0\nunit = "1/cm"\n'


def config_of(folder: Path, *tables: str, more: str = ""):
    import tomllib

    text = 'output = "store.zarr"\n[acquisition]\n' + more + "".join(f"\n[[acquisition.volume]]\n{t}\n" for t in tables)
    return parse_config(tomllib.loads(text), folder)


def computed(config) -> np.ndarray:
    (item,) = open_volumes(config)
    assert item.problem is None
    step = volume_pass(item.volume, config.acquisition)
    step = replace(step, source=pickle.loads(pickle.dumps(step.source)))
    return step.compute(step.region((0, 0, 0)))[0]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_layout_gives_the_values_that_were_written(layout: str, tmp_path: Path) -> None:
    table = LAYOUTS[layout](tmp_path, "a", VOLUME, 10.0)
    config = config_of(tmp_path, f'name = "a"\n{table}')
    (item,) = open_volumes(config)
    assert item.problem is None
    assert item.volume.voxel_um == pytest.approx(10.0, rel=1e-5)
    assert item.volume.warnings == ()
    got = computed(config)
    assert got.dtype == np.float32
    if layout in ("integers", "httomo"):
        step = (VOLUME.max() - VOLUME.min()) / 65535 if layout == "integers" else 1e-6
        assert np.abs(got - VOLUME).max() <= 0.51 * step
    else:
        assert np.array_equal(got, VOLUME)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_a_view_reads_what_numpy_does(data: st.DataObject) -> None:
    axes = data.draw(st.integers(3, 5))
    shape = tuple(data.draw(st.lists(st.integers(1, 5), min_size=axes, max_size=axes)))
    array = np.arange(np.prod(shape), dtype=">i4").reshape(shape)
    single = data.draw(st.permutations(range(axes)))[: axes - 3]
    parts, index = [], []
    for k, n in enumerate(shape):
        if k in single:
            i = data.draw(st.integers(0, n - 1))
            parts.append(str(i))
            index.append(i)
        else:
            a = data.draw(st.integers(0, n - 1))
            b = data.draw(st.integers(a + 1, n))
            parts.append(data.draw(st.sampled_from([f"{a}:{b}", f" {a} : {b} "])))
            index.append(slice(a, b))
    order = tuple(data.draw(st.permutations(range(3))))
    expected = array[tuple(index)].transpose(order)
    file = Path(data.draw(st.just("/tmp"))) / "unused"
    view = VolumeView(_InMemory(array), picks_of(",".join(parts), shape, str(file)), order)
    assert view.shape == expected.shape
    box = tuple(slice(0, n) for n in view.shape)
    assert np.array_equal(view.read(box), expected)


class _InMemory:
    def __init__(self, array: np.ndarray) -> None:
        self.array, self.shape, self.dtype = array, array.shape, array.dtype

    def read(self, box):
        return self.array[box]


def test_names_of_data_are_split() -> None:
    assert split_data("a.h5::/x/y[3, :, 10:20]") == ("a.h5", "/x/y", "3, :, 10:20")
    assert split_data("rec/{scan}.tif") == ("rec/{scan}.tif", None, None)
    assert split_data("slices_[0-9]*.tif") == ("slices_[0-9]*.tif", None, None)


def test_values_in_1_per_cm_stay_to_the_last_bit() -> None:
    assert attenuation(VOLUME, 1.0, 0.0, None, "x") is VOLUME
    filled = attenuation(np.where(VOLUME > 3, np.nan, VOLUME), 2.0, 1.0, 0.5, "x")
    assert np.allclose(filled, np.where(VOLUME > 3, 0.5, VOLUME) * 2 + 1)


def test_the_mean_of_a_box_is_the_grey_value_of_a_material(tmp_path: Path) -> None:
    values = np.full(SHAPE, 100, np.uint16)
    values[:, 4:] = 1100
    tifffile.imwrite(tmp_path / "a.tif", values)
    boxes = "{{ box = {{ z = [0, 6], y = [{}], x = [0, 10] }}, attenuation = {} }}"
    grey = f"grey = {{ materials = [{boxes.format('0, 4', 0.0)}, {boxes.format('4, 9', 5.0)}] }}"
    got = computed(config_of(tmp_path, f'name = "a"\ndata = "a.tif"\naxes = "zyx"\nvoxel_um = 5.0\n{grey}'))
    assert np.allclose(np.unique(got), [0.0, 5.0])


def test_a_folder_of_files_is_a_series_by_its_names_and_times(tmp_path: Path) -> None:
    for k in (10, 2, 1):
        np.save(tmp_path / f"rec_{k}.npy", VOLUME + k)
    (tmp_path / "times.csv").write_text("scan,time_s\n1,0\n2,60\n10,120.5\n")
    table = 'data = "rec_{scan}.npy"\naxes = "zyx"\nvoxel_um = 10.0\nunit = "1/cm"\ntimes = "times.csv"'
    found = open_volumes(config_of(tmp_path, table))
    assert [item.name for item in found] == ["1", "2", "10"]
    assert all(without_date(item.volume.start) for item in found)
    assert (found[2].volume.start - found[0].volume.start).total_seconds() == 120.5


def test_rows_are_planes(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", VOLUME)
    config = config_of(tmp_path, NAMED + 'data = "a.npy"', more="rows = [2, 5]\n")
    assert np.array_equal(computed(config), VOLUME[2:5])


def test_the_identity_follows_the_content(tmp_path: Path) -> None:
    def identity() -> object:
        (item,) = open_volumes(config_of(tmp_path, NAMED + 'data = "a.npy"'))
        return item.volume.identity

    np.save(tmp_path / "a.npy", VOLUME)
    before = identity()
    assert identity() == before
    np.save(tmp_path / "a.npy", VOLUME + 1)
    assert identity() != before


def _npy(values: np.ndarray) -> Callable[[Path], None]:
    return lambda folder: np.save(folder / "a.npy", values)


def _hdf5(folder: Path) -> None:
    with h5py.File(folder / "a.h5", "w") as file:
        file["one"], file["two"] = VOLUME, VOLUME
        file["flat"] = VOLUME[0]


def _with_nan(folder: Path) -> None:
    np.save(folder / "a.npy", np.where(np.arange(6)[:, None, None] == 3, np.nan, VOLUME))


def _truncated_npy(folder: Path) -> None:
    np.save(folder / "a.npy", VOLUME)
    data = (folder / "a.npy").read_bytes()
    (folder / "a.npy").write_bytes(data[:-100])


def _raw(folder: Path) -> None:
    (folder / "a.raw").write_bytes(VOLUME.tobytes()[:-4])


def _flat_voxels(folder: Path) -> None:
    meta = {"axes": "ZYX", "spacing": 20.0, "unit": "um"}
    tifffile.imwrite(folder / "a.tif", VOLUME, imagej=True, resolution=(0.1, 0.1), metadata=meta)


def _slices_of_two_sizes(folder: Path) -> None:
    tifffile.imwrite(folder / "s_0.tif", VOLUME[0])
    tifffile.imwrite(folder / "s_1.tif", VOLUME[1, :-1])


def _empty_folder(folder: Path) -> None:
    (folder / "a").mkdir()


BARE = 'name = "a"\n'
BAD = {
    "missing file": (lambda folder: None, NAMED + 'data = "a.npy"', "a.npy: no such file or folder"),
    "missing dataset": (
        _hdf5,
        NAMED + 'data = "a.h5::/three"',
        "no such dataset; those that can be a volume: /one, /two",
    ),
    "several datasets": (_hdf5, NAMED + 'data = "a.h5"', "several datasets that can be a volume .* name one"),
    "two axes": (_hdf5, NAMED + 'data = "a.h5::/flat"', "a volume has three"),
    "four axes": (_npy(np.stack([VOLUME] * 2)), NAMED + 'data = "a.npy"', "of which 4 axes are left"),
    "range outside": (_npy(VOLUME), NAMED + 'data = "a.npy[0:7]"', r"\[0:7\]: 0:7 lies outside an axis of 6"),
    "integers without scale": (
        _npy(VOLUME.astype("u2")),
        BARE + 'data = "a.npy"\naxes = "zyx"\nvoxel_um = 1.0',
        "whole numbers of which nothing says what they stand for: give unit",
    ),
    "no voxel size": (_npy(VOLUME), BARE + 'data = "a.npy"\nunit = "1/cm"', "how large its voxels are: give voxel_um"),
    "another axis order": (
        _npy(np.zeros((9, 6, 9), "f4")),
        BARE + 'data = "a.npy"\nunit = "1/cm"\nvoxel_um = 1.0',
        'speak for the axes y, z, x, .* axes = "yzx"',
    ),
    "nan": (_with_nan, NAMED + 'data = "a.npy"', "90 values from z = 3, y = 0, x = 0 on are no number: .* nan = 0.0"),
    "truncated npy": (_truncated_npy, NAMED + 'data = "a.npy"', "the file is truncated"),
    "truncated raw": (
        _raw,
        NAMED + 'data = "a.raw"\nshape = [6, 9, 10]\ndtype = "float32"',
        "2156 bytes, but 6 x 9 x 10 of float32 after 0 bytes take 2160: the file is truncated, or shape",
    ),
    "raw without shape": (_raw, NAMED + 'data = "a.raw"', "raw numbers need shape"),
    "voxels that are no cubes": (_flat_voxels, BARE + 'data = "a.tif"\nunit = "1/cm"', "20 x 10 x 10 um, which are no"),
    "voxel size against the file": (
        lambda folder: (folder / "a.txt").write_text(LAYOUTS["imagej"](folder, "a", VOLUME, 10.0)),
        BARE + 'data = "a.tif"\nunit = "1/cm"\nvoxel_um = 20.0',
        "its voxels are 10 um as the file says, not voxel_um = 20",
    ),
    "slices of two sizes": (_slices_of_two_sizes, NAMED + 'data = "s_*.tif"', "s_1.tif: images are"),
    "an empty folder": (_empty_folder, NAMED + 'data = "a"', "a folder without TIFF slices"),
    "no time": (
        lambda folder: [_npy(VOLUME)(folder), (folder / "t.csv").write_text("scan,time_s\nb,1\n")],
        NAMED + 'data = "a.npy"\ntimes = "t.csv"',
        "t.csv: has no row for a; its scans are b",
    ),
    "times without a column": (
        lambda folder: [_npy(VOLUME)(folder), (folder / "t.csv").write_text("name,time\nb,1\n")],
        NAMED + 'data = "a.npy"\ntimes = "t.csv"',
        "has the columns name, time: scan and time_s",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_what_is_wrong_is_one_line(case: str, tmp_path: Path) -> None:
    write, table, told = BAD[case]
    write(tmp_path)
    with pytest.raises(ScanError) as raised:
        plan(config_of(tmp_path, table))
    text = str(raised.value)
    assert "\n" not in text
    assert str(tmp_path) in text
    assert re.search(told, text), text


@pytest.mark.parametrize(
    ("table", "told"),
    [
        ('data = "a.npy"', "give either a name, or {scan}"),
        (NAMED + 'data = "a.npy"\ngrey = { factor = 1.0 }', "either unit or grey"),
        (BARE + 'data = "a.npy"\ngrey = { factor = 0.0 }', "all grey values would be one attenuation"),
        (BARE + 'data = "a.npy"\ngrey = { materials = [{ value = 1.0, attenuation = 2.0 }] }', "two materials"),
        (BARE + 'data = "a.raw"\nshape = [1, 2, 3]', "both shape and dtype"),
        (BARE + 'data = "a.npy"\ntime_s = 1.0\ntimes = "t.csv"', "one of start, time_s and times"),
    ],
)
def test_a_table_that_contradicts_itself_is_refused(table: str, told: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=told):
        config_of(tmp_path, table)


def test_a_series_has_one_size_of_voxel_and_tells_twins(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", VOLUME)
    tables = [NAMED.replace('"a"', f'"{name}"') + 'data = "a.npy"' for name in "abd"]
    tables[2] = tables[2].replace("10.0", "11.0")
    _, twin, other = plan(config_of(tmp_path, *tables)).scans
    assert any("the same values as a" in text for text in twin.warnings)
    assert re.search("its voxels are 11 um, those of a 10 um", other.problem)


def test_that_projections_are_missing_is_told_once(tmp_path: Path) -> None:
    for k in range(3):
        np.save(tmp_path / f"{k}.npy", VOLUME + k)
    tables = [NAMED.replace('"a"', f'"{k}"') + f'data = "{k}.npy"' for k in range(3)]
    told = [text for item in plan(config_of(tmp_path, *tables)).scans for text in item.warnings]
    assert len(told) == 1
    assert "all 3 scans start from volumes" in told[0]


def test_clocks_of_two_kinds_make_no_series(tmp_path: Path) -> None:
    tables = []
    for name, time in (("a", "start = 2024-05-17T09:30:00Z"), ("b", "time_s = 60.0")):
        np.save(tmp_path / f"{name}.npy", VOLUME + len(tables))
        tables.append(NAMED.replace('"a"', f'"{name}"') + f'data = "{name}.npy"\n{time}')
    dated, counted = plan(config_of(tmp_path, *tables)).scans
    assert dated.problem is None
    assert "its time is known in seconds alone" in counted.problem


def test_settings_of_projections_are_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", VOLUME)
    with pytest.raises(ScanError, match="names frames, but a starts from a volume and has none"):
        plan(config_of(tmp_path, NAMED + 'data = "a.npy"', more="exclude.a.projections = [1]\n"))
    with pytest.raises(ScanError, match=r"binning is for projections .* by a range in data"):
        plan(config_of(tmp_path, NAMED + 'data = "a.npy"', more="binning = 2\n"))


def test_a_flat_array_of_fortran_order(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.asfortranarray(VOLUME))
    assert np.array_equal(computed(config_of(tmp_path, NAMED + 'data = "a.npy"')), VOLUME)
    array = FlatArray(tmp_path / "a.npy", 128, SHAPE, np.dtype("<f4"), True)
    assert array.read((slice(1, 2), slice(0, 9), slice(0, 10))).flags.c_contiguous


def test_a_bucket_is_no_output(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", VOLUME)
    with pytest.raises(ConfigError, match="writes into a folder of a file system, not to s3://"):
        parse_config({"output": "s3://bucket/a.zarr", "acquisition": {"scans": ["a.nxs"]}}, tmp_path)
