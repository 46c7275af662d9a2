"""Where noise is measured: the same voxels however the survey is cut, and bricks from all over a large volume."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from stored_series import LIMITS, reference_volume, write_image

from xct_pipeline.config import RegionOfInterest
from xct_pipeline.region import RegionMask
from xct_pipeline.registration.steps.stage import Motion
from xct_pipeline.store.store import Store
from xct_pipeline.variation import noise as noises
from xct_pipeline.variation.steps import noise as stage_noise
from xct_pipeline.variation.steps import quiet as stage_quiet
from xct_pipeline.variation.steps.quiet import QuietMask
from xct_pipeline.variation.steps.series import RegisteredSeries

SHAPE = (48, 60, 72)
NAMES = ("scan_00", "scan_01", "scan_02")
SIGMA = 0.05
ANODE = RegionMask(RegionOfInterest.model_validate({"cylinder": {"z": [16, 24], "radius": 20.0}}), SHAPE)


def volumes(lost: int = 0) -> list[np.ndarray]:
    """Ceramic below plane 10, white noise above; the last scan does not cover some planes at the top."""
    rng = np.random.default_rng(6)
    still = np.full(SHAPE, 0.5)
    still[:10] = 7.0
    found = [(still + rng.normal(0, SIGMA, SHAPE)).astype(np.float32) for _ in NAMES]
    found[-1][SHAPE[0] - lost :] = np.nan
    return found


def stored(tmp_path, lost: int = 0) -> tuple[RegisteredSeries, Store]:
    store = Store(tmp_path / "store.zarr")
    store.claim({name: [name] for name in NAMES})
    write_image(store, "registered", volumes(lost), "1/cm")
    motions = tuple(Motion(name, np.eye(3, 4)) for name in NAMES)
    return RegisteredSeries(NAMES, (), 0, reference_volume(SHAPE), motions, (None,) * 3), store


QUIET = QuietMask(None, ANODE, 1.0, 4.0)


def chosen(quiet: QuietMask, series: RegisteredSeries, store: Store):
    return stage_quiet.chosen_bricks(quiet, series, stage_quiet.survey(quiet, series, store, LIMITS))


@pytest.fixture
def small_bricks(monkeypatch):
    monkeypatch.setattr(stage_quiet, "BRICK", (16, 16, 32))


def test_bricks_tile_their_box_and_rows_hold_them():
    bounds = (slice(3, 130), slice(0, 300), slice(100, 700))
    bricks = stage_quiet.bricks_of(bounds)
    seen = np.zeros([part.stop for part in bounds], np.uint8)
    for brick in bricks:
        seen[brick] += 1
    assert (seen[bounds] == 1).all()
    assert seen.sum() == seen[bounds].size
    rows = stage_quiet.rows_of(bricks)
    assert [b for row in rows for b in stage_quiet.bricks_of(row)] == bricks


def test_the_survey_counts_the_mask_of_the_whole(tmp_path, small_bricks):
    series, store = stored(tmp_path)
    known, bricks, counts = chosen(QUIET, series, store)
    whole = tuple(slice(0, n) for n in SHAPE)
    mask = known.box(volumes()[0], whole)
    assert known.crowded[:11].all()
    assert not known.crowded[12:].any()
    assert not mask[:12].any()
    assert not mask[14:26, 30, 36].any()  # the anode, and two voxels around it
    assert mask[30:, 10:50, 20:50].all()
    assert sum(counts) == mask.sum()
    assert [int(mask[brick].sum()) for brick in bricks] == counts
    inside = chosen(replace(QUIET, inside_solid=True), series, store)
    mask = inside[0].box(volumes()[0], whole)
    assert not mask[10:].any()
    assert sum(inside[2]) == mask.sum() > 1000


def test_enough_bricks_are_taken_from_everywhere(tmp_path, small_bricks, monkeypatch):
    series, store = stored(tmp_path)
    everything = chosen(QUIET, series, store)
    monkeypatch.setattr(stage_quiet, "ENOUGH", sum(everything[2]) // 3)
    _, bricks, counts = chosen(QUIET, series, store)
    assert bricks == everything[1][: len(bricks)]
    assert stage_quiet.ENOUGH <= sum(counts) < 1.3 * stage_quiet.ENOUGH
    for axis in range(3):
        places = {brick[axis].start for brick in everything[1]}
        assert {brick[axis].start for brick in bricks} == places


def measured(series, store):
    found = stage_noise.noise_of_series(series, store, ANODE, QUIET, LIMITS)
    assert all(one.rings == () for one in found.values())  # nothing is known of an axis
    return {pair: one.noise for pair, one in found.items()}


def test_a_part_of_the_bricks_gives_the_same_noise(tmp_path, small_bricks, monkeypatch):
    series, store = stored(tmp_path)
    whole = measured(series, store)
    monkeypatch.setattr(stage_quiet, "ENOUGH", 20_000)
    part = measured(series, store)
    assert set(whole) == set(part) == {(1, 0), (2, 0), (2, 1)}
    for pair in whole:
        assert 20_000 <= part[pair].voxels < 0.6 * whole[pair].voxels
        for found in (whole[pair], part[pair]):
            error = 2 * SIGMA**2 * np.sqrt(2 / found.voxels)
            assert found.covariance[found.lag] == pytest.approx(2 * SIGMA**2, abs=4 * error)
            middle = found.level[22:38, 28:44]  # blocks of 2048 values, of 3 % each
            assert middle.mean() == pytest.approx(1, abs=0.06)


def test_noise_equals_that_of_the_whole_volume(tmp_path):
    series, store = stored(tmp_path, lost=4)
    values = volumes(4)
    found = measured(series, store)
    mask = chosen(QUIET, series, store)[0].box(values[0], tuple(slice(0, n) for n in SHAPE))
    for moving, fixed in found:
        change = values[moving] - values[fixed]
        use = mask & np.isfinite(change)
        sums = noises.lag_sums(np.nan_to_num(change), use, lag=stage_noise.LAG, mean=float(change[use].mean()))
        want = noises.autocovariance(sums)
        assert found[moving, fixed].voxels == use.sum()
        np.testing.assert_allclose(found[moving, fixed].covariance, want, atol=1e-6 * want.max())
    assert found[2, 0].voxels < found[1, 0].voxels


def test_pairs_without_planes_in_common_are_measured_in_the_ceramic(tmp_path):
    series, store = stored(tmp_path, lost=SHAPE[0] - 11)
    found = measured(series, store)
    assert found[1, 0].voxels > 50_000
    assert 1000 < found[2, 0].voxels < 25_000
    series, store = stored(tmp_path / "none", lost=SHAPE[0])
    with pytest.raises(ValueError, match=r"give variation\.noise_region"):
        measured(series, store)
