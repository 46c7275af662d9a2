"""What a finished store is opened on, without a window: which layers, where, on which scale."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from small_series import SCANS, TIMES_S

pytest.importorskip("napari", reason="napari is not installed: pip install 'xct-pipeline[napari]'")

from xct_pipeline import open_table
from xct_pipeline.report.changes import smoothed_change, smoothed_changes
from xct_pipeline.report.contents import read_contents
from xct_pipeline.store import layout
from xct_pipeline.store.opened import open_image
from xct_pipeline.viewer import answer, layers
from xct_pipeline.viewer.times import label_of

pytestmark = pytest.mark.filterwarnings("ignore")  # napari's own


@pytest.fixture(scope="module")
def found(small_series: Path) -> answer.Answer:
    given = answer.answer_of(small_series)
    assert given is not None
    return given


def by_path(found: answer.Answer) -> dict[str, layers.Layer]:
    return {answer.note_of(layer)["path"]: layer for layer in found.shown if "side" not in answer.note_of(layer)}


def test_every_layer_of_the_store_is_shown_or_kept_behind_the_switch(found, small_series):
    names = [layer[1]["name"] for layer in (*found.shown, *found.others)]
    assert len(set(names)) == len(names)
    assert {layer[1]["name"] for layer in layers.store_layers(small_series)} <= set(names)
    assert not any(layer[1]["visible"] for layer in found.others)
    assert [layer[1]["name"] for layer in found.shown if layer[1].get("visible", True)] == [
        "registered, 1/cm",
        "density change, smoothed, g/cm³",
        "materials",
    ]


def test_the_smoothed_change_is_the_reports_on_its_scale(found, small_series):
    changes = smoothed_changes(read_contents(small_series))
    data, keywords, _ = by_path(found)[answer.SMOOTHED]
    assert keywords["contrast_limits"] == (-changes.limit, changes.limit)
    assert data.shape[0] == len(SCANS)
    for t, field in zip(changes.scans, changes.fields, strict=True):
        np.testing.assert_allclose(np.asarray(data[t]), field, atol=1e-6)
    sides = [layer for layer in found.shown if "side" in answer.note_of(layer)]
    assert {answer.note_of(layer)["side"] for layer in sides} == {"gain", "loss"}
    for values, more, _ in sides:
        sign = 1 if answer.note_of((values, more, ""))["side"] == "gain" else -1
        np.testing.assert_array_equal(np.asarray(values[-1]), sign * np.asarray(data[-1]))
        assert more["iso_threshold"] == changes.levels[0]


def test_a_smoothed_change_is_computed_once(found, small_series, monkeypatch):
    """Every plane that is shown asks for the whole of it; scans that the scale is not taken from, on sight."""
    changes = smoothed_changes(read_contents(small_series))
    asked: list[int] = []

    def computed(contents, t):
        asked.append(t)
        return smoothed_change(contents, t)

    monkeypatch.setattr(answer, "smoothed_change", computed)
    array = answer._Smoothed(found.contents, changes)
    beyond = next(t for t in range(len(SCANS)) if t not in changes.scans)
    everything = (slice(None), slice(None), slice(None))
    for t in (*changes.scans, beyond, beyond):
        expected = smoothed_change(found.contents, t)[1]
        np.testing.assert_array_equal(array[slice(t, t + 1), *everything][0], expected)
    assert asked == [beyond]
    monkeypatch.setattr(answer, "HELD", len(changes.scans) + 1)
    array, (first, *_) = answer._Smoothed(found.contents, changes), changes.scans
    for t in (beyond, next(t for t in range(len(SCANS)) if t not in (*changes.scans, beyond)), first):
        field = array[slice(t, t + 1), *everything][0]
    np.testing.assert_array_equal(field, changes.fields[0])  # let go of, and computed again
    assert asked[-1] == first


def test_the_smoothed_change_lies_where_the_change_lies(found, small_series):
    """The middle of mass of the loss, in micrometre, of the store's voxels and of the layer."""
    data, keywords, _ = by_path(found)[answer.SMOOTHED]
    image = open_image(small_series / layout.DENSITY)
    inside = smoothed_changes(read_contents(small_series)).parts[-1].inside
    smooth = np.where(inside, np.asarray(data[-1]), 0)
    grid = np.indices(smooth.shape).reshape(3, -1)
    at = np.array(keywords["scale"][1:])[:, None] * grid + np.array(keywords["translate"][1:])[:, None]
    voxel = float(by_path(found)[layout.REGISTERED][1]["scale"][-1])
    full = np.nan_to_num(image.values[-1])
    box = [
        slice(*np.searchsorted(np.arange(n) * voxel, (low - 1e-3, high + 1e-3)))
        for n, low, high in zip(full.shape, at.min(axis=1), at.max(axis=1), strict=True)
    ]
    part = full[tuple(box)]
    places = [np.arange(s.start, s.stop) * voxel for s in box]
    mask = inside if inside.shape == part.shape else None
    assert mask is not None, "the small series is read at full resolution"
    weight = np.where(mask, part, 0)
    mine = [
        float((weight.sum(axis=tuple(j for j in range(3) if j != k)) * places[k]).sum() / weight.sum())
        for k in range(3)
    ]
    theirs = (at * smooth.ravel()).sum(axis=1) / smooth.sum()
    np.testing.assert_allclose(theirs, mine, atol=1.5 * voxel)


def test_each_scan_is_told_with_charge_and_mass(found, small_series):
    table = open_table(small_series, "mass_balance").set_index("scan")
    note = answer.note_of(by_path(found)[answer.SMOOTHED])
    for k, (name, time) in enumerate(zip(SCANS, TIMES_S, strict=True)):
        first, second, third = label_of(note, k).splitlines()
        assert first.startswith(f"{name}   ")
        assert second == f"{table.loc[name, 'charge_C']:.4g} C"
        assert third.endswith(" mg")
        assert note["time_s"][k] == time
    assert "±" in label_of(note, len(SCANS) - 1)


def test_the_plane_is_the_middle_of_the_region(found):
    _, keywords, _ = by_path(found)[answer.SMOOTHED]
    low = keywords["translate"][1]
    assert low < found.z < low + keywords["scale"][1] * by_path(found)[answer.SMOOTHED][0].shape[1]
    assert found.scan == len(SCANS) - 1


def test_a_store_without_a_change_of_density_has_no_answer_yet(small_series_copy):
    shutil.rmtree(small_series_copy / layout.DENSITY)
    assert answer.answer_of(small_series_copy) is None
