"""Flats of single projections: what the air at the edges shows of a beam that changed since its flats."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from xct_pipeline.acquisition.steps import Frame, RawSource
from xct_pipeline.config import DynamicFlat
from xct_pipeline.correction import dynamic, flatfield
from xct_pipeline.correction.air import Margin
from xct_pipeline.correction.eigen_flats import MOST
from xct_pipeline.correction.steps.references import References
from xct_pipeline.engine.blocks import Array
from xct_pipeline.scan import Scan

READ_BYTES = 64e6  # of the projections that are read together
EDGE_BYTES = 64e6  # of what is kept of air: rows are binned beyond that
STALE = 0.002  # r.m.s. share of the light that flats may miss in air untold, where masses are asked for
STALE_SLICE = 0.01  # where they are not: no slice shows less
SIGMAS = 5.0
IMAGES = MOST  # eigen flats that memory is planned for


@dataclass(frozen=True)
class Dynamic:
    """How the flat of each projection differs from the mean flat.

    Attributes
    ----------
    images : numpy.ndarray (component, row, column)
        Eigen flats.
    bands : numpy.ndarray (component, row, 2)
        Relative light at the columns `at`, linear between them.
    amounts : numpy.ndarray (angle, component)
        Of the eigen flats, then of the bands.
    at : (float, float)
    """

    images: Array
    bands: Array
    amounts: Array
    at: tuple[float, float]

    def modes(self, angles: slice, rows: slice | Sequence[int], columns: slice = slice(None)) -> flatfield.Modes:
        """Return how the flats of some projections differ, in some rows and columns."""
        first, last, _ = columns.indices(self.images.shape[2])
        of_images, of_bands = np.split(self.amounts[angles], [len(self.images)], axis=1)
        ends = dynamic.ends_of(self.bands[:, rows], of_bands, self.at, (first, last - 1))
        return flatfield.Modes(self.images[:, rows, columns], of_images, ends)


def dynamic_bytes(frame: Frame) -> int:
    """Return the memory that `measure_dynamic` takes, and what it is made from, beside the flats."""
    return int(12 * IMAGES * frame.rows * frame.columns + READ_BYTES + 8 * EDGE_BYTES)


def dynamic_of(found: Mapping[str, Array]) -> Dynamic | None:
    """Return what `measure_dynamic` found; None where flats are not dynamic, or nothing was found."""
    if "flat_amounts" not in found or not found["flat_amounts"].shape[1]:
        return None
    first, last = found["flat_bands_at"].tolist()
    return Dynamic(found["flat_images"], found["flat_bands"], found["flat_amounts"], (first, last))


def measure_dynamic(
    settings: DynamicFlat,
    scan: Scan,
    frame: Frame,
    references: References,
    margin: Margin | None,
    left_out: Sequence[int],
    notes: list[str],
) -> dict[str, Array]:
    """Find the flat of each projection from all air at the edges.

    Parameters
    ----------
    settings : DynamicFlat
    scan, frame : Scan, Frame
        Of all projections.
    references : References
        With the modes of the flats.
    margin : Margin or None
    left_out : sequence of int
        Projections that do not belong; their amounts are 0.
    notes : list of str
        What is worth telling is added.

    Returns
    -------
    dict of array
        For `dynamic_of`, and what stands in the table: ``flat_change`` (r.m.s. share of the light that was corrected
        in air) and ``flat_sigma`` (standard error of the corrected share in one projection). Nothing where there is
        no air.
    """
    if margin is None:
        notes.append("dynamic flats need air at an edge, and none is known: the mean of all flats is taken")
        return {}
    modes = references.modes
    assert references.flats is not None
    assert modes is not None
    groups = dynamic.edge_groups(margin.left, margin.right, frame.columns)
    used = groups[:, 1] > groups[:, 0]
    ratios = _ratios(scan, frame, references.flats[0], references.dark, groups)
    changes = dynamic.edge_changes(np.delete(ratios, left_out, axis=0) if len(left_out) else ratios)
    del ratios
    rows = changes.shape[1]
    left, right = (min(width, dynamic.COLUMNS) for width in (margin.left, margin.right))
    images = modes.images
    if settings.bands and settings.components == "auto" and min(left, right) > 0:
        images = images[modes.beyond_bands(slice(0, left), slice(frame.columns - right, frame.columns))]
    in_air = dynamic.mode_changes(images, groups, rows)
    mean = in_air[..., used].mean(axis=(1, 2))[:, None, None]
    in_air, images = in_air - mean, images - mean.astype(np.float32)  # the level is that of air
    weights, _ = dynamic.weights_of(changes, in_air, used)
    bands = np.zeros((0, rows, 2))
    if settings.bands:
        rest = changes - _sum(weights, in_air)
        found = dynamic.find_bands(dynamic.blocks_of(dynamic.halves_of(rest, used)))
        bands = found.ends
        if found.across < dynamic.ACROSS:
            notes.append(
                "the beam changed since its flats, but not alike at both edges "
                f"(correlation {found.across:.2g}): bands are left in; take flats nearer to the scan"
            )
    both = np.concatenate([in_air, bands[..., np.repeat([0, 1], dynamic.GROUPS)]])
    both[..., ~used] = 0
    amounts, sigma = dynamic.weights_of(changes, both, used)
    if not len(both):
        notes.append("dynamic flats: neither flats nor air show a change beyond noise: the mean of all flats is taken")
    corrected = _sum(amounts, both)[..., used]
    return {
        "flat_images": images,
        "flat_bands": _on_rows(bands, frame.rows),
        "flat_bands_at": np.array([(left - 1) / 2, frame.columns - (right + 1) / 2]),
        "flat_amounts": _at_all(amounts, frame.angles, left_out),
        "flat_change": np.array(np.sqrt(np.mean(corrected**2)) if len(both) else 0.0),
        "flat_sigma": np.array(np.sqrt(np.sum(sigma**2))),
    }


def _at_all(amounts: Array, angles: int, left_out: Sequence[int]) -> Array:
    whole = np.zeros((angles, amounts.shape[1]))
    whole[np.setdiff1d(np.arange(angles), left_out)] = amounts
    return whole


def ratio_to_mean(found: Mapping[str, Array], rows: Sequence[int]) -> Array:
    """Return the mean flat over the flat of each projection in some rows (angle, row, column), or 1.

    Parameters
    ----------
    found : mapping
        From `measure_dynamic`.
    rows : sequence of int
    """
    known = dynamic_of(found)
    if known is None:
        return np.ones((), np.float32)
    modes = known.modes(slice(None), rows)
    across = np.linspace(0, 1, modes.images.shape[2])
    bands = modes.bands[..., :1] + (modes.bands[..., 1:] - modes.bands[..., :1]) * across
    return np.asarray(1 / (1 + bands + np.tensordot(modes.amounts, modes.images, axes=(1, 0))), np.float32)


def _sum(amounts: Array, modes: Array) -> Array:
    return np.tensordot(amounts, modes, axes=(1, 0)).astype(np.float32)


def _on_rows(bands: Array, rows: int) -> Array:
    """Return bands that are known in bins of rows (component, bin, 2) in each row."""
    bins = bands.shape[1]
    if bins == rows:
        return bands
    edges = np.linspace(0, rows, bins + 1).astype(int)
    middle = (edges[:-1] + edges[1:] - 1) / 2
    whole = np.empty((len(bands), rows, 2))
    for band, out in zip(bands, whole, strict=True):
        for side in (0, 1):
            out[:, side] = np.interp(np.arange(rows), middle, band[:, side])
    return whole


def _ratios(scan: Scan, frame: Frame, mean: Array, dark: Array | None, groups: Array) -> Array:
    """Return the mean transmissions of groups of columns (angle, bin of rows, group), reading all projections once."""
    source, columns = RawSource(scan.projections, frame), slice(0, frame.columns)
    step = max(1, int(READ_BYTES / (4 * frame.rows * frame.columns)))
    bins = int(min(frame.rows, max(64, EDGE_BYTES // (4 * frame.angles * len(groups)))))
    zero = np.zeros(mean.shape, np.float32) if dark is None else np.asarray(dark, np.float32)
    parts = []
    for first in range(0, frame.angles, step):
        counts = source.read((slice(first, min(first + step, frame.angles)), slice(0, frame.rows), columns))
        ratios = dynamic.edge_ratios(np.ascontiguousarray(counts), zero, np.asarray(mean, np.float32), groups)
        parts.append(dynamic.bin_rows(ratios, bins))
    return np.concatenate(parts)


def air_left(edges: Array, margin: Margin) -> tuple[float, float]:
    """Return the r.m.s. share of the light by which air still deviates from its level beyond noise, and its error.

    Parameters
    ----------
    edges : array (angle, row, column)
        Transmission of the margins' columns of sampled rows.
    margin : Margin
    """
    groups = dynamic.edge_groups(margin.left, margin.right, edges.shape[2])
    used = groups[:, 1] > groups[:, 0]
    zero, one = np.zeros(edges.shape[1:], np.float32), np.ones(edges.shape[1:], np.float32)
    changes = dynamic.edge_changes(dynamic.edge_ratios(np.ascontiguousarray(edges), zero, one, groups))
    return dynamic.unexplained(dynamic.blocks_of(dynamic.halves_of(changes, used)))


def stale_note(left: tuple[float, float] | None, is_dynamic: bool, *, mass: bool) -> list[str]:
    """Say that flats do not explain the light in air, by more than matters to a mass or to a slice."""
    size, sigma = left or (0.0, 0.0)
    if not (size > (STALE if mass else STALE_SLICE) and size > SIGMAS * sigma):
        return []
    what = (
        "what their components and bands do not hold; take flats nearer to the scan"
        if is_dynamic
        else 'the beam has changed; set method = "dynamic" under [correction.flatfield], or take flats nearer in time'
    )
    return [
        f"air at the edges is uneven by {100 * size:.2g} +- {100 * sigma:.1g} % (r.m.s., between rows) after division "
        f"by the flats: {what}"
    ]
