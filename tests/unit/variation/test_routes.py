"""Routes to the mass side by side: a disagreement is told once, with its size."""

from __future__ import annotations

import math

import numpy as np

from xct_pipeline.variation.routes import ALL_ROWS, ROWS, VOLUME, Route, error_of_trend, routes_table, warnings_of
from xct_pipeline.variation.row_totals import row_totals


def pair(scan: str, volume: float, by_rows: float, **more) -> list[Route]:
    return [
        Route(scan, VOLUME, volume, 0.03),
        Route(scan, ROWS, by_rows, 0.04, **more),
        Route(scan, ALL_ROWS, 9.0, 0.1),
    ]


def test_agreement_is_not_told():
    assert warnings_of([*pair("a", -1.0, -1.1), *pair("b", -2.0, -2.14, trend_mg=0.1, trend_sigma_mg=0.05)]) == []


def test_a_disagreement_is_told_once_with_its_size():
    (told,) = warnings_of([*pair("a", -1.0, -1.3), *pair("b", -2.0, -2.5), *pair("c", -1.0, -1.0)])
    assert told.startswith("b: routes to the mass disagree: -2.5 +- 0.04 mg")
    assert "(2 of 3 scans)" in told
    assert "-0.5 +- 0.05 mg (20% of all) changed beside the region" in told


def test_what_the_grey_scale_or_truncation_explains_is_no_disagreement():
    assert warnings_of(pair("a", -1.0, -1.5, scaled_mg=-1.02)) == []
    assert warnings_of(pair("a", -1.0, -1.5, truncated_rows=3)) == []
    assert warnings_of(pair("a", -1.0, math.nan)) == []


def test_a_trend_with_the_angle_is_told():
    (told,) = warnings_of(pair("a", -1.0, -1.05, trend_mg=0.4, trend_sigma_mg=0.05))
    assert "changes by 0.4 +- 0.05 mg from the first projection to the last (1 of 1 scans)" in told


def test_the_flats_own_noise_is_no_drift():
    """A scan that nothing drifts in, its flats of before and after noisy: changes within the stated error."""
    rng = np.random.default_rng(0)
    angles, rows, pulls = 60, 24, []
    weight = np.linspace(0, 1, angles)[:, None]
    for _ in range(60):
        before, after = rng.normal(0, 1.0, (2, 2, rows))  # of two scans
        sums = 100 + (1 - weight) * before[:, None] + weight * after[:, None] + rng.normal(0, 0.3, (2, angles, rows))
        found = row_totals(sums[1], sums[0], np.arange(rows), slice(0, rows), paired=True)
        pulls.append(found.trend / error_of_trend(found.trend_sigma, found.fixed, 0.0))
    assert 0.8 < np.std(pulls) < 1.2
    assert error_of_trend(3.0, 0.0, 2.0) == 5.0


def test_the_table_has_the_difference_to_the_volume():
    table = routes_table([*pair("a", -1.0, -1.3, rows=12)]).set_index("route")
    assert np.isnan(table.loc[VOLUME, "difference_mg"])
    assert table.loc[ROWS, "difference_mg"] == np.float64(-1.3) + 1.0
    assert table.loc[ROWS, "sigma_difference_mg"] == math.hypot(0.03, 0.04)
    assert table.loc[ROWS, "rows"] == 12
