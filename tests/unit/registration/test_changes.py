"""Changes of grey value beside the faces that are matched: what is found of them and what they leave in the motion."""

import numpy as np
import pytest

from xct_pipeline.registration import changes
from xct_pipeline.registration.masks import attenuation_mask
from xct_pipeline.registration.rigid import Level, register


def levels_of(cell, *, masked=True, count=3):
    def halved(volume):
        n = volume.shape[0] // 2
        return volume.reshape(n, 2, n, 2, n, 2).mean(axis=(1, 3, 5), dtype=np.float32)

    volumes = [(cell.reference, cell.moving)]
    while len(volumes) < count:
        volumes.append((halved(volumes[-1][0]), halved(volumes[-1][1])))
    return [
        Level(a, b, attenuation_mask(a, minimum=3.0) if masked else None, 2.0**k)
        for k, (a, b) in reversed(list(enumerate(volumes)))
    ]


@pytest.mark.parametrize(
    ("lost", "uneven", "noise", "masked", "limit"),
    [
        (0.15, 0.0, 0.05, True, 0.007),  # 0.018 where the face is matched as it stands
        (0.15, 1.0, 0.05, False, 0.007),  # 0.019
        (0.6, 0.0, 0.5, True, 0.05),  # 0.085
    ],
)
def test_a_neighbour_that_changes_does_not_move_the_ceramic(make_cell, lost, uneven, noise, masked, limit):
    cell = make_cell(128, lost, uneven, noise)
    found = register(levels_of(cell, masked=masked))
    error = cell.largest_error(found.transform)
    print(f"{error:.4f} voxels, {found}")
    assert error < limit


def test_no_change_is_found_where_there_is_none(make_cell):
    cell = make_cell(128, 0.0)
    assert cell.largest_error(register(levels_of(cell)).transform) < 0.003


@pytest.mark.slow
@pytest.mark.parametrize(("lost", "uneven"), [(0.05, 0.0), (0.15, 0.0), (0.15, 1.0), (0.3, 1.0), (0.6, 0.0)])
@pytest.mark.parametrize("masked", [True, False])
def test_a_neighbour_that_changes_at_192(make_cell, record_property, lost, uneven, masked):
    cell = make_cell(192, lost, uneven)
    found = register(levels_of(cell, masked=masked, count=4))
    error = cell.largest_error(found.transform)
    record_property("largest_error_voxels", float(error))
    print(f"{lost} {uneven} {masked}: {error:.4f} voxels, {found}")
    assert error < 0.007


def step(n=48):
    """Return a face with one plane more at either end, and its flat parts' values 5 and 1."""
    z = np.arange(-1, n + 1, dtype=np.float32)[:, None, None]
    return np.broadcast_to(1 + 4 / (1 + np.exp(3 * (z - 23.4))), (n + 2, n, n)).astype(np.float32)


def expected(reference, residual):
    found = changes.lines(changes.sum_flat(reference, residual, 0.05))
    out = np.zeros(residual.shape, np.float32)
    row, cells = np.zeros((2, residual.shape[2]), np.float32), np.empty((2, found.shape[3]), np.float32)
    for z, y in np.ndindex(residual.shape[:2]):
        changes.expect_along_row(found, z, y, cells, row)
        out[z, y] = row[0] + row[1] * (reference[z + 1, y] - 0.5 * residual[z, y])
    return out


def test_a_change_on_one_side_of_a_face_is_expected_across_it():
    reference = step()
    change = 0.2 * (5 - reference[1:-1]) / 4  # the dark side lost 0.2
    noise = 0.02 * np.random.default_rng(0).standard_normal(change.shape, dtype=np.float32)
    inner = (slice(8, -8),) * 3
    found = expected(reference, change + noise)[inner]
    near = np.abs(np.arange(48) - 23.4)[inner[0]] < 9
    np.testing.assert_allclose(found[near], change[inner][near], atol=0.012)


def test_a_shift_of_a_face_is_no_change():
    reference = step()
    shift = 0.2 * np.gradient(reference, axis=0)[1:-1]
    assert np.abs(shift).max() > 0.25
    assert np.abs(expected(reference, shift)).max() < 0.1 * np.abs(shift).max()


def test_other_content_is_no_smooth_change():
    reference = step()
    rng = np.random.default_rng(1)
    residual = 0.02 * rng.standard_normal((48, 48, 48), dtype=np.float32)
    other = np.kron(rng.choice([-0.4, 0.4], (4, 8, 8)), np.ones((6, 6, 6))).astype(np.float32)  # in a corner of it
    residual[24:] += other
    share = np.square(expected(reference, residual)[26:46]).mean() / np.square(other).mean()
    assert share < 0.1


def test_between_the_cells_a_change_is_interpolated_and_without_data_there_is_none():
    nan = np.full((13, 14, 15), np.nan, np.float32)
    found = changes.lines(changes.sum_flat(np.ones((15, 14, 15), np.float32), nan, 0.1))
    assert found.shape == (2, 4, 4, 4)
    np.testing.assert_array_equal(found, 0.0)
    z, y, x = np.meshgrid(*[changes.CELL * np.arange(4) + 1.5] * 3, indexing="ij")
    ramp = np.stack([z + 2 * y - x, 0.1 * x]).astype(np.float32)
    row, cells = np.zeros((2, 15), np.float32), np.empty((2, 4), np.float32)
    changes.expect_along_row(ramp, 5, 7, cells, row)
    at = np.clip(np.arange(15), 1.5, 13.5)
    np.testing.assert_allclose(row, [5 + 14 - at, 0.1 * at], rtol=1e-5)
    changes.expect_along_row(changes.NONE, 5, 7, np.empty((2, 0), np.float32), row)
    np.testing.assert_allclose(row, [5 + 14 - at, 0.1 * at], rtol=1e-5)
