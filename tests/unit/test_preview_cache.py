"""What previews keep between calls: bits as without it, nothing read twice, nothing kept of data that changed."""

from __future__ import annotations

import os

import h5py
import numpy as np
import pytest

from xct_pipeline.acquisition.hdf5 import Hdf5Frames
from xct_pipeline.config.file import load_config
from xct_pipeline.demo import simulate_folder
from xct_pipeline.planning import preview as previewing
from xct_pipeline.planning import preview_cache
from xct_pipeline.planning.preview_cache import KeptRows
from xct_pipeline.scan import ArrayFrames


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """One scan whose chunks are whole frames, compressed: any row decodes all of them."""
    folder = tmp_path_factory.mktemp("hostile")
    simulate_folder(folder, scans=1, columns=64, rows=40, angles=91)
    with h5py.File(folder / "scan_00.nxs", "r+") as file:
        places = []
        file.visititems(lambda place, node: places.append(place) if getattr(node, "ndim", 0) == 3 else None)
        values, parent, name = file[places[0]][:], file[places[0]].parent, places[0].rpartition("/")[2]
        attributes = dict(parent[name].attrs)
        del parent[name]
        parent.create_dataset(name, data=values, chunks=(1, *values.shape[1:]), compression="gzip")
        parent[name].attrs.update(attributes)
    return folder


@pytest.fixture
def kept(tmp_path, monkeypatch):
    monkeypatch.setenv("XCT_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "previews"


@pytest.fixture
def frames_read(monkeypatch):
    """Names of the calls that read frames of projections."""
    calls, real = [], Hdf5Frames.read

    def read(self, frames=slice(None), *box):
        calls.append(self.index[frames].size)
        return real(self, frames, *box)

    monkeypatch.setattr(Hdf5Frames, "read", read)
    return calls


def config_of(folder, tmp_path, **tables):
    text = (folder / "run.toml").read_text()
    text = text[: text.index("[registration]")]
    for key, value in tables.items():
        text += f"\n[{key.replace('_', '.')}]\n{value}\n"
    file = folder / f"{tmp_path.name}.toml"
    file.write_text(text)
    return load_config(file)


@pytest.mark.parametrize("phase", [False, True])
def test_a_second_preview_reads_no_frame_and_gives_the_same_bits(folder, tmp_path, kept, frames_read, phase):
    more = {"correction_phase": 'method = "paganin"\ndelta_beta = 100.0\ndistance_mm = 20.0'} if phase else {}
    config = config_of(folder, tmp_path, **more)
    first = previewing.preview(config, 20)["scan_00"]
    assert sum(frames_read) > 91
    assert len(list((kept / "slabs").glob("*.npy"))) == 1
    frames_read.clear()
    assert np.array_equal(previewing.preview(config, 20)["scan_00"], first)
    assert sum(frames_read) < 20  # opening a scan looks at a few
    frames_read.clear()
    previewing.preview(config, 21)  # of the same group of rows
    assert sum(frames_read) < 20  # opening a scan looks at a few
    assert not config.store_path.exists()


def test_a_file_that_changed_is_read_again(folder, tmp_path, kept, frames_read):
    config = config_of(folder, tmp_path)
    previewing.preview(config, 20)
    frames_read.clear()
    os.utime(folder / "scan_00.nxs", ns=(1, 1))
    previewing.preview(config, 20)
    assert sum(frames_read) > 91
    assert len(list((kept / "slabs").glob("*.npy"))) == 2


def test_where_nothing_can_be_kept_previews_go_on(folder, tmp_path, monkeypatch):
    config = config_of(folder, tmp_path)
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XCT_CACHE", str(tmp_path / "file"))  # no folder can be made in a file
    assert preview_cache.estimates_of(config) is None
    assert np.isfinite(previewing.preview(config, 20)["scan_00"]).all()


class Source:
    def __init__(self, values):
        self.values, self.reads = ArrayFrames(values), 0

    def read(self, region):
        self.reads += 1
        return self.values.read(*region)

    def nbytes(self, region):
        return 8


def test_old_slabs_make_room_and_torn_ones_are_read_anew(kept, monkeypatch):
    monkeypatch.setattr(preview_cache, "KEPT_BYTES", 5000)
    source = Source(np.arange(4000.0).reshape(10, 20, 20))
    rows = KeptRows(source, {"scan": 1})
    regions = [(slice(0, 10), slice(k, k + 1), slice(0, 20)) for k in range(3)]
    for k, region in enumerate(regions):
        assert np.array_equal(rows.read(region), source.values.read(*region))
        newest = max((kept / "slabs").glob("*.npy"), key=lambda slab: slab.stat().st_mtime_ns)
        os.utime(newest, (k, k))
    assert len(list((kept / "slabs").iterdir())) == 2
    assert source.reads == 3
    rows.read(regions[2])
    assert source.reads == 3
    rows.read(regions[0])
    assert source.reads == 4
    for slab in (kept / "slabs").iterdir():
        slab.write_bytes(slab.read_bytes()[:100])
    assert np.array_equal(rows.read(regions[0]), source.values.read(*regions[0]))
    assert np.array_equal(KeptRows(source, {"scan": 2}).read(regions[0]), source.values.read(*regions[0]))
    assert source.reads == 6
