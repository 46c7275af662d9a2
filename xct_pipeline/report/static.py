"""The static pictures of a report as files for a paper: SVG, PNG at 300 dpi, and the numbers that are drawn."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from xct_pipeline.outputs import written_whole
from xct_pipeline.report.contents import AbsentError, Array, read_contents
from xct_pipeline.report.markup import Picture
from xct_pipeline.report.sections import SECTIONS

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.image import AxesImage

DPI = 300
STYLE: dict[Any, Any] = {"svg.fonttype": "none"}  # words stay words, to be edited


def write_figures(store: Path, folder: Path) -> Iterator[tuple[Path | None, str]]:
    """Write every static picture of a report; the charts are saved from the page, with its own buttons.

    Parameters
    ----------
    store : Path
    folder : Path
        Made where it is not there. Each picture becomes ``<title of its panel>.svg``, ``.png`` and ``.csv``: the
        values of its maps (place in voxels or bins of the map, from the lower left) and of its curves.

    Yields
    ------
    tuple of Path and str
        A file and its panel's title; None and the reason for a picture whose data are not there.

    Raises
    ------
    StoreError
        There is no store, or its metadata are damaged.
    """
    import matplotlib

    contents = read_contents(store)
    folder.mkdir(parents=True, exist_ok=True)
    for panel in (panel for section in SECTIONS for panel in section.panels):
        if not isinstance(panel.draw, Picture):
            continue
        try:
            figure = panel.draw.draw(contents)
        except AbsentError as reason:
            yield None, f"{panel.title}: {reason}"
            continue
        stem = re.sub(r"[^a-z0-9]+", "_", panel.title.lower())
        for kind in ("svg", "png"):
            with written_whole(folder / f"{stem}.{kind}") as part, matplotlib.rc_context(STYLE):
                figure.savefig(part, format=kind, dpi=DPI)
            yield folder / f"{stem}.{kind}", panel.title
        with written_whole(folder / f"{stem}.csv") as part:
            numbers(figure).to_csv(part, index=False)
        yield folder / f"{stem}.csv", panel.title


def numbers(figure: Figure) -> pd.DataFrame:
    """Return what is drawn in a figure: a row for each value of a map and each point of a curve.

    Columns: part (the title of its axes, or their number; and which layer where several lie over each other), kind
    (map or curve), x, y, value and scale (of a map, and the words of its colour bar; empty for curves). Pictures that
    are already colours, such as shaded surfaces, have no numbers.
    """
    bars = {}
    for ax in figure.axes:
        for image in ax.images:
            if image.colorbar is not None:
                bars[_colours(image)] = image.colorbar.ax.get_ylabel()
    tables = [table for k, ax in enumerate(figure.axes) if ax.get_visible() for table in _numbers(ax, k, bars)]
    columns = ["part", "kind", "x", "y", "value", "scale"]
    return pd.concat(tables, ignore_index=True)[columns] if tables else pd.DataFrame(columns=columns)


def _colours(image: AxesImage) -> tuple[object, ...]:
    """Return what two maps on one colour bar share."""
    return (image.get_cmap().name, *image.get_clim())


def _numbers(ax: Axes, k: int, bars: Mapping[tuple[object, ...], str]) -> Iterator[pd.DataFrame]:
    part = " ".join(ax.get_title().split()) or str(k)
    for layer, image in enumerate(ax.images, start=1):
        values: Array = np.ma.filled(np.ma.asarray(image.get_array(), dtype=float), np.nan)
        if values.ndim == 2:
            known = np.isfinite(values)
            rows, columns = np.nonzero(known)
            yield pd.DataFrame(
                {
                    "part": part if len(ax.images) == 1 else f"{part}, layer {layer}",
                    "kind": "map",
                    "x": columns,
                    "y": rows,
                    "value": values[known].astype(np.float32),
                    "scale": bars.get(_colours(image), ""),
                }
            )
    for line in ax.lines:
        if line.get_transform() != ax.transAxes:  # those are scale bars
            x, y = line.get_data(orig=True)
            named = line.get_label()
            label = part if str(named).startswith("_") else f"{part}, {named}"
            yield pd.DataFrame(
                {"part": label, "kind": "curve", "x": np.asarray(x), "y": np.asarray(y), "value": np.nan, "scale": ""}
            )
