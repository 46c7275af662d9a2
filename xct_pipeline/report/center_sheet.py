"""The contact sheet of the centre: parts of a slice, voxel by voxel, reconstructed with centres about the estimate.

A whole slice of 2048 columns in a row of thumbnails shows nothing of half a column; a part about the richest feature,
one pixel of the picture a voxel or more, on the grey scale of that part, does.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import scipy

from xct_pipeline.config import Config
from xct_pipeline.outputs import written_whole
from xct_pipeline.planning import preview as previewing
from xct_pipeline.planning.plan import STAGES, plan
from xct_pipeline.reconstruction.center.find import CenterEstimate
from xct_pipeline.report.sheets import contrast, middle_row

if TYPE_CHECKING:
    from matplotlib.figure import Figure


Array = npt.NDArray[Any]
OFFSETS = (-4.0, -2.0, -1.0, -0.5, 0.0, 0.5, 1.0, 2.0, 4.0)
"""Columns from the estimate that are tried."""
SIDE = 208
"""Pixels of the picture that one part takes, at most."""
MOST_MAGNIFIED = 4
PARTS = 2
"""Places of a slice that are shown."""
SECTORS = 16
"""Pieces of a circle on which what is the same at one radius, as a ring is, counts for no feature."""
GAP, LEFT, HEAD, SCAN_HEAD, PART_HEAD = 8, 12, 44, 40, 18  # pixels
DPI = 100


@dataclass(frozen=True)
class Window:
    """A square part of a slice, and how many pixels of the picture a voxel of it has along an edge.

    Attributes
    ----------
    y, x : int
        First row and column.
    side : int
        Voxels along an edge.
    magnified : int
    """

    y: int
    x: int
    side: int
    magnified: int

    def of(self, plane: Array) -> Array:
        """Return the part of a slice (y, x), each voxel as a square of pixels."""
        part = plane[self.y : self.y + self.side, self.x : self.x + self.side]
        return np.kron(part, np.ones((self.magnified, self.magnified), part.dtype))


def center_sheet(config: Config, found: Mapping[str, CenterEstimate], file: Path, z: int | None = None) -> None:
    """Draw parts of a slice of each scan, reconstructed with centres around its estimate.

    Parameters
    ----------
    config : Config
    found : mapping
        Name of a scan to its estimate.
    file : Path
        PNG that is written: per scan the whole slice with its parts marked, and a row for each part.
    z : int, optional
        Row of the (binned) detector; the middle by default.
    """
    z = middle_row(config) if z is None else z
    image = next(item.passes[-1].image for item in plan(config, until=STAGES[0]).good)
    blocks = []
    for name, estimate in found.items():  # one scan after the other: nine slices of 2048 columns are 150 MB
        tried = [estimate.center + offset for offset in OFFSETS]
        slices = previewing.slices_at_centers(config, z, {name: tried})[name]
        places = windows(slices)
        title = f"{name}, row {z}: centre {estimate.center:.2f}{_error(estimate)} detector columns"
        whole, step = overview(slices[len(slices) // 2])
        blocks.append(Block(title, tried, whole, step, places, [cut(slices, w) for w in places]))
    pixel = f", {image.voxel_um:.4g} µm each" if image.voxel_um else ""
    figure = _drawn(blocks, image.unit, pixel)
    with written_whole(file) as part:
        figure.savefig(part, dpi=DPI, format="png")


def _error(estimate: CenterEstimate) -> str:
    return f" ± {estimate.sigma:.2f}" if np.isfinite(estimate.sigma) else ""


@dataclass(frozen=True)
class Block:
    """What the sheet shows of one scan: every `step`th voxel of the slice, and its parts with every centre."""

    title: str
    centers: Sequence[float]
    whole: Array
    step: int
    windows: Sequence[Window]
    parts: Sequence[Sequence[Array]]


def cut(slices: Sequence[Array], window: Window) -> list[Array]:
    """Return a part of each slice as it is shown."""
    return [window.of(plane) for plane in slices]


def overview(plane: Array) -> tuple[Array, int]:
    """Return a slice made as small as a part by leaving voxels out, and every how many-th is left."""
    step = -(-max(plane.shape) // SIDE)
    return plane[::step, ::step], step


def magnification(width: int) -> int:
    """Return how many pixels of the picture a voxel has along an edge: one, or more in slices of few voxels."""
    return min(max(1, round(3 * SIDE / width)), MOST_MAGNIFIED)


def windows(slices: Sequence[Array], count: int = PARTS) -> list[Window]:
    """Return the parts of a slice that change most with the centre, apart from each other, the richest first.

    Parameters
    ----------
    slices : sequence of numpy.ndarray
        (y, x), with centres in rising order; the middle one with the estimate.
    """
    shape = slices[0].shape
    magnified = magnification(max(shape))
    side = min(SIDE // magnified, *shape)
    middle = len(slices) // 2
    score = richness(slices[min(middle + 2, len(slices) - 1)] - slices[max(middle - 2, 0)], side)
    half, found = side // 2, []
    inner = np.full(shape, -np.inf)
    rows, columns = (slice(half, n - (side - half) + 1) for n in shape)
    inner[rows, columns] = score[rows, columns]
    for _ in range(count):
        y, x = (int(k) for k in np.unravel_index(int(np.argmax(inner)), shape))
        if not np.isfinite(inner[y, x]):
            break
        found.append(Window(y - half, x - half, side, magnified))
        inner[max(0, y - side + 1) : y + side, max(0, x - side + 1) : x + side] = -np.inf
    return found


def richness(change: Array, side: int) -> Array:
    """Return how much a slice changes with the centre, root mean square over squares of `side` voxels about each voxel.

    What is the same along an arc about the axis is a ring of the detector, not a feature, and is left out.
    """
    known = np.isfinite(change)
    values = np.where(known, change, 0.0)
    y, x = (np.arange(n) - (n - 1) / 2 for n in values.shape)
    radius = np.hypot(y[:, None], x[None, :])
    sector = ((np.arctan2(y[:, None], x[None, :]) / (2 * np.pi) + 0.5) * SECTORS).astype(np.intp) % SECTORS
    arc = radius.astype(np.intp) * SECTORS + sector
    number = np.bincount(arc.ravel())
    mean = np.bincount(arc.ravel(), values.ravel()) / np.maximum(number, 1)
    inside = known & (radius <= min(values.shape) / 2 - 1)
    energy = np.where(inside, (values - mean[arc]) ** 2, 0.0)
    smooth = scipy.ndimage.uniform_filter(energy, side, mode="constant")
    return np.asarray(np.sqrt(np.maximum(smooth, 0.0)))


# ---------------------------------------------------------------------------------------------------- drawing


def _drawn(blocks: Sequence[Block], unit: str, pixel: str) -> Figure:
    """Return the sheet; pictures are placed pixel by pixel, so that none is resampled."""
    from matplotlib.figure import Figure

    across = max(part[0].shape[1] for block in blocks for part in block.parts)
    across = max(across, max(block.whole.shape[1] for block in blocks))
    tall = [_height(block) for block in blocks]
    width = LEFT + (1 + len(OFFSETS)) * (across + GAP)
    height = HEAD + sum(tall)
    figure = Figure(figsize=(width / DPI, height / DPI), dpi=DPI, facecolor="white")
    window = blocks[0].windows[0]
    voxels = (
        "a voxel is one pixel of this picture" if window.magnified == 1 else f"a voxel is {window.magnified} pixels"
    )
    head = f"{window.side} × {window.side} voxels{pixel}, {voxels}; red: the estimate, no stripes removed"
    _write(figure, LEFT, height - 18, "Which centre is sharp?", size=12, weight="bold")
    _write(figure, LEFT, height - 36, f"Parts of one slice about what changes most with the centre: {head}.")
    top = height - HEAD
    for block, room in zip(blocks, tall, strict=True):
        _draw_block(figure, block, top, across, unit)
        top -= room
    return figure


def _height(block: Block) -> int:
    shown = sum(int(part[0].shape[0]) + PART_HEAD + GAP for part in block.parts)
    return SCAN_HEAD + max(shown, int(block.whole.shape[0]) + PART_HEAD + GAP)


def _draw_block(figure: Figure, block: Block, top: int, across: int, unit: str) -> None:
    """Draw one scan below `top`, pixels from the bottom."""
    _write(figure, LEFT, top - 14, block.title, weight="bold")
    for k, (center, offset) in enumerate(zip(block.centers, OFFSETS, strict=True)):
        text = f"{center:.2f} " + (f"({offset:+g})".replace("-", "\N{MINUS SIGN}") if offset else "(estimate)")
        _write(figure, LEFT + (k + 1) * (across + GAP), top - 32, text, color="tab:red" if offset == 0 else "black")
    _draw_overview(figure, block, top - SCAN_HEAD - PART_HEAD, unit)
    under = top - SCAN_HEAD
    for number, shown in enumerate(block.parts, 1):
        low, high = contrast(shown[len(shown) // 2])
        scale = f"part {number}, black {low:.3g} to white {high:.3g} {unit}".replace("-", "\N{MINUS SIGN}")
        _write(figure, LEFT + across + GAP, under - 13, scale, color="0.35")
        under -= PART_HEAD + shown[0].shape[0]
        for k, part in enumerate(shown, 1):
            _place(figure, part, LEFT + k * (across + GAP), under, low, high)
        under -= GAP


def _draw_overview(figure: Figure, block: Block, top: int, unit: str) -> None:
    """Draw the whole slice with its parts as frames, and what black and white are."""
    from matplotlib.patches import Rectangle
    from matplotlib.transforms import IdentityTransform

    tall = block.whole.shape[0]
    low, high = contrast(block.whole)
    scale = f"slice, {low:.3g} to {high:.3g} {unit}".replace("-", "\N{MINUS SIGN}")
    _write(figure, LEFT, top + PART_HEAD - 13, scale, color="0.35")
    _place(figure, block.whole, LEFT, top - tall, low, high)
    for number, window in enumerate(block.windows, 1):
        step = block.step
        x, y = LEFT + window.x / step, top - (window.y + window.side) / step
        edge = window.side / step
        figure.add_artist(
            Rectangle((x, y), edge, edge, fill=False, edgecolor="tab:orange", transform=IdentityTransform())
        )
        _write(figure, x + 3, y + 3, str(number), color="tab:orange")


def _place(figure: Figure, plane: Array, x: int, y: int, low: float, high: float) -> None:
    """Put a plane with its first row on top, lower left corner at (x, y), one pixel of the figure a number."""
    figure.figimage(plane, x, y, cmap="gray", vmin=low, vmax=high, origin="upper", resize=False)


def _write(figure: Figure, x: float, y: float, text: str, size: float = 8, **style: Any) -> None:
    width, height = figure.get_size_inches() * DPI
    figure.text(x / width, y / height, text, fontsize=size, **style)
