"""Air of two scans: rows and columns that both have, where they show the same."""

from __future__ import annotations

import numpy as np
import pytest

from xct_pipeline.variation.steps.uneven_light import _difference


@pytest.mark.parametrize("rows", [-3, 0, 2])
@pytest.mark.parametrize("more", [0, 5])
def test_the_rows_that_show_the_same_are_compared(rows, more):
    z = np.arange(40.0)
    here = np.add.outer(z, np.arange(12.0))
    there = np.add.outer(np.arange(40.0 + more) - rows, np.arange(12.0))
    fixed, moving = (here[:, :5], here[:, 6:]), (there[:, :4], there[:, 5:])
    left, right = _difference(moving, fixed, rows)
    assert left.shape == (len(right), 4)
    assert right.shape[1] == 6
    assert len(left) >= 40 - abs(rows)
    assert not left.any()
    assert not right.any()
