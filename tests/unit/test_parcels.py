"""Large arguments of a cluster's tasks travel by file, once."""

import numpy as np

from xct_pipeline.engine import parcels


def total(scale, array, offset):
    return scale * float(array.sum()) + offset


def test_a_shared_array_is_written_once_and_read_back(tmp_path):
    array = np.ones(100_000)
    calls = parcels.wrap([(2, array, 1), (3, array, 0)], tmp_path / "parcels")
    assert len(list((tmp_path / "parcels").iterdir())) == 1
    assert [parcels.call(total, *call) for call in calls] == [200_001, 300_000]


def test_small_arguments_stay_in_the_task(tmp_path):
    small = np.ones(3)
    assert parcels.wrap([(1, small, 2)], tmp_path) == [(1, small, 2)]
