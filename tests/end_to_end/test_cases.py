"""What beamlines do to scans: the right value all the same, or a refusal or warning that names the cause."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import zarr
from cases import CASES, CENTER, WIDTH, Case, Raw

from xct_pipeline import pipeline
from xct_pipeline.config.file import load_config
from xct_pipeline.engine.resources import Resources
from xct_pipeline.scan import ScanError


def told_and_body(case: Case, folder: Path) -> tuple[list[str], float]:
    """Run one case; return what is told and the mean of the body (nan where nothing was written)."""
    raw = Raw.make()
    raw = case.spoil(raw) or raw
    raw.write(folder / "scan.nxs")
    text = f'output = "store.zarr"\n[acquisition]\nscans = ["scan.nxs"]\nenergy_keV = 30.0\n{case.settings}\n'
    (folder / "run.toml").write_text(f"{text}[reconstruction]\ncenter = {CENTER}\n")
    try:
        plan = pipeline.plan(load_config(folder / "run.toml"), Resources(1, 2_000_000_000))
        (result,) = pipeline.run(plan).scans
    except ScanError as error:
        return [str(error)], float("nan")
    if result.problem:
        return [*result.warnings, result.problem], float("nan")
    volume = zarr.open(str(folder / "store.zarr/scans/scan/volume/0"))[:]
    y, x = np.mgrid[:WIDTH, :WIDTH] - (WIDTH - 1) / 2
    r = np.hypot(x, y)
    ring = (r > 19.5) & (r < 27)  # beyond insert and void
    return list(result.warnings), float(volume[2][ring].mean())


@pytest.mark.parametrize("case", CASES, ids=[case.kind for case in CASES])
def test_cases(case: Case, tmp_path: Path) -> None:
    told, body = told_and_body(case, tmp_path)
    print(f"| {case.kind} | {body:.2f} | {' '.join(told)[-150:] or '-'} |")
    if case.told:
        assert any(re.search(case.told, text) for text in told), told
    else:
        assert not told
    assert len(told) == len(set(told))
    if case.right:
        assert body == pytest.approx(10.0, rel=0.015)
    else:
        assert not np.isfinite(body)


def test_frames_are_kept_in_a_table(tmp_path: Path) -> None:
    (case,) = (case for case in CASES if case.kind == "empty frames")
    told_and_body(case, tmp_path)
    table = (tmp_path / "store.zarr/tables/frames.csv").read_text().splitlines()
    assert table[0] == "scan,kind,first,last,frames,level,left_out,finding"
    assert "scan,projections,30,30,1,1,True," in table[4]
    assert "scan,projections,90,90,1,1,True," in table[5]
