"""`xct init DIR && xct check && xct run` on the layouts of beamlines: the volumes of plain scans, bit for bit."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import h5py
import layouts
import numpy as np
import pytest
from command import shards, xct
from layouts import FIRST_ONLY, LAYOUTS, Counts

SERIES = layouts.series()
CHEAP = "hex_pairs"
RUN = ("run", "--until", "reconstruction")
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


def volumes_of(raw: Path, work: Path, commands: Sequence[tuple[str, ...]], capsys: Any) -> list[bytes]:
    """Begin a folder of work with what `init` finds in the raw one; return the volumes after some commands there."""
    work.mkdir()
    with contextlib.chdir(work):
        for command in (("init", raw), *commands):
            ended = xct(capsys, *command)
            assert ended.code == 0, (command, ended.out, ended.err)
    return bytes_of(work / "store.zarr")


@pytest.fixture(scope="module")
def of_plain() -> dict[tuple[Any, ...], list[bytes]]:
    """Volumes of the plain scans run so far: those of most layouts are the same."""
    return {}


@pytest.mark.parametrize(
    "name", [name if name == CHEAP else pytest.param(name, marks=pytest.mark.slow) for name in LAYOUTS]
)
def test_a_layout_gives_the_volumes_of_plain_scans(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], of_plain: dict[tuple[Any, ...], list[bytes]]
) -> None:
    if name == "edf_folders":
        pytest.importorskip("fabio")
    count = {"hex_averaged": 1, "hex_two_cameras": 2}.get(name, 3)
    (tmp_path / "raw").mkdir()
    LAYOUTS[name](tmp_path / "raw", SERIES)
    found = volumes_of(tmp_path / "raw", tmp_path / "work_raw", [("check",), RUN], capsys)
    kind = (count, name in FIRST_ONLY, name == "dx_pre_post", PIXELS.get(name))
    if kind not in of_plain:
        (tmp_path / "plain").mkdir()
        for k in range(count):
            references = SERIES[0 if name in FIRST_ONLY else k]
            path = tmp_path / "plain" / f"scan_{k}.nxs"
            write_plain(path, SERIES[k], references, name == "dx_pre_post", PIXELS.get(name))
        of_plain[kind] = volumes_of(tmp_path / "plain", tmp_path / "work_plain", [RUN], capsys)
    assert len(found) == len(of_plain[kind]) > 0
    if name not in NOT_EQUAL:
        assert found == of_plain[kind]
