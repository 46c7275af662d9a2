"""`xct init DIR && xct check && xct run` on the layouts of beamlines: the volumes of plain scans, bit for bit."""

from __future__ import annotations

from pathlib import Path

import h5py
import layouts
import numpy as np
import pytest
from command import shards, shell
from layouts import FIRST_ONLY, LAYOUTS, Counts

SERIES = layouts.series()
CHEAP = "hex_pairs"
NOT_EQUAL = {
    "i12": "angles run on beyond a turn",
    "swinging": "angles run backwards",
    "hex_averaged": "angles are means",
}


PIXELS = {"fxi": (20.3, "nm"), "als_832": (0.00065, "mm"), "petra": (0.00128, "mm")}
"""Sizes of a pixel that the files of a layout tell, so that its volumes are in 1/cm."""


def write_plain(path: Path, scan: Counts, references: Counts, around: bool, pixel: tuple[float, str] | None) -> None:
    """Write NXtomo with darks and flats before the projections, or half of the flats after them."""
    flats = references.flats
    first, last = (flats[:3], flats[3:]) if around else (flats, flats[:0])
    blocks = ((references.darks, 2), (first, 1), (scan.projections, 0), (last, 1))
    key = np.concatenate([np.full(len(block), kind) for block, kind in blocks])
    angles = np.zeros(len(key))
    angles[key == 0] = scan.degrees
    with h5py.File(path, "w") as file:
        file["entry/definition"] = "NXtomo"
        file["entry/instrument/detector/data"] = np.concatenate([block for block, _ in blocks])
        file["entry/instrument/detector/image_key"] = key
        file["entry/sample/rotation_angle"] = angles
        file["entry/sample/rotation_angle"].attrs["units"] = "degree"
        if pixel is not None:
            file["entry/instrument/detector/x_pixel_size"] = pixel[0]
            file["entry/instrument/detector/x_pixel_size"].attrs["units"] = pixel[1]


def bytes_of(store: Path) -> list[bytes]:
    """Return the finest level of every volume, in order of the scans."""
    found = shards(store)
    return [found[name] for name in sorted(found) if "/volume/0/c/" in name]


@pytest.mark.parametrize(
    "name", [name if name == CHEAP else pytest.param(name, marks=pytest.mark.slow) for name in LAYOUTS]
)
def test_a_layout_gives_the_volumes_of_plain_scans(name: str, tmp_path: Path) -> None:
    if name == "edf_folders":
        pytest.importorskip("fabio")
    count = {"hex_averaged": 1, "hex_two_cameras": 2}.get(name, 3)
    (tmp_path / "raw").mkdir()
    (tmp_path / "plain").mkdir()
    LAYOUTS[name](tmp_path / "raw", SERIES)
    for k in range(count):
        references = SERIES[0 if name in FIRST_ONLY else k]
        path = tmp_path / "plain" / f"scan_{k}.nxs"
        write_plain(path, SERIES[k], references, name == "dx_pre_post", PIXELS.get(name))
    ran = []
    for folder in ("raw", "plain"):
        where = tmp_path / f"work_{folder}"
        where.mkdir()
        looked_at = [("check",)] if folder == "raw" else []
        for command in (("init", tmp_path / folder), *looked_at, ("run", "--until", "reconstruction")):
            ended = shell(*command, cwd=where)
            assert ended.code == 0, (command, ended.out, ended.err)
        ran.append(bytes_of(where / "store.zarr"))
    assert len(ran[0]) == len(ran[1]) > 0
    if name not in NOT_EQUAL:
        assert ran[0] == ran[1]
