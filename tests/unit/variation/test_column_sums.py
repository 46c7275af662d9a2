"""The compiled sweep over a region sums what the plain formulations do, whatever box it is given."""

import numpy as np

from xct_pipeline.variation import column_sums, mass, uncertainty

FRAME = (12, 15, 18)


def scans():
    rng = np.random.default_rng(7)
    fixed, moving = rng.normal(1, 0.3, (2, *FRAME)).astype(np.float32)
    moving[5, 6, 7:9] = np.nan
    known = (rng.random(FRAME) > 0.3) & np.isfinite(moving)
    cells = rng.integers(-1, 6, FRAME)
    return fixed, moving, known, cells


def swept(box, halo=1):
    """Maps and cells of a box whose margin of one voxel is read where the frame has it."""
    fixed, moving, known, cells = scans()
    wide = tuple(slice(max(0, p.start - halo), min(n, p.stop + halo)) for p, n in zip(box, FRAME, strict=True))
    first = [p.start - w.start for p, w in zip(box, wide, strict=True)]
    place = [p.start for p in box]
    maps = np.zeros((column_sums.NUMBER, *(p.stop - p.start for p in box[1:])))
    table = np.zeros((6, column_sums.NUMBER))
    index = cells[box][None].astype(np.int64)
    column_sums.add_columns(fixed[wide], moving[box], known[box], first, place, FRAME, maps, index, table)
    return maps, table


def test_sums_equal_those_of_the_plain_formulations():
    fixed, moving, known, cells = scans()
    maps, table = swept(tuple(slice(0, n) for n in FRAME))
    found, by_cell = column_sums.by_name(maps), column_sums.by_name(table.T, "cell_")
    motions = np.stack(list(uncertainty.motion_changes(np.pad(fixed, 1, mode="edge"), known, (0, 0, 0), FRAME)))
    chosen = mass.Cells(cells, 6, known)
    np.testing.assert_array_equal(found["count"], known.sum(axis=0))
    np.testing.assert_array_equal(by_cell["cell_count"], chosen.count())
    np.testing.assert_allclose(found["motions"], motions.sum(axis=1), atol=1e-12)
    np.testing.assert_allclose(by_cell["cell_motions"], [chosen.total(part) for part in motions], atol=1e-12)
    for name, values in (("change", mass.change(fixed, moving)), ("fixed", fixed), ("moving", moving)):
        np.testing.assert_allclose(found[name], mass.areal_sums(values, known, (0, 0, 0)).total, atol=1e-12)
        np.testing.assert_allclose(by_cell[f"cell_{name}"], chosen.total(values), atol=1e-12)


def test_boxes_add_up_to_the_whole():
    whole, cells = swept(tuple(slice(0, n) for n in FRAME))
    maps, table = np.zeros_like(whole), np.zeros_like(cells)
    for z in (slice(0, 5), slice(5, 12)):
        for y in (slice(0, 4), slice(4, 15)):
            for x in (slice(0, 9), slice(9, 18)):
                part, some = swept((z, y, x))
                maps[:, y, x] += part
                table += some
    np.testing.assert_allclose(maps, whole, atol=1e-12)
    np.testing.assert_allclose(table, cells, atol=1e-12)
