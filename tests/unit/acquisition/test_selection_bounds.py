"""Frames left out of a scan, the unit of angles, sweeps, numbers in file names, and scans of one experiment."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path

import numpy as np
import pytest

from xct_pipeline.acquisition import bounds, experiment, numbering
from xct_pipeline.acquisition.selection import SelectedFrames, runs_in_words, without
from xct_pipeline.acquisition.units import unit_factor
from xct_pipeline.scan import ArrayFrames, Scan, ScanError


def scan_of(name="s", degrees=None, **changes):
    degrees = np.linspace(0, 180, 31) if degrees is None else degrees
    data = np.random.default_rng(len(name)).integers(0, 99, (len(degrees), 4, 6)).astype(np.uint16)
    made = Scan(name, ArrayFrames(data), np.radians(degrees), files=(Path(f"{name}.nxs"),))
    flats = ArrayFrames(data[:4])
    return replace(made, flats=flats, flat_position=np.array([0.0, 0, 31, 31]), **changes)


def test_selected_frames_are_those_of_the_whole():
    whole = ArrayFrames(np.arange(10 * 3 * 4).reshape(10, 3, 4))
    kept = np.array([0, 1, 4, 5, 9])
    some = SelectedFrames(whole, kept)
    for part in (slice(None), slice(1, 4), slice(None, None, 2), slice(None, None, -1), slice(2, 2)):
        np.testing.assert_array_equal(some.read(part, slice(1, 3)), whole.data[kept][part, 1:3])
    assert some.shape == (5, 3, 4)


def test_frames_left_out_move_the_positions_of_flats():
    kept = without(scan_of(), projections=[3, 4], flats=[0])
    assert kept.shape[0] == len(kept.angles) == 29
    assert kept.flat_position.tolist() == [0, 29, 29]
    assert without(kept) is kept
    with pytest.raises(ScanError, match="there are 31, from 0 on"):
        without(scan_of(), projections=[31])


def test_runs_are_named_briefly():
    assert runs_in_words([3, 4, 7]) == "3 and 4 and 7"
    assert runs_in_words([90, 91, 92]) == "90 to 92"
    assert runs_in_words(range(0, 40, 2)) == "0, 2, 4 ..."


def test_the_likely_unit_is_named():
    degrees = np.linspace(0, 180, 181)
    assert bounds.likely_unit(np.radians(degrees)) is None
    assert bounds.likely_unit(degrees) == "degree"
    assert bounds.likely_unit(np.radians(np.radians(2 * degrees))) == "radian"
    assert bounds.likely_unit(np.radians((np.arange(233) * 111.246) % 180)) is None
    wrong = scan_of(degrees=np.degrees(degrees))
    with pytest.raises(ScanError, match="as degrees it is half a turn"):
        bounds.angles_in_unit(wrong, None)
    np.testing.assert_allclose(bounds.angles_in_unit(wrong, "degree").angles, np.radians(degrees))


def test_sweeps():
    half = np.radians(np.linspace(0, 180, 91))
    assert bounds.sweeps(half) == []
    assert bounds.sweeps(2 * half) == []
    assert bounds.sweeps(np.mod(half - 2, 2 * np.pi)) == []
    assert len(bounds.sweeps(3 * half)) == 1
    assert len(bounds.sweeps(np.concatenate([half, half[::-1]]))) == 2


@pytest.mark.parametrize("unit", ["px", "pixels", "dot"])
def test_pixels_are_no_length(unit):
    with pytest.raises(ScanError, match="no length"):
        unit_factor(unit, "micrometer")


def test_lengths_per_pixel():
    assert unit_factor("um/pixel", "micrometer") == pytest.approx(1)


def test_missing_numbers_and_strays():
    files = [Path(f"p/a_{k:04d}.tif") for k in range(40) if k not in (10, 11, 12)]
    with pytest.raises(ScanError, match=r"3 of 40 numbers are missing \(10 to 12\).*set count = 40"):
        numbering.places_of(files, 37)
    places = numbering.places_of(files, 40)
    assert places is not None
    assert places[10] == 13
    assert numbering.places_of([Path(f"a_{k}.tif") for k in range(0, 40, 2)], 20) is None
    with pytest.raises(ScanError, match=r"a_180deg\.tif is named unlike the other 37"):
        numbering.places_of([*files, Path("p/a_180deg.tif")], 38)


def test_scans_of_one_experiment():
    noon = datetime(2026, 5, 1, 12)
    east = timezone(timedelta(hours=2))
    first = scan_of("one", start=noon.replace(tzinfo=east), energy_keV=30.0, pixel_size_um=10.0)
    later = scan_of("second", start=noon - timedelta(hours=1), energy_keV=33.0, pixel_size_um=10.0)
    same = replace(first, name="copy", start=noon.replace(tzinfo=east) + timedelta(hours=1))
    clocks = experiment.one_clock([first, later, same])
    assert "state no zone" in clocks[1].warnings[0]
    told = experiment.compare(clocks)
    assert told[0] == []
    assert any("33 keV" in text for text in told[1])
    assert any("taken before one" in text for text in told[1])
    assert told[2] == ["it holds the same frames as one: one file twice?"]
