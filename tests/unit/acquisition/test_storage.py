"""Links and virtual datasets: whole ones are read, missing ones are errors and never zeros."""

from __future__ import annotations

import os
import shutil

import h5py
import numpy as np
import pytest
from nxtomo_writer import KEY, frames_of, write_nxtomo

from xct_pipeline.acquisition import open_scan
from xct_pipeline.scan import ScanError

DATA, ANGLE, IMAGE_KEY = "instrument/detector/data", "sample/rotation_angle", "instrument/detector/image_key"
EXPECTED = frames_of(KEY)[np.array(KEY) == 0]


def put(path, name, value, **options):
    with h5py.File(path, "a") as file:
        file.create_dataset(name, data=value, **options)
    return path


def link(value):
    def make(group, name):
        group[name] = value

    return make


def virtual(sources, shape=(17, 6, 8), dtype="u2", maxshape=None):
    """Write a virtual dataset from (first frame, VirtualSource) pairs."""

    def make(group, name):
        layout = h5py.VirtualLayout(shape, dtype, maxshape=maxshape)
        for first, source in sources:
            layout[first : first + source.shape[0]] = source
        group.create_virtual_dataset(name, layout)

    return make


def refused(path, *words):
    with pytest.raises(ScanError) as caught:
        open_scan(path)
    for word in (str(path), *words):
        assert word in str(caught.value)


def test_soft_and_external_links_of_datasets_and_groups(tmp_path):
    (tmp_path / "raw").mkdir()
    other = put(tmp_path / "raw" / "frames.h5", "a/b", frames_of(KEY))
    put(other, "angles/values", np.cumsum(np.array(KEY) == 0) * 20.0)
    path = write_nxtomo(
        tmp_path / "s.nxs",
        **{DATA: link(h5py.ExternalLink("raw/frames.h5", "/a/b")), ANGLE: link(h5py.SoftLink("/entry/plot/angle"))},
        **{"plot/angle": link(h5py.ExternalLink("raw/frames.h5", "/angles/values"))},
    )
    scan = open_scan(path)
    np.testing.assert_array_equal(scan.projections.read(), EXPECTED)
    assert scan.files == (path, other)
    master = tmp_path / "master.h5"
    with h5py.File(master, "w") as file:
        file["scan_1"] = h5py.ExternalLink("s.nxs", "/entry")
    scan = open_scan(master)
    np.testing.assert_array_equal(scan.projections.read(), EXPECTED)
    assert set(scan.files) == {master, path, other}
    assert scan.warnings == ()


@pytest.mark.parametrize("name", [DATA, ANGLE, IMAGE_KEY])
@pytest.mark.parametrize(
    "target", [h5py.ExternalLink("gone.h5", "/x"), h5py.ExternalLink("here.h5", "/nothing"), h5py.SoftLink("/nowhere")]
)
def test_links_of_what_is_needed_that_lead_nowhere(tmp_path, name, target):
    put(tmp_path / "here.h5", "x", 1)
    path = write_nxtomo(tmp_path / "s.nxs", **{name: link(target)})
    refused(path, f"/entry/{name}", target.path, getattr(target, "filename", ""))


@pytest.mark.parametrize("name", ["entry", "entry/instrument", "entry/instrument/detector", "exchange"])
def test_groups_that_lead_nowhere(tmp_path, name):
    with h5py.File(tmp_path / "s.nxs", "w") as file:
        file[name] = h5py.ExternalLink("gone.h5", "/x")
    refused(tmp_path / "s.nxs", f"gone.h5 (/{name})")


def test_two_detectors_that_link_to_the_same_frames_elsewhere(tmp_path):
    put(tmp_path / "frames.h5", "d", frames_of(KEY))
    one = link(h5py.ExternalLink("frames.h5", "/d"))
    path = write_nxtomo(tmp_path / "s.nxs", **{DATA: one, "instrument/again/data": one})
    with h5py.File(path, "a") as file:
        file["entry/instrument/again/image_key"] = KEY
    np.testing.assert_array_equal(open_scan(path).projections.read(), EXPECTED)


def test_links_in_a_circle(tmp_path):
    refused(write_nxtomo(tmp_path / "s.nxs", **{DATA: link(h5py.SoftLink("/entry/instrument/detector/data"))}), DATA)
    path = write_nxtomo(tmp_path / "t.nxs", **{"loop": link(h5py.SoftLink("/entry"))})
    np.testing.assert_array_equal(open_scan(path).projections.read(), EXPECTED)


def test_other_links_that_lead_nowhere_are_one_warning(tmp_path):
    path = write_nxtomo(
        tmp_path / "s.nxs",
        **{"a/current": link(h5py.ExternalLink("gone.h5", "/x")), "b": link(h5py.SoftLink("/nowhere"))},
        **{"sample/temperature": link(h5py.ExternalLink("gone.h5", "/y"))},
    )
    (warning,) = open_scan(path).warnings
    for name in ("3 links", "/entry/a/current", "/entry/b", "/entry/sample/temperature", "gone.h5", "/nowhere"):
        assert name in warning


def halves(folder, name="part{}.h5", options=None):
    frames = frames_of(KEY)
    names = []
    for i, part in enumerate((frames[:9], frames[9:])):
        names.append(name.format(i))
        put(folder / names[i], "d", part, **(options or {}))
    return [(0, h5py.VirtualSource(names[0], "d", (9, 6, 8))), (9, h5py.VirtualSource(names[1], "d", (8, 6, 8)))]


def test_virtual_dataset(tmp_path):
    sources = halves(tmp_path, options={"chunks": (1, 3, 8), "compression": "gzip"})
    path = write_nxtomo(tmp_path / "s.nxs", **{DATA: virtual(sources)})
    scan = open_scan(path)
    np.testing.assert_array_equal(scan.projections.read(), EXPECTED)
    assert scan.projections.chunk_rows == 3
    assert set(scan.files) == {path, tmp_path / "part0.h5", tmp_path / "part1.h5"}


def test_virtual_dataset_in_one_file_and_of_one_file(tmp_path):
    def make(group, name):
        group["raw"] = frames_of(KEY)
        virtual([(0, h5py.VirtualSource(".", "/entry/raw", (17, 6, 8)))])(group, name)

    np.testing.assert_array_equal(
        open_scan(write_nxtomo(tmp_path / "s.nxs", **{DATA: make})).projections.read(), EXPECTED
    )


def test_virtual_sources_named_from_elsewhere(tmp_path):
    """An absolute name of another machine, with the file copied beside; a folder moved as a whole."""
    (tmp_path / "a").mkdir()
    source = h5py.VirtualSource("/nowhere/on/this/machine/raw.h5", "d", (17, 6, 8))
    put(tmp_path / "a" / "raw.h5", "d", frames_of(KEY))
    path = write_nxtomo(tmp_path / "a" / "s.nxs", **{DATA: virtual([(0, source)])})
    np.testing.assert_array_equal(open_scan(path).projections.read(), EXPECTED)
    shutil.move(tmp_path / "a", tmp_path / "b")
    np.testing.assert_array_equal(open_scan(tmp_path / "b" / "s.nxs").projections.read(), EXPECTED)


@pytest.mark.parametrize("target", ["missing file", "missing dataset", "short", "not HDF5", "truncated", "dangling"])
def test_virtual_sources_that_are_not_whole(tmp_path, target):
    sources = halves(tmp_path)
    path = write_nxtomo(tmp_path / "s.nxs", **{DATA: virtual(sources)})
    assert open_scan(path).warnings == ()
    part = tmp_path / "part1.h5"
    whole = part.read_bytes()
    part.unlink()
    match target:
        case "missing dataset":
            put(part, "other", 1)
        case "short":
            put(part, "d", frames_of(KEY)[9:15])
        case "not HDF5":
            part.write_text("nothing")
        case "truncated":
            part.write_bytes(whole[:-100])
        case "dangling":
            put(part, "other", 1)
            with h5py.File(part, "a") as file:
                file["d"] = h5py.ExternalLink("gone.h5", "/d")
    with pytest.raises(ScanError, match=r"part1\.h5"):
        open_scan(path)


def test_a_virtual_source_that_goes_after_the_scan_was_opened(tmp_path):
    path = write_nxtomo(tmp_path / "s.nxs", **{DATA: virtual(halves(tmp_path))})
    scan = open_scan(path)
    (tmp_path / "part1.h5").rename(tmp_path / "moved.h5")
    with pytest.raises(ScanError, match=r"part1\.h5, which has gone"):
        scan.projections.read()


@pytest.mark.parametrize("name", [ANGLE, IMAGE_KEY])
def test_angles_and_keys_with_a_missing_source(tmp_path, name):
    source = h5py.VirtualSource("gone.h5", "d", (17,))
    path = write_nxtomo(tmp_path / "s.nxs", **{name: virtual([(0, source)], (17,), "f8")})
    refused(path, "gone.h5", name)


def test_virtual_dataset_with_a_gap(tmp_path):
    path = write_nxtomo(tmp_path / "s.nxs", **{DATA: virtual(halves(tmp_path)[:1])})
    refused(path, "cover 432 of 816 values")


def test_virtual_dataset_of_a_virtual_dataset(tmp_path):
    sources = halves(tmp_path)
    with h5py.File(tmp_path / "middle.h5", "w") as file:
        virtual(sources)(file, "d")
    path = write_nxtomo(tmp_path / "s.nxs", **{DATA: virtual([(0, h5py.VirtualSource("middle.h5", "d", (17, 6, 8)))])})
    np.testing.assert_array_equal(open_scan(path).projections.read(), EXPECTED)
    os.remove(tmp_path / "part0.h5")
    with pytest.raises(ScanError, match=r"part0\.h5"):
        open_scan(path)


def test_pattern_of_file_names(tmp_path):
    frames = frames_of(KEY)
    for i in range(17):
        put(tmp_path / f"f_{i}.h5", "d", frames[i : i + 1])

    def make(group, name):
        space = h5py.h5s.create_simple((17, 6, 8), (h5py.h5s.UNLIMITED, 6, 8))
        space.select_hyperslab((0, 0, 0), (h5py.h5s.UNLIMITED, 1, 1), (1, 6, 8), (1, 6, 8))
        part = h5py.h5s.create_simple((1, 6, 8))
        dcpl = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        dcpl.set_virtual(space, b"f_%b.h5", b"d", part)
        parent = group.require_group(os.path.dirname(name))
        h5py.h5d.create(parent.id, b"data", h5py.h5t.NATIVE_UINT16, space, dcpl)

    path = write_nxtomo(tmp_path / "s.nxs", **{DATA: make})
    scan = open_scan(path)
    np.testing.assert_array_equal(scan.projections.read(), EXPECTED)
    assert len(scan.files) == 18
    (tmp_path / "f_8.h5").unlink()
    with pytest.raises(ScanError):  # HDF5 ends the dataset there
        open_scan(path)


def test_bytes_in_external_raw_files(tmp_path):
    def make(group, name):
        group.create_dataset(name, data=frames_of(KEY), external=[(str(tmp_path / "raw.bin"), 0, h5py.h5f.UNLIMITED)])

    path = write_nxtomo(tmp_path / "s.nxs", **{DATA: make})
    np.testing.assert_array_equal(open_scan(path).projections.read(), EXPECTED)
    (tmp_path / "raw.bin").unlink()
    refused(path, "raw.bin")


@pytest.mark.parametrize("chunks", [None, (1, 6, 8), (4, 3, 4)])
def test_frames_that_were_never_written(tmp_path, chunks):
    def make(group, name):
        dataset = group.create_dataset(name, (17, 6, 8), "u2", chunks=chunks)
        if chunks:
            dataset[:12] = frames_of(KEY)[:12]

    path = write_nxtomo(tmp_path / "s.nxs", **{DATA: make})
    refused(path, "never written", *(["the first is 12"] if chunks else []))
    if chunks:
        key = KEY[:12] + [3] * 5
        key[2] = 2
        with h5py.File(path, "a") as file:
            file[f"entry/{IMAGE_KEY}"][...] = key
        assert open_scan(path).shape[0] == key.count(0)
