"""What is asked of every scan, flats that are none, plain facts, and units."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from xct_pipeline.acquisition import units
from xct_pipeline.acquisition.checks import checked, covered_range, scan_facts
from xct_pipeline.acquisition.steps import working_frame
from xct_pipeline.acquisition.units import unit_factor
from xct_pipeline.config import Acquisition
from xct_pipeline.correction.steps.references import measure_references
from xct_pipeline.scan import ArrayFrames, Scan, ScanError


def make(flats=None, darks=None, **changes):
    flats = np.full((3, 10, 20), 1000, np.uint16) if flats is None else flats
    darks = np.full((2, 10, 20), 10, np.uint16) if darks is None else darks
    scan = Scan(
        name="s",
        projections=ArrayFrames(np.full((9, 10, 20), 500, np.uint16)),
        angles=np.linspace(0, np.pi, 9),
        flats=ArrayFrames(flats),
        darks=ArrayFrames(darks),
        flat_position=np.array([0.0, 0, 9]),
        dark_position=np.zeros(2),
        saturation=65535.0,
        files=(Path("s.nxs"),),
    )
    return replace(scan, **changes)


def references(scan):
    return measure_references(scan, working_frame(scan, Acquisition(scans=["s.nxs"])), "linear")


def test_good_flats_pass():
    flats = np.full((3, 10, 20), 1000, np.uint16)
    flats[1, 0, :2] = 0  # 1 %, not more
    for scan in (checked(make(flats)), replace(make(flats), flats=None), replace(make(flats), darks=None)):
        assert references(scan).findings == []


@pytest.mark.parametrize(("value", "words"), [(0, "zero"), (65535, "saturated"), (np.nan, "not finite")])
def test_a_flat_with_bad_pixels_is_left_out(value, words):
    flats = np.full((3, 10, 20), 1000, np.float32)
    flats[2, 0, :30] = value
    flats[2, 1:4] = value
    (finding,) = references(make(flats)).findings
    assert (finding.kind, finding.frames, finding.left_out) == ("flats", (2,), True)
    assert words in finding.what


def test_flats_no_brighter_than_darks():
    same = np.full((3, 10, 20), 10, np.uint16)
    with pytest.raises(ScanError, match="no brighter than the darks"):
        references(make(same))
    with pytest.raises(ScanError, match="no brighter"):
        references(make(same, np.full((1, 10, 20), 1000, np.uint16)))
    hot = same.copy()
    hot[:, 0, 0] = 60000  # a hot pixel does not make a flat
    with pytest.raises(ScanError, match="no brighter"):
        references(make(hot))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"angles": np.linspace(0, 1, 8)}, "8 angles for 9 projections"),
        ({"angles": np.array([np.inf, *np.arange(8)])}, "1 angles are not numbers"),
        ({"angles": np.zeros(9)}, "all 9 angles are 0"),
        ({"flats": ArrayFrames(np.zeros((0, 10, 20)))}, 'flats = "none"'),
        ({"darks": ArrayFrames(np.zeros((0, 10, 20)))}, 'darks = "none"'),
        ({"darks": ArrayFrames(np.zeros((2, 20, 10)))}, "darks are"),
        ({"pixel_size_um": 0.0}, "pixel_size_um = 0"),
        ({"energy_keV": np.nan}, "energy_keV = nan"),
    ],
)
def test_refused(changes, words):
    with pytest.raises(ScanError) as caught:
        checked(make(**changes))
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("degrees", "covered"),
    [
        (np.arange(0, 180.5, 1), 180),
        (np.arange(180, -0.5, -1), 180),
        (np.arange(0, 120.5, 1), 120),
        (np.arange(0, 360, 0.5), 180),
        (np.mod(np.arange(300, 420.5, 1), 360), 121),  # wrapped: travelled 359, covers 120
        (np.mod(np.arange(181) * 137.508, 360), 180),  # golden ratio
        (np.arange(1000, 1180.5, 1), 180),
    ],
)
def test_covered_range(degrees, covered):
    assert np.rad2deg(covered_range(np.deg2rad(degrees))) == pytest.approx(covered, abs=2)


def test_facts_are_plain():
    facts = scan_facts(checked(make()))
    assert json.loads(json.dumps(facts)) == facts
    assert (facts["projections"], facts["rows"], facts["columns"], facts["flats_before"], facts["flats_after"]) == (
        9,
        10,
        20,
        2,
        1,
    )
    assert facts["angle_step_deg"] == pytest.approx(22.5)


@pytest.mark.parametrize(
    ("unit", "to", "factor"),
    [
        ("deg", "radian", np.pi / 180),
        ("degrees", "radian", np.pi / 180),
        ("°", "radian", np.pi / 180),
        ("Degrees", "radian", np.pi / 180),
        ("DEG", "radian", np.pi / 180),
        ("rad", "radian", 1),
        ("mrad", "radian", 1e-3),
        ("radians", "radian", 1),
        ("m", "micrometer", 1e6),
        ("mm", "micrometer", 1e3),
        ("um", "micrometer", 1),
        ("µm", "micrometer", 1),
        ("μm", "micrometer", 1),
        ("microns", "micrometer", 1),
        ("nm", "micrometer", 1e-3),
        ("Angstrom", "micrometer", 1e-4),
        ("A", "micrometer", 1e-4),
        ("metre", "micrometer", 1e6),
        ("eV", "keV", 1e-3),
        ("keV", "keV", 1),
        ("kev", "keV", 1),
        ("KeV", "keV", 1),
        ("MeV", "keV", 1e3),
        ("GeV", "keV", 1e6),
        ("J", "keV", 6.241509074460763e15),
    ],
)
def test_units(unit, to, factor):
    assert unit_factor(unit, to) == pytest.approx(factor, rel=1e-9)


@pytest.mark.parametrize(("to", "unit"), [(to, unit) for to, known in units._COMMON.items() for unit in known])
def test_common_units_are_those_of_pint(to: str, unit: str, monkeypatch: pytest.MonkeyPatch) -> None:
    stated = units._COMMON[to][unit]
    monkeypatch.setitem(units._COMMON, to, {})
    assert unit_factor.__wrapped__(unit, to) == pytest.approx(stated, rel=1e-15)


@pytest.mark.parametrize(
    "unit",
    ["", " ", "degre", "mm", "counts", "m**", "1e3", "(" * 3000, "deg/s", "keV*", "\x00", "None", "__import__('os')"],
)
def test_units_that_are_refused(unit):
    with pytest.raises(ScanError, match="unit"):
        unit_factor(unit, "radian")
