"""Area of the surface on which a field has a value, by marching cubes.

Most cells that the surface crosses can be cut into triangles in one way only, which a table tells; their areas are
summed in one compiled sweep that keeps no mesh. The few whose corners leave a choice are cut by scikit-image after
Lewiner et al., as the table's cells were, so the sum is that of its mesh.
"""

from __future__ import annotations

import functools
import itertools
import math

import numpy as np

from xct_pipeline.compiled import empty, njit
from xct_pipeline.device import Array

MOST_TRIANGLES = 4  # of a cell that leaves no choice
TINY = float(np.spacing(1.0))  # that scikit-image adds to a distance from the level before it divides by it
NONE, ALL = np.uint8(0), np.uint8(85)  # codes of the four corners at one x
RUN = 32  # codes that are compared at a time
FEW = 4096  # cells that leave a choice: with more, all are looked at a second time
BATCH = 256  # of cells that scikit-image cuts at a time: its positions are float32, so that they must not be far away
CORNERS = np.array(list(itertools.product((0, 1), repeat=3)))  # bit k of a cell's code is set where corner k is above
EDGES = np.array(
    [
        (i, j, np.argmax(CORNERS[j] - CORNERS[i]))  # from corner i, where the coordinate along the edge is 0, to j
        for i, j in itertools.combinations(range(8), 2)
        if np.abs(CORNERS[i] - CORNERS[j]).sum() == 1
    ]
)


def surface_area(field: Array, level: float) -> float:
    """Return the area of the surface on which a field has a value.

    Parameters
    ----------
    field : float32 array (z, y, x)
        Finite.
    level : float
        The value, rounded to float32.

    Returns
    -------
    float
        In squared sides of a cell, of the mesh that `skimage.measure.marching_cubes` makes.

    References
    ----------
    T. Lewiner, H. Lopes, A. W. Vieira, G. Tavares, J. Graphics Tools 8(2) (2003) 1.
    """
    return float(surface_areas(field, level, np.ones((1, 1, 1), np.uint8), (0, 0, 0), max(field.shape))[0, 1])


def surface_areas(field: Array, level: float, kinds: Array, first: tuple[int, ...], tile: int) -> Array:
    """Return the area of such a surface in cells of each kind.

    Parameters
    ----------
    field, level
        As for `surface_area`.
    kinds : uint8 array
        Of all cells in each cube of `tile` of them: 0 is not looked at, 1 from one side, others from both.
    first : tuple of int
        Where the field's first cell lies among these cubes.

    Returns
    -------
    float64 array (2, kinds)
        As it is, and as it is for the field turned over about the level, where a cell that leaves a choice may be cut
        in another way.
    """
    values, areas = np.ascontiguousarray(field, np.float32), np.zeros((2, int(kinds.max()) + 1))
    if min(values.shape) < 2:
        return areas
    value, (triangles, count), room = np.float32(level), _tilings(), FEW
    while True:
        cells, of = np.empty((room, 2, 2, 2), np.float32), np.empty(room, np.uint8)
        areas[:] = 0
        undecided = _sum_decided(
            values, value, triangles, count, EDGES, CORNERS, kinds, first, tile, areas[0], cells, of
        )
        if undecided <= room:
            break
        room = undecided
    areas[1, 2:] = areas[0, 2:]
    for kind in np.unique(of[:undecided]).tolist():
        mine = cells[:undecided][of[:undecided] == kind]
        areas[0, kind] += _area_of_cells(mine, float(value))
        if kind > 1:
            areas[1, kind] += _area_of_cells(2 * value - mine, float(value))
    return areas


def _area_of_cells(cells: Array, level: float) -> float:
    """Return the area in cells (n, 2, 2, 2) that have nothing to do with each other."""
    from skimage.measure import marching_cubes, mesh_surface_area

    area = 0.0
    for k in range(0, len(cells), BATCH):
        row = np.ascontiguousarray(cells[k : k + BATCH].transpose(1, 2, 0, 3).reshape(2, 2, -1))
        mask = np.zeros(row.shape, bool)
        mask[..., 1::2] = True  # a cell is asked for by its last corner; not those between two of them
        corners, triangles = marching_cubes(row, level, mask=mask)[:2]
        area += float(mesh_surface_area(corners.astype(np.float64), triangles))
    return area


@functools.cache
def _tilings() -> tuple[Array, Array]:
    """Return the three edges of each triangle of every code of a cell (256, triangles, 3), and their number.

    The number is -1 where the corners leave a choice: two opposite ones of a face, or of the cell, on one side alone.
    """
    from skimage.measure import marching_cubes

    middles = {tuple(CORNERS[i] + CORNERS[j]): k for k, (i, j, _) in enumerate(EDGES)}
    triangles, count = np.zeros((256, MOST_TRIANGLES, 3), np.int64), np.zeros(256, np.int64)
    for code in range(1, 255):
        cell = np.array([code >> k & 1 for k in range(8)]).reshape(2, 2, 2)
        if _leaves_choice(cell):
            count[code] = -1
            continue
        points, faces = marching_cubes(cell.astype(np.float32), 0.5)[:2]
        edges = [middles[tuple(point)] for point in np.rint(2 * points).astype(int)]
        triangles[code, : len(faces)] = np.array(edges)[faces]
        count[code] = len(faces)
    return triangles, count


def _leaves_choice(cell: Array) -> bool:
    faces = [cell.take(side, axis=axis) for axis in range(3) for side in (0, 1)]
    if any(face[0, 0] == face[1, 1] != face[0, 1] == face[1, 0] for face in faces):
        return True
    for alone in (cell, 1 - cell):
        places = np.argwhere(alone)
        if len(places) == 2 and np.abs(places[0] - places[1]).sum() == 3:
            return True
    return False


@njit(inline="always")
def _code_rows(field: Array, level: np.float32, z: int, y: int, codes: Array) -> None:
    """Set the bits of the four corners at each x of a row of cells."""
    a, b, c, d = field[z, y], field[z, y + 1], field[z + 1, y], field[z + 1, y + 1]
    for x in range(len(codes)):
        codes[x] = (
            np.uint8(a[x] > level)
            + np.uint8(4) * np.uint8(b[x] > level)
            + np.uint8(16) * np.uint8(c[x] > level)
            + np.uint8(64) * np.uint8(d[x] > level)
        )


@njit(inline="always")
def _next_crossed(codes: Array, x: int) -> int:
    """Return the next cell of a row, from x on, that has corners on both sides; its last corner if there is none."""
    last, differ = len(codes) - 1, NONE
    if x >= last or (codes[x] != NONE and codes[x] != ALL):
        return x
    while differ == NONE and x + RUN <= last:
        for k in range(1, RUN + 1):
            differ |= codes[x + k] ^ codes[x]
        if differ == NONE:
            x += RUN
    while x < last and codes[x + 1] == codes[x]:
        x += 1
    return x


@njit
def _sum_decided(
    field: Array,
    level: np.float32,
    triangles: Array,
    count: Array,
    edges: Array,
    corners: Array,
    kinds: Array,
    first: tuple[int, ...],
    tile: int,
    areas: Array,
    cells: Array,
    of: Array,
) -> int:
    """Add up the area in all cells that leave no choice; return the number of the others, whose first are listed."""
    nz, ny, nx = field.shape
    undecided = 0
    codes = empty(nx, np.uint8)
    points, away = empty((len(edges), 3), np.float64), empty(8, np.float64)
    for e in range(len(edges)):
        for other in range(3):
            points[e, other] = corners[edges[e, 0], other]
    for z in range(nz - 1):
        for y in range(ny - 1):
            kind = kinds[(first[0] + z) // tile, (first[1] + y) // tile]
            _code_rows(field, level, z, y, codes)
            x = -1
            while True:
                x = _next_crossed(codes, x + 1)
                if x >= nx - 1:
                    break
                k = kind[(first[2] + x) // tile]
                if k == 0:
                    continue
                code = codes[x] + 2 * codes[x + 1]
                _find_away(field, level, z, y, x, away)
                if count[code] < 0:
                    if undecided < len(cells):
                        for i in range(8):
                            a, b, c = corners[i]
                            cells[undecided, a, b, c] = field[z + a, y + b, x + c]
                        of[undecided] = k
                    undecided += 1
                    continue
                for e in range(len(edges)):  # those that are not crossed as well, which is sooner than to ask
                    i, j, axis = edges[e]
                    points[e, axis] = away[i] / (away[i] + away[j])
                for t in range(count[code]):
                    one, two, three = triangles[code, t]
                    areas[k] += _triangle(points[one], points[two], points[three])
    return undecided


@njit(inline="always")
def _find_away(field: Array, level: np.float32, z: int, y: int, x: int, away: Array) -> None:
    """Set how far the corners of a cell are from the level, in the order of `CORNERS`."""
    for i in range(8):
        away[i] = TINY + abs(np.float64(field[z + (i >> 2), y + (i >> 1 & 1), x + (i & 1)]) - np.float64(level))


@njit(inline="always")
def _triangle(one: Array, two: Array, three: Array) -> float:
    az, ay, ax = two[0] - one[0], two[1] - one[1], two[2] - one[2]
    bz, by, bx = three[0] - one[0], three[1] - one[1], three[2] - one[2]
    return 0.5 * math.sqrt((ay * bx - ax * by) ** 2 + (ax * bz - az * bx) ** 2 + (az * by - ay * bz) ** 2)
