"""The slices of ``xct sweep`` as one stack, a slider over the values of the setting. No Qt."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import tifffile

from xct_pipeline.store.files import StoreError
from xct_pipeline.viewer import ome

Layer = tuple[Any, dict[str, Any], str]


def sweep_layers(path: Path) -> list[Layer]:
    """Return the layer of a stack that `inspection.sweep_sheet` wrote.

    Raises
    ------
    StoreError
        It is no such file.
    """
    try:
        with tifffile.TiffFile(path) as file:
            about = (file.shaped_metadata or [{}])[0].get("xct")
            stack = file.asarray()
    except Exception as error:  # a torn file makes tifffile raise whatever it stumbles over
        raise StoreError(f"{path}: cannot be read as TIFF ({error})") from None
    if about is None:
        raise StoreError(f"{path} was not written by xct sweep; napari itself opens other TIFF files")
    step, unit = (about["pixel_um"], "um") if about["pixel_um"] else (1.0, "pixel")
    setting = about["key"].rsplit(".", 1)[-1]
    keywords = {
        "name": f"{about['scan']}, row {about['row']}: {setting}, {about['unit']}",
        "scale": (1.0, step, step),
        "units": ("pixel", unit, unit),
        "axis_labels": (setting, "y", "x"),
        "colormap": "gray",
        "contrast_limits": ome.contrast(stack.ravel()[:: max(1, stack.size // ome.SAMPLE)]),
        "metadata": {"xct": {"unit": about["unit"], "steps": [f"{setting} = {value}" for value in about["values"]]}},
    }
    return [(stack, keywords, "image")]
