"""What a Faraday balance is doubted for: one sentence for each thing seen, none for a sound one."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import chi2

from xct_pipeline.registration.steps.motions import gain_warning
from xct_pipeline.variation.faraday import Balance, doubts


def balance(slope=1.0, chi=5.0, degrees=5):
    return Balance(slope, 0.02, chi, degrees, float("nan"), float("nan"))


@pytest.mark.parametrize(
    ("found", "words"),
    [
        (balance(), []),
        (balance(slope=1.05), []),
        (balance(slope=0.8), ["is not 1: charge that moved no mass"]),
        (balance(chi=50, degrees=1), ["masses scatter more than their errors say"]),
        (balance(chi=1e-5, degrees=8), ["the errors are stated too large"]),
        (balance(slope=0.8, chi=50, degrees=1), ["is not 1", "scatter more"]),
        (balance(degrees=0, chi=0), []),
    ],
)
def test_each_doubt_is_one_sentence(found, words):
    told = doubts(found, None)
    assert len(told) == len(words)
    assert all(word in text for word, text in zip(words, told, strict=True))


def test_a_leakage_that_is_fitted_explains_the_slope():
    assert doubts(balance(slope=0.8), "fit") == []


def test_balances_as_their_errors_say_are_not_doubted():
    rng = np.random.default_rng(0)
    told = [doubts(balance(chi=float(x)), None) for x in chi2.rvs(5, size=300, random_state=rng)]
    assert not any(told)


def test_a_grey_scale_far_from_the_references_is_told_once():
    assert gain_warning(1.0, 0.0) == gain_warning(1.015, 0.001) == gain_warning(1.03, 0.03) == ()
    (text,) = gain_warning(0.92, 0.002)
    assert "multiplied by 0.920" in text
