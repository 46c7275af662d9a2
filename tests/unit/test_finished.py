"""A run is finished only as long as no file that it read is another."""

from __future__ import annotations

from pathlib import Path

import pytest

from xct_pipeline.config.file import parse_config
from xct_pipeline.planning.finished import outside_files
from xct_pipeline.store import provenance

READ = ("log.csv", "spectrum.csv", "sweep.csv", "cycles.csv", "mask.tif", "region.tif", "labels.tif")


@pytest.mark.parametrize("changed", READ)
def test_every_file_beside_the_raw_scans_counts(tmp_path: Path, changed: str) -> None:
    for name in READ:
        (tmp_path / name).write_text(name)
    config = parse_config(
        {
            "output": "s.zarr",
            "acquisition": {"scans": ["a.nxs"]},
            "registration": {"mask": {"painted": "mask.tif"}},
            "segmentation": {"method": "classifier", "labels": "labels.tif", "names": ["gas", "metal"]},
            "variation": {"region": {"painted": "region.tif"}},
            "electrochemistry": {
                "log": "log.csv",
                "impedance": [{"file": "spectrum.csv", "scan": 0}],
                "voltammetry": {"file": "sweep.csv"},
                "cycling": {"file": "cycles.csv"},
            },
        },
        tmp_path,
    )
    before = provenance.file_identity(outside_files(config))
    assert len(before) == len(READ)
    (tmp_path / changed).write_text("another")
    assert provenance.file_identity(outside_files(config)) != before


def test_a_log_is_not_needed(tmp_path: Path) -> None:
    (tmp_path / "spectrum.csv").touch()
    config = parse_config(
        {
            "output": "s.zarr",
            "acquisition": {"scans": ["a.nxs"]},
            "electrochemistry": {"impedance": [{"file": "spectrum.csv", "scan": 0}]},
        },
        tmp_path,
    )
    assert [Path(entry[0]).name for entry in provenance.file_identity(outside_files(config))] == ["spectrum.csv"]
