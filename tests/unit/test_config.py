"""Configurations: defaults, every error at once, names that were nearly right, paths."""

from __future__ import annotations

from pathlib import Path

import pytest

from xct_pipeline.config import Fourier, StripeDefects
from xct_pipeline.config.file import ConfigError, load_config, parse_config
from xct_pipeline.scan import ScanError

LEAST = {"output": "s.zarr", "acquisition": {"scans": ["a.nxs"]}}


def problems(**changes: object) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        parse_config({**LEAST, **changes})
    return caught.value.problems


def test_least_configuration_and_frozen():
    config = parse_config(LEAST)
    assert isinstance(config.reconstruction, Fourier)
    assert config.reconstruction.center == "auto"
    assert config.correction.stripe.method == "none"
    with pytest.raises(ValueError, match="frozen"):
        config.output = "other"  # type: ignore[misc]


def test_a_method_brings_its_defaults():
    config = parse_config({**LEAST, "correction": {"stripe": {"method": "defects", "snr": 4}}})
    assert config.correction.stripe == StripeDefects(method="defects", snr=4)


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"acquisitions": {}}, "acquisitions: unknown key; did you mean acquisition?"),
        ({"correction": {"stripes": {}}}, "correction.stripes: unknown key; did you mean stripe?"),
        ({"correction": {"stripe": {"method": "al"}}}, "did you mean all?"),
        ({"correction": {"stripe": {"snr": 3}}}, "correction.stripe: say which method"),
        ({"reconstruction": {"filtr": "hann"}}, "reconstruction.filtr: unknown key; did you mean filter?"),
        ({"reconstruction": {"method": "astra", "iteration": 3}}, "iteration: unknown key; did you mean iterations?"),
        ({"reconstruction": {"cutoff": 0}}, "reconstruction.cutoff = 0"),
        ({"correction": {"stripe": {"method": "all", "large_size": 50}}}, "an odd number"),
        ({"acquisition": {}}, "no scans"),
        ({"acquisition": {"scans": ["a"], "rows": [5, 5]}}, "first < stop"),
        ({"acquisition": {"tiff": [{"name": "a", "projections": "*"}]}}, "acquisition.tiff.0.angles: missing"),
        ({"registration": {"start": {"b": {"shift": [1, 2]}}}}, "registration.start.b.shift.2: missing"),
        (
            {"registration": {"start": {"b": {"shfit": 1}}}},
            "registration.start.b.shfit: unknown key; did you mean shift?",
        ),
        ({"registration": {"fragments": {"lid": {"bx": 1}}}}, "registration.fragments.lid.bx: unknown key"),
        ({"variation": {"measured": {"b": -1}}}, "variation.measured.b = -1"),
        ({"folder": "/"}, "folder: unknown key"),
        ({"output": 3}, "output = 3"),
    ],
)
def test_errors(changes, line):
    assert any(line in problem for problem in problems(**changes)), problems(**changes)


def test_every_error_at_once():
    found = problems(seeds=1, reconstruction={"centre": 3, "cutoff": 2}, acquisition={"scans": ["a"], "bin": 2})
    assert len(found) == 4


def test_paths_start_at_the_folder(tmp_path):
    for name in ("scan_10.nxs", "scan_2.nxs"):
        (tmp_path / name).touch()
    file = tmp_path / "run.toml"
    file.write_text('output = "../s.zarr"\n[acquisition]\nscans = ["scan_*.nxs", "/data/x.nxs"]\n')
    config = load_config(file)
    assert config.store_path == tmp_path.parent / "s.zarr"
    expected = [tmp_path / "scan_2.nxs", tmp_path / "scan_10.nxs", Path("/data/x.nxs")]
    assert config.expand(config.acquisition.scans) == expected
    with pytest.raises(ScanError, match="no file matches"):
        config.expand("nothing_*.nxs")


def test_globs_are_sorted_naturally(tmp_path):
    for name in ("f10", "f9", "a2", "f1"):
        (tmp_path / f"{name}.nxs").touch()
    config = parse_config({"output": "s", "acquisition": {"scans": ["*.nxs"]}}, tmp_path)
    assert [file.stem for file in config.expand("*.nxs")] == ["a2", "f1", "f9", "f10"]


@pytest.mark.parametrize(
    "changes",
    [
        {"acquisition": {**LEAST["acquisition"], "energy_keV": True}},
        {"acquisition": {**LEAST["acquisition"], "binning": True}},
    ],
)
def test_true_is_no_number(changes):
    with pytest.raises(ConfigError, match="cannot be true"):
        parse_config({**LEAST, **changes})
