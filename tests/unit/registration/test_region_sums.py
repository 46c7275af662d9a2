import numpy as np
import pytest

from xct_pipeline.registration.region_sums import cell_sums, chosen_values, median_of


@pytest.mark.parametrize("count", [1, 2, 7, 1000, 4097])
@pytest.mark.parametrize("spread", [0.0, 1e-6, 1.0, 1e6])
def test_median_is_numpys(count, spread):
    rng = np.random.default_rng(count)
    sample = (3.0 + spread * rng.standard_normal(count)).astype(np.float32)
    sample[: count // 5] = 1e5  # far away from all others, which then share few bins
    assert median_of(sample) == np.median(sample)


def test_sums_by_cells_are_those_of_the_voxels():
    rng = np.random.default_rng(1)
    values = rng.standard_normal((9, 20, 21)).astype(np.float32)
    wider = rng.random(values.shape) < 0.6
    inside = wider & (rng.random(values.shape) < 0.7)
    counts, totals, mean = cell_sums(values, inside, wider, 4, 16)
    assert counts.shape == totals.shape == (3, 4)
    assert counts[1, 3] == inside[4:8, 16:, 16:].sum()
    assert totals[1, 3] == pytest.approx(values[4:8, 16:, 16:][inside[4:8, 16:, 16:]].sum(dtype=np.float64), abs=1e-12)
    assert mean == pytest.approx(values[wider].mean(dtype=np.float64), abs=1e-12)
    assert np.array_equal(chosen_values(values, inside, int(inside.sum())), values[inside])
