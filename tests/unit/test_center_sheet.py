"""The contact sheet of the centre at the size of a beamline's detector: half a column is seen in it."""

from __future__ import annotations

import matplotlib.image
import numpy as np
import pytest
from cases import Raw

from xct_pipeline.config.file import load_config
from xct_pipeline.planning import preview as previewing
from xct_pipeline.reconstruction.steps.stage import given_center
from xct_pipeline.report import center_sheet as sheet
from xct_pipeline.report.sheets import contrast
from xct_pipeline.scan import Axis

CENTER = 4.25  # columns off the middle
CLUSTER = (0.25, -0.15)  # x, y from the axis, in widths of the detector
APART = 14.0


def transmission(columns, degrees):
    """Transmission (angle, 1, column) of a wide disc, of a cluster of wires and of three lone ones."""
    steps = APART * np.arange(-4, 5)
    wires = [(CLUSTER[0] * columns + dx, CLUSTER[1] * columns + dy) for dx in steps for dy in steps]
    wires += [(-0.2 * columns, 0.1 * columns), (0.0, -0.34 * columns), (0.05 * columns, 0.04 * columns)]
    along = np.arange(columns) - (columns - 1) / 2 - CENTER
    cos, sin = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    total = np.zeros((len(degrees), columns))
    for x, y, radius, weight in [(0.0, 0.0, 0.44 * columns, 0.4 / columns), *((*wire, 2.5, 0.03) for wire in wires)]:
        away = along[None, :] - (x * cos + y * sin)[:, None]
        total += weight * 2 * np.sqrt(np.maximum(radius**2 - away**2, 0))
    return np.exp(-total)[:, None]


def raw_scan(light, degrees):
    rng = np.random.default_rng(3)
    shape = (4, light.shape[-1])
    counts = (light * np.ones((1, *shape)), np.ones((6, *shape)), np.zeros((4, *shape)))
    return Raw(degrees, *(rng.poisson(200 + 40000 * part).astype(float) for part in counts))


@pytest.fixture(scope="module", params=[512, pytest.param(2048, marks=pytest.mark.slow)])
def shown(request, tmp_path_factory):
    """A scan of many columns and a few rows: its sheet, and the slices that this shows."""
    folder, columns = tmp_path_factory.mktemp("wide"), request.param
    degrees = np.linspace(0, 180, 181)
    raw = raw_scan(transmission(columns, degrees), degrees)
    (folder / "run.toml").write_text(f'output = "store.zarr"\n[acquisition]\n{raw.write(folder)}')
    made = []
    with pytest.MonkeyPatch.context() as patch:
        compute = previewing.slices_at_centers
        patch.setattr(previewing, "slices_at_centers", lambda *given: made.append(compute(*given)) or made[-1])
        estimate = given_center(Axis((columns - 1) / 2 + CENTER))
        sheet.center_sheet(load_config(folder / "run.toml"), {"scan": estimate}, folder / "sheet.png", 1)
    picture = (matplotlib.image.imread(folder / "sheet.png")[..., :3] * 255).round().astype(int)
    return picture, made[0]["scan"]


def find(picture, part):
    """Return where a part of a slice stands in the picture, one pixel a voxel, as (row, column)."""
    low, high = contrast(part)
    grey = np.clip((part - low) / (high - low), 0, 1) * 255
    rows, columns = (n - s + 1 for n, s in zip(picture.shape[:2], part.shape, strict=True))
    line = picture[..., 0]
    for y in range(rows):
        for x in np.flatnonzero(np.abs(line[y, :columns] - grey[0, 0]) <= 2.5):
            if np.abs(line[y, x : x + part.shape[1]] - grey[0]).max() <= 2.5:
                assert np.abs(line[y : y + part.shape[0], x : x + part.shape[1]] - grey).max() <= 2.5
                return y, int(x)
    raise AssertionError("the part is not shown voxel by voxel")


def test_parts_have_a_pixel_a_voxel_and_lie_on_the_richest_feature(shown):
    picture, slices = shown
    first, second = sheet.windows(slices)
    assert (first.magnified, first.side) == (1, sheet.SIDE)
    middle = np.array([first.y, first.x]) + first.side / 2
    wide = len(slices[0])
    cluster = np.array([(wide - 1) / 2 - CLUSTER[1] * wide, (wide - 1) / 2 + CLUSTER[0] * wide])
    mirrored = np.array([wide - 1 - cluster[0], cluster[1]])
    assert min(np.abs(place - middle).max() for place in (cluster, mirrored)) < first.side / 2 - 2 * APART
    assert max(abs(first.y - second.y), abs(first.x - second.x)) >= first.side
    find(picture, first.of(slices[4]))


def test_half_a_column_is_seen(shown):
    picture, slices = shown
    window = sheet.windows(slices)[0]
    row, column = find(picture, window.of(slices[4]))
    step = (picture.shape[1] - sheet.LEFT) // (len(sheet.OFFSETS) + 1)
    parts = [picture[row : row + window.side, x : x + window.side, 0] for x in (column - step, column, column + step)]
    for other in (parts[0], parts[2]):
        change = np.abs(parts[1] - other)
        assert change.mean() > 3
        assert np.percentile(change, 99) > 40


def test_small_slices_are_magnified_and_flat_ones_are_shown():
    assert [sheet.magnification(n) for n in (48, 160, 300, 512, 2048, 4096)] == [4, 4, 2, 1, 1, 1]
    flat = [np.zeros((48, 48), np.float32)] * 9
    (window,) = sheet.windows(flat)
    assert window.of(flat[0]).shape == (192, 192)
    flat[0][:] = np.nan
    assert len(sheet.windows([np.full((300, 300), np.nan)] * 9)) == 2
