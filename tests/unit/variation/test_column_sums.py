"""The compiled sweep over a region sums what the plain formulations do, whatever box it is given."""

import numpy as np

from xct_pipeline.variation import column_sums, mass

FRAME = (12, 15, 18)


def scans():
    rng = np.random.default_rng(7)
    fixed, moving = rng.normal(1, 0.3, (2, *FRAME)).astype(np.float32)
    moving[5, 6, 7:9] = np.nan
    known = (rng.random(FRAME) > 0.3) & np.isfinite(moving)
    cells = rng.integers(-1, 6, FRAME)
    return fixed, moving, known, cells


def motion_changes(fixed, known):
    """Do for the whole frame what the sweep does, in single steps of numpy: shifts along and turns about z, y, x."""
    padded = np.pad(fixed, 1, mode="edge")
    inner, half = slice(1, -1), np.float32(0.5)
    g = (
        (padded[2:, inner, inner] - padded[:-2, inner, inner]) * half,
        (padded[inner, 2:, inner] - padded[inner, :-2, inner]) * half,
        (padded[inner, inner, 2:] - padded[inner, inner, :-2]) * half,
    )
    gz, gy, gx = (np.where(known, part, 0).astype(np.float64) for part in g)
    z, y, x = np.ogrid[tuple(slice(-(n - 1) / 2, n / 2) for n in FRAME)]
    return np.stack([gz, gy, gx, x * gy - y * gx, z * gx - x * gz, y * gz - z * gy])


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
    motions = motion_changes(fixed, known)

    def of_cells(values):
        keep = known & (cells >= 0) & (cells < 6)
        total = np.bincount(cells[keep], weights=values[keep].astype(np.float64), minlength=6)
        return mass.Sums((0,), total, np.bincount(cells[keep], minlength=6))

    np.testing.assert_array_equal(found["count"], known.sum(axis=0))
    np.testing.assert_array_equal(by_cell["cell_count"], of_cells(fixed).count)
    np.testing.assert_allclose(found["motions"], motions.sum(axis=1), atol=1e-12)
    np.testing.assert_allclose(by_cell["cell_motions"], [of_cells(part).total for part in motions], atol=1e-12)
    for name, values in (("change", mass.change(fixed, moving)), ("fixed", fixed), ("moving", moving)):
        np.testing.assert_allclose(found[name], mass.areal_sums(values, known, (0, 0, 0)).total, atol=1e-12)
        np.testing.assert_allclose(by_cell[f"cell_{name}"], of_cells(values).total, atol=1e-12)


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
