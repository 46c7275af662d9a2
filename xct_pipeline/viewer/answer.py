"""What a finished store is opened on: grey values, smoothed change, outlines of materials, areal map. No Qt."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from xct_pipeline.report.changes import SIDE, Changes, smoothed_change, smoothed_changes
from xct_pipeline.report.contents import AbsentError, Contents, read_contents
from xct_pipeline.report.drawing import plain_unit
from xct_pipeline.report.markup import plus_minus
from xct_pipeline.report.region import Part, read_part
from xct_pipeline.store import layout
from xct_pipeline.store.files import StoreError
from xct_pipeline.threads import Shared
from xct_pipeline.viewer import layers, ome
from xct_pipeline.viewer.layers import Layer

SMOOTHED = "variation/density smoothed"
"""Where the smoothed change would lie in the store: it is computed when it is looked at."""
FIRST = (layout.REGISTERED, layout.AREAL, layout.AREAL_SIGMA, layout.MATERIALS)
OUTLINE = 0.6
"""Opacity of the materials' outlines."""
HELD = 32
"""Smoothed changes that are held: each plane that is shown asks for the whole of one (3.5 MB at most)."""
VIEW, UP = (-0.45, 0.78, -0.45), (1.0, 0.0, 0.0)
"""Directions (z, y, x) in which the camera looks in 3-D and which it holds upright: from the side, a little above."""


@dataclass(frozen=True)
class Answer:
    """A store's layers, parted into those that hold the answer and all others.

    Attributes
    ----------
    contents : Contents
    shown, others : list of layer
        napari's layer tuples.
    scan : int
        Position of the last scan.
    z : float
        Middle of the region along z, in the layers' unit.
    """

    contents: Contents
    shown: list[Layer]
    others: list[Layer]
    scan: int
    z: float


def answer_of(path: Path) -> Answer | None:
    """Return a store's layers with those of the answer first, None where it holds no change of density yet.

    Raises
    ------
    StoreError
        There is no store, or nothing in it.
    """
    found = layers.store_layers(path)
    paths = {note_of(layer)["path"] for layer in found}
    if not {layout.REGISTERED, layout.DENSITY} <= paths:
        return None
    try:
        contents = read_contents(path)
        changes = smoothed_changes(contents)
    except (AbsentError, StoreError, OSError, ValueError) as error:
        ome.tell(f"the smoothed change is left out: {error}")
        return None
    return _parted(found, contents, changes)


def note_of(layer: Layer) -> dict[str, Any]:
    """Return what a layer says of itself."""
    return dict(layer[1]["metadata"]["xct"])


def _parted(found: Sequence[Layer], contents: Contents, changes: Changes) -> Answer:
    told = told_of(contents)
    grey = next(layer for layer in found if note_of(layer)["path"] == layout.REGISTERED)
    smooth = _smoothed_layers(contents, changes, grey, told)
    shown: list[Layer] = []
    others: list[Layer] = []
    for layer in found:
        note = note_of(layer)
        if note["path"] in FIRST and "side" not in note:
            flat = note["path"] in (layout.REGISTERED, layout.MATERIALS)
            more: dict[str, Any] = {"visible": flat}
            more |= {"contrast_limits": _grey_limits(contents)} if layer is grey else {}
            more |= {"opacity": OUTLINE} if layer[2] == "labels" else {}
            shown.append(_changed(layer, {"told": told, "hidden_in_3d": flat}, **more))
        else:
            others.append(_changed(layer, {"shown_in_3d": False}, visible=False))
        if layer is grey:
            shown += smooth
    return Answer(contents, shown, others, len(contents.scans) - 1, _middle(changes.parts[-1], smooth[0]))


def _changed(layer: Layer, note: Mapping[str, Any], **more: Any) -> Layer:
    """Return a layer with more in its note and other keywords."""
    data, keywords, kind = layer
    return data, {**keywords, **more, "metadata": {"xct": {**note_of(layer), **note}}}, kind


def _grey_limits(contents: Contents) -> tuple[float, float]:
    """Return limits that suit the region, next to which a ceramic may be twenty times as bright."""
    part = read_part(contents, layout.REGISTERED, len(contents.scans) - 1, SIDE)
    known = part.values[part.inside]
    if not known.size:
        return 0.0, 1.0
    low, high = (float(v) for v in np.percentile(known, (0.5, 99.5)))
    return min(0.0, low), max(1.8 * high, low + 1e-6)


def _middle(part: Part, smooth: Layer) -> float:
    """Return the middle of the region along z."""
    rows = np.flatnonzero(part.inside.any(axis=(1, 2)))
    first, last = (rows[0], rows[-1]) if rows.size else (0, part.inside.shape[0] - 1)
    return float(smooth[1]["translate"][-3] + smooth[1]["scale"][-3] * (first + last) / 2)


def told_of(contents: Contents) -> list[str]:
    """Return what is told of each scan beside its time: charge, and change of mass with its error."""
    try:
        table = contents.table("mass_balance", "scan", "mass_change_mg", "sigma_mg").set_index("scan")
    except AbsentError:
        return [""] * len(contents.scans)
    columns = ["charge_C", "mass_change_mg", "sigma_mg"]
    lines = []
    for charge, mass, sigma in table.reindex(index=contents.scans, columns=columns).to_numpy(float):
        parts = [f"{charge:.4g} C"] if math.isfinite(charge) else []
        parts += [f"{plus_minus(mass, sigma)} mg" if sigma > 0 else f"{mass:.4g} mg"] if math.isfinite(mass) else []
        lines.append("\n".join(parts))  # side by side they would reach below the colour bar
    return lines


class _Smoothed:
    """The smoothed change of every scan as an array (t, z, y, x), computed when it is first read and held from then."""

    def __init__(self, contents: Contents, changes: Changes) -> None:
        self.contents = contents
        self.shape = (len(contents.scans), *changes.parts[-1].values.shape)
        self.dtype, self.ndim = np.dtype(np.float32), 4
        self._held = Shared(HELD)
        for scan, field in zip(changes.scans, changes.fields, strict=True):
            self._held.get(scan, partial(np.asarray, field))

    def __getitem__(self, key: tuple[slice, ...]) -> ome.Array:
        scans = range(*key[0].indices(self.shape[0]))
        whole = [self._held.get(t, partial(self._smooth, t)) for t in scans]
        return np.stack(whole)[:, *key[1:]].astype(np.float32)

    def _smooth(self, t: int) -> ome.Array:
        return smoothed_change(self.contents, t)[1]


def _smoothed_layers(contents: Contents, changes: Changes, grey: Layer, told: list[str]) -> list[Layer]:
    """Return the smoothed change on the report's scale, and surfaces of loss and gain for 3-D."""
    part, unit = changes.parts[-1], plain_unit(changes.parts[-1].level.unit)
    voxel = part.level.step / part.level.factor
    base = grey[1]["translate"]
    array = ome.Guarded(_Smoothed(contents, changes), "smoothed change")
    note = {**note_of(grey), "path": SMOOTHED, "unit": part.level.unit, "told": told}
    common = {
        **{key: grey[1][key] for key in ("axis_labels", "units")},
        "scale": (grey[1]["scale"][0], *(part.step,) * 3),
        "translate": (base[0], *(base[-3:] + part.origin - voxel / 2)),
        "multiscale": False,
        "blending": "translucent",
    }
    data = ome.planes(array)
    sections = {
        "name": f"density change, smoothed, {unit}",
        "contrast_limits": (-changes.limit, changes.limit),
        "colormap": layers.diverging(),
        "interpolation2d": "linear",
        "metadata": {"xct": {**note, "scale_told": unit}},
    }
    found: list[Layer] = [(data, {**common, **sections}, "image")]
    for side, colour, sign in (("gain", layers.GAIN, 1), ("loss", layers.LOSS, -1)):
        surface = {
            "name": f"{side}, {unit}, surface in 3-D",
            "contrast_limits": (0.0, changes.limit),
            "colormap": layers.one_sided(side, colour),
            "rendering": "iso",
            "iso_threshold": changes.levels[0],
            "visible": False,
            "metadata": {"xct": {**note, "side": side, "shown_in_3d": True}},
        }
        found.append((data * np.float32(sign), {**common, **surface}, "image"))
    return found
