"""What is told of an error: the part that most of it comes from, where that is no counting noise and matters."""

from __future__ import annotations

import pandas as pd
import pytest

from xct_pipeline.variation.budget import TERMS
from xct_pipeline.variation.steps.told import REMEDY, largest_part
from xct_pipeline.variation.steps.told import TERMS as NAMES


def table(changes=(0.0, -0.4, -1.0), **terms):
    """Return masses of scans with errors in proportion to their change: `terms` are those of a change of 1."""
    rows = []
    for k, change in enumerate(changes):
        parts = {f"sigma_{name}_mg": abs(change) * terms.get(name, 0.0) for name in TERMS}
        sigma = sum(value**2 for value in parts.values()) ** 0.5
        rows.append({"scan": f"scan_{k:02d}", "mass_change_mg": change, "sigma_mg": sigma, **parts})
    return pd.DataFrame(rows)


@pytest.mark.parametrize("term", [term for term in TERMS if term != "noise"])
def test_whatever_makes_most_of_a_large_error_is_told_with_what_to_do(term):
    (told,) = largest_part(table(**{term: 0.12, "noise": 0.05}))
    name = NAMES[f"sigma_{term}_mg"]
    assert told.startswith("scan_02: the change of mass is known to 13 %")
    assert f"from {name} (12 %): {REMEDY[name]}" in told


@pytest.mark.parametrize(
    "terms",
    [
        {"noise": 0.3},  # more photons is all that helps, and known
        {"rings": 0.04, "noise": 0.01},  # small
        {"rings": 0.12, "registration": 0.12, "noise": 0.01},  # no single one
        {"rings": 0.5, "noise": 0.4},  # no change that is seen
        {},
    ],
)
def test_other_errors_are_not_told(terms):
    assert largest_part(table(**terms)) == []


def test_a_scan_that_failed_is_passed_over():
    assert largest_part(table(changes=(0.0, float("nan"), -1.0), rings=0.2))[0].startswith("scan_02")
    assert largest_part(table(changes=(float("nan"),), rings=0.2)) == []
