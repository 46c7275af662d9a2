"""Flags: the shell at faces is found once for all scans, and nothing is read that cannot tell what is impossible."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from test_variation_stage import NAMES, config_of, series_of, volumes

from xct_pipeline.engine.blocks import Nothing
from xct_pipeline.store.store import Store
from xct_pipeline.store.stored_array import StoredArray
from xct_pipeline.variation import uncertainty
from xct_pipeline.variation.steps import images
from xct_pipeline.variation.steps.physics import physics_of
from xct_pipeline.variation.steps.series import FLAGS


def _flags(store: Store, anode: dict[str, float], failed: tuple[int, ...] = ()) -> images.Pass:
    series = series_of(store, volumes(), failed)
    settings = config_of(store, closure="na_only", anode=anode).variation
    physics, none = physics_of(settings, series.scans), (None,) * len(NAMES)
    passes = images.density_passes(series, settings, physics, none, store, none, None, False)
    return next(step for step in passes if step.name == FLAGS)


def test_the_shell_is_found_once_for_all_scans(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found: list[int] = []
    plain = uncertainty.edge_shell
    monkeypatch.setattr(uncertainty, "edge_shell", lambda *args, **known: found.append(1) or plain(*args, **known))
    step = _flags(Store(tmp_path / "s.zarr"), {})
    shards = step.shards()
    assert [shard[0] for shard in shards[: len(NAMES)]] == list(range(len(NAMES)))
    blocks = [step.compute(granule)[0] for shard in shards for granule in step.granules(step.region(shard))]
    assert len(found) == len(blocks) / len(NAMES)
    assert (blocks[0] & images.FACE).any()
    for block in blocks[: len(NAMES)]:
        np.testing.assert_array_equal(block & images.FACE, blocks[0] & images.FACE)


def test_a_change_is_read_only_where_it_may_be_impossible(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store(tmp_path / "s.zarr")
    unknown, known = _flags(store, {}, (1,)), _flags(store, {"density": 0.9}, (1,))
    assert isinstance(unknown.source, Nothing)
    assert not isinstance(known.source, Nothing)
    scans: list[int] = []
    plain = StoredArray.__getitem__
    monkeypatch.setattr(StoredArray, "__getitem__", lambda self, index: scans.append(index[0]) or plain(self, index))
    region = (slice(0, 24), slice(0, 40), slice(0, 44))
    for t in range(len(NAMES)):
        part = (slice(t, t + 1), *region)
        plainly, counts = unknown.compute(part)
        assert counts["impossible"] == 0
        assert set(scans) <= {0}
        np.testing.assert_array_equal(plainly, known.compute(part)[0] & images.FACE)
        scans.clear()
