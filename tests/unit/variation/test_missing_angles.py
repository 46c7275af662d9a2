"""Holes between the angles enter the errors of the mass: of grey values, or of the change where both miss the same."""

from __future__ import annotations

import numpy as np
import pytest
from stored_series import reference_volume

from xct_pipeline.acquisition.holes import scale_error
from xct_pipeline.config import Variation
from xct_pipeline.registration.steps.volumes import Motion
from xct_pipeline.scan import Scan
from xct_pipeline.variation import budget
from xct_pipeline.variation.anode import Anode
from xct_pipeline.variation.closures import CLOSURES
from xct_pipeline.variation.steps.physics import Physics, errors_of
from xct_pipeline.variation.steps.series import RegisteredSeries

WHOLE = np.radians(np.linspace(0, 180, 181))
HOLE = WHOLE[(np.radians(80) > WHOLE) | (np.radians(100) < WHOLE)]
ELSEWHERE = WHOLE[(np.radians(30) > WHOLE) | (np.radians(50) < WHOLE)]


class NoFrames:
    """Projections that are never read."""

    shape = (4, 4, 30)


STILL = budget.Scatter(np.zeros(1), np.zeros(1))


def errors(fixed: np.ndarray, moving: np.ndarray) -> budget.Errors:
    names = ("s0", "s1")
    scans = tuple(Scan(name, NoFrames(), a) for name, a in zip(names, (fixed, moving), strict=True))
    motions = tuple(Motion(name, np.eye(3, 4), gain_sigma=1e-3) for name in names)
    series = RegisteredSeries(names, (), 0, reference_volume((4, 30, 30)), motions, scans)
    settings = Variation(closure="na_only")
    return errors_of(settings, Physics(CLOSURES["na_only"], Anode(0.4), 30.0, 1.0), series, (1, 0))


def test_scans_without_holes_are_as_before():
    found = errors(WHOLE, WHOLE)
    assert found.gain == pytest.approx(np.sqrt(2) * 1e-3)
    assert found.angles == 0
    assert "angles" not in found.identity()


@pytest.mark.parametrize(("fixed", "moving", "count"), [(WHOLE, HOLE, 1), (HOLE, WHOLE, 1), (HOLE, ELSEWHERE, 2)])
def test_holes_of_one_scan_make_its_grey_values_uncertain(fixed, moving, count):
    found = errors(fixed, moving)
    assert found.gain == pytest.approx(np.sqrt(2e-6 + count * scale_error(HOLE) ** 2))
    assert found.angles == 0


def test_the_same_hole_in_both_makes_the_change_uncertain_alone():
    found = errors(HOLE, HOLE)
    assert found.gain == pytest.approx(np.sqrt(2) * 1e-3)
    assert found.angles == pytest.approx(scale_error(HOLE))
    sums = {"change": -5.0, "count": 100.0, "fixed": 50.0, "moving": 45.0}
    whole = {name: np.array([value]) for name, value in sums.items()} | {"motions": np.zeros((6, 1))}
    measured = budget.Measured(whole, None, found, 1.0)
    terms = budget.terms_of([measured], [whole], [STILL], np.array([-5.0]), 1.0)
    apart = budget.terms_of(
        [budget.Measured(whole, None, errors(WHOLE, HOLE), 1.0)], [whole], [STILL], np.array([-5.0]), 1.0
    )
    assert terms["calibration"][0] == pytest.approx(np.sqrt(2) * 1e-3 * 45)
    assert terms["linearity"][0] == pytest.approx(5 * found.angles)  # not where nothing changes, and alike in all scans
    assert apart["calibration"][0] > 5 * np.hypot(terms["calibration"][0], terms["linearity"][0])
    assert apart["linearity"][0] == 0


def test_the_pixel_size_enters_twice_and_alike_in_all_scans():
    found = errors(WHOLE, WHOLE)
    assert found.pixel == pytest.approx(2 * 0.005)
    sums = {name: np.array([value]) for name, value in {"change": -5.0, "count": 100.0, "fixed": 50.0}.items()}
    sums |= {"moving": np.array([45.0]), "motions": np.zeros((6, 1))}
    measured = budget.Measured(sums, None, found, 2.5)
    terms = budget.terms_of([measured], [sums], [STILL], np.array([-12.5]), 1.0)
    assert terms["pixel"] == pytest.approx(0.01 * 12.5)
    assert "pixel" not in budget.NULL_TERMS
