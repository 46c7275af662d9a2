"""Scans declared unchanged: errors that are right stay, errors that are too small grow by what the scatter tells."""

from __future__ import annotations

import numpy as np
import pytest

from xct_pipeline.variation.null import null_test, null_warning


def drawn(seed: int, scans: int, error: float) -> np.ndarray:
    """Changes against a reference that has an error of its own."""
    own = np.random.default_rng(seed).normal(0, error, scans + 1)
    return own[1:] - own[0]


@pytest.mark.parametrize("with_reference", [True, False])
def test_chi_squared_is_that_of_independent_scans(with_reference):
    tests = [null_test(drawn(k, 6, 0.3), [0.3 * 2**0.5] * 6, with_reference=with_reference) for k in range(400)]
    degrees = 6 if with_reference else 5
    assert {t.degrees for t in tests} == {degrees}
    assert np.mean([t.chi2 for t in tests]) == pytest.approx(degrees, rel=0.1)
    assert np.mean([t.applied > 1 for t in tests]) == pytest.approx(0.05, abs=0.03)


def test_errors_that_are_too_small_grow():
    tests = [null_test(drawn(k, 20, 0.9), [0.3 * 2**0.5] * 20, with_reference=True) for k in range(100)]
    assert np.mean([t.applied for t in tests]) == pytest.approx(3, rel=0.1)
    told = null_warning(tests[0], ["a", "b"])
    assert told is not None
    assert told.startswith("a, b are declared unchanged, but their masses scatter")


def test_errors_that_explain_the_scatter_are_left_alone():
    test = null_test([0.1, -0.1], [0.3, 0.3], with_reference=True)
    assert test.applied == 1
    assert null_warning(test, ["a", "b"]) is None


def test_too_few_scans_are_refused():
    with pytest.raises(ValueError, match="two scans with errors above 0"):
        null_test([0.1], [0.3], with_reference=False)
    with pytest.raises(ValueError, match="two scans with errors above 0"):
        null_test([0.1, 0.0], [0.3, 0.0], with_reference=True)
