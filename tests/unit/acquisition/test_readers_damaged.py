"""Files cut or garbled at random: always a ScanError that names the file, never another exception."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest
from nxtomo_writer import KEY, frames_of, write_nxtomo

from xct_pipeline.acquisition import open_scan
from xct_pipeline.scan import ScanError


def attempt(path: Path) -> bool:
    """Open and read everything; whether that worked."""
    try:
        scan = open_scan(path)
        for frames in (scan.projections, scan.flats, scan.darks):
            if frames is not None:
                frames.read()
    except ScanError as error:
        if "\n" in str(error) or str(path.parent) not in str(error):
            raise AssertionError(f"not one line that names the file: {error!r}") from error
        str(error).encode("utf-8")
        return False
    return True


def test_cut_at_random_bytes(tmp_path):
    rng = np.random.default_rng(1)

    def packed(group, name):
        group.create_dataset(name, data=frames_of(KEY), chunks=(1, 6, 8), compression="gzip")

    for i, changes in enumerate(({}, {"instrument/detector/data": packed})):
        whole = write_nxtomo(tmp_path / f"whole{i}.nxs", **changes).read_bytes()
        for size in rng.integers(0, len(whole), 60):
            (tmp_path / "cut.nxs").write_bytes(whole[:size])
            assert not attempt(tmp_path / "cut.nxs")


_GARBLE = """
import sys
import numpy as np
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from test_readers_damaged import attempt
whole = Path(sys.argv[1]).read_bytes()
rng = np.random.default_rng(0)
path = Path(sys.argv[1]).with_name("garbled.nxs")
for _ in range(150):
    bad = bytearray(whole)
    for place in rng.integers(0, len(whole), rng.integers(1, 20)):
        bad[place] = rng.integers(0, 256)
    path.write_bytes(bad)
    attempt(path)
"""


def test_garbled_at_random_bytes(tmp_path):
    """In a process of its own: the HDF5 library can crash or hang in what nobody has ever written."""
    path = write_nxtomo(tmp_path / "whole.nxs", **{"instrument/detector/data": frames_of(KEY)})
    here = Path(__file__).parent
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(here.parents[2]), os.environ.get("PYTHONPATH", "")])}
    try:
        done = subprocess.run(
            [sys.executable, "-c", _GARBLE, str(path), str(here)],
            env=environment,
            capture_output=True,
            text=True,
            timeout=300,
        )
    except subprocess.TimeoutExpired:
        pytest.skip("the HDF5 library itself hung")
    if done.returncode < 0:
        pytest.skip(f"the HDF5 library itself crashed (signal {-done.returncode})")
    assert done.returncode == 0, done.stderr[-2000:]


STRANGE = [
    np.float64(np.nan),
    "text",
    b"\xff\xfe\x80",
    np.array([], "f8"),
    np.array([1, 2, 3]),
    h5py.Empty("f4"),
    np.array([[1.0]]),
    True,
    np.array(["a", "b"], dtype=h5py.string_dtype()),
    np.zeros(2, [("a", "i4"), ("b", "f8")]),
    np.uint64(2**64 - 1),
    -1e308,
    "\u0000x"[1:],
    "𝔘𝔫𝔦",
    1 + 2j,
    h5py.Reference(),
]


@pytest.mark.parametrize("value", STRANGE, ids=[str(i) for i in range(len(STRANGE))])
def test_strange_values_everywhere(tmp_path, value):
    names = [
        "definition",
        "title",
        "start_time",
        "end_time",
        "sample/name",
        "instrument/detector/x_pixel_size",
        "instrument/detector/distance",
        "instrument/beam/incident_energy",
        "instrument/detector/image_key",
        "instrument/detector/image_key_control",
        "instrument/detector/magnification",
        "sample/rotation_angle",
        "instrument/detector/saturation_value",
        "instrument/detector/bit_depth_readout",
        "instrument/detector/data",
    ]
    changes = [{name: value} for name in names] + [
        {f"{name}@{attribute}": value}
        for name in (
            "sample/rotation_angle",
            "instrument/detector/x_pixel_size",
            "instrument/detector",
            "instrument",
            "sample",
        )
        for attribute in ("units", "NX_class", "signal", "axes")
    ]
    for i, change in enumerate(changes):
        path = tmp_path / f"{i}.nxs"
        try:
            write_nxtomo(path, **change)
        except (TypeError, ValueError):  # h5py cannot write that there
            continue
        attempt(path)
