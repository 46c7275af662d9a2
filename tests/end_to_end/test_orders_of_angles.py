"""Projections may be taken in any order of their angles: nothing of a sound detector is taken for a defect."""

from __future__ import annotations

import numpy as np
import pytest
import zarr
from cases import Raw
from command import xct

N = 121
ORDERS = {
    "golden section": np.mod(np.arange(N) * 111.246117975, 180),
    "golden section, going on": np.arange(N) * 111.246117975,
    "interlaced": np.concatenate([np.linspace(0, 180, N)[k::5] for k in range(5)]),
    "drawn": np.random.default_rng(1).permutation(np.linspace(0, 180, N)),
    "backwards": np.linspace(180, 0, N),
}


def ran(capsys, folder, raw: Raw, method: str):
    """Return what was said and the volume."""
    folder.mkdir(exist_ok=True)
    lines = raw.write(folder)
    (folder / "run.toml").write_text(
        f'output = "store.zarr"\n[reconstruction]\ncenter = {raw.center}\n[correction.stripe]\nmethod = "{method}"\n'
        f"[acquisition]\n{lines}"
    )
    ended = xct(capsys, "run", folder / "run.toml")
    assert ended.code == 0, ended.err
    return ended.out + ended.err, zarr.open(folder / "store.zarr/scans/scan/volume/0")[:]


def difference(one: np.ndarray, other: np.ndarray) -> float:
    return float(np.abs(one - other).mean() / np.abs(other).mean())


@pytest.mark.parametrize("order", ORDERS)
def test_a_sound_scan_is_told_nothing_of_and_loses_no_column(capsys, tmp_path, order):
    said, as_it_is = ran(capsys, tmp_path / "none", Raw.make(ORDERS[order]), "none")
    assert "warning" not in said.lower()
    said, corrected = ran(capsys, tmp_path / "defects", Raw.make(ORDERS[order]), "defects")
    assert "warning" not in said.lower()
    assert difference(corrected, as_it_is) < 0.01


@pytest.mark.parametrize("order", ["golden section", "interlaced"])
def test_a_ring_is_told_and_taken_out(capsys, tmp_path, order):
    _, sound = ran(capsys, tmp_path / "sound", Raw.make(ORDERS[order]), "none")
    raw = Raw.make(ORDERS[order])
    raw.projections[:, :, 60] = 200 + 0.8 * (raw.projections[:, :, 60] - 200)
    said, ring = ran(capsys, tmp_path / "none", raw, "none")
    assert "rings: in 4 of 4 rows" in said
    assert "columns 60" in said
    said, corrected = ran(capsys, tmp_path / "defects", raw, "defects")
    assert "rings" not in said
    assert difference(corrected, sound) < 0.15 * difference(ring, sound)
