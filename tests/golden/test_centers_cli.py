"""``xct center`` on two measured scans against published figures."""

from __future__ import annotations

import pytest
from command import xct

SAVU = (
    '[[acquisition.tiff]]\nname = "scan"\nprojections = "{0}/savu_24737/projections/*.tiff"\n'
    'flats = "{0}/savu_24737/flat*.tiff"\ndarks = "{0}/savu_24737/dark*.tiff"\n'
    'angles = {{ file = "{0}/savu_24737/angles.txt", lines = [10, 101] }}\n'
)
TOOTH = '[acquisition]\nscans = ["{0}/tooth.h5"]\n'


@pytest.mark.parametrize(
    ("config", "low", "high"), [(SAVU, 85.68, 85.98), (TOOTH, 295.3, 296.5)], ids=["savu_24737", "tooth"]
)
def test_center(capsys, data_folder, tmp_path, config, low, high):
    (tmp_path / "run.toml").write_text('output = "store.zarr"\n' + config.format(data_folder))
    ended = xct(capsys, "center", tmp_path / "run.toml", "--json")
    assert ended.code == 0, ended.err
    (found,) = ended.json.values()
    print(f"{found['center']:.3f} +- {found['sigma']:.3f}, metric {found['metric_center']:.3f}")
    assert low < found["center"] < high
    assert found["method"] == "registration"
    assert found["sigma"] < 0.1
    assert abs(found["agreement"]) < 1
    assert (tmp_path / "run_center.png").stat().st_size > 10_000
    assert not (tmp_path / "store.zarr").exists()
