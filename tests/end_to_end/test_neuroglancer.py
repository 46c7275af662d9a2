"""Neuroglancer, in a browser without a window, shows a store from the server it lies on."""

from __future__ import annotations

import io
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from chromium import CHROMIUM
from PIL import Image
from served import served
from small_series import SCANS

neuroglancer = pytest.importorskip("neuroglancer")
pytestmark = [pytest.mark.slow, pytest.mark.skipif(CHROMIUM is None, reason="no chromium on this machine")]
LAYERS = {"registered": "ImageLayer", "registered/labels/materials": "SegmentationLayer"}
PATIENCE_S = 90.0


@pytest.fixture
def viewer(small_series: Path) -> Any:
    neuroglancer.set_server_bind_address("127.0.0.1")
    with served(small_series) as address:
        made = neuroglancer.Viewer()
        with made.txn() as state:
            for path, kind in LAYERS.items():
                state.layers[path] = getattr(neuroglancer, kind)(source=f"zarr3://{address}/{path}")
            state.display_dimensions = ["x", "y", "z"]
            state.layout = "xy"
        yield made
        neuroglancer.stop()


def test_axes_units_and_materials_are_seen(viewer: Any, browser: Any) -> None:
    tab = browser.new_page(viewport={"width": 900, "height": 700})
    tab.goto(viewer.get_viewer_url())
    started = time.monotonic()
    while coloured(tab) < 0.02:
        assert time.monotonic() - started < PATIENCE_S, "no material is drawn"
        time.sleep(1)
    dimensions = viewer.state.dimensions
    assert list(dimensions.names) == ["t", "z", "y", "x"]
    assert list(dimensions.units) == ["s", "m", "m", "m"]
    assert np.allclose(dimensions.scales[1:], 100e-6 / 3)
    assert 0 <= viewer.state.position[0] < len(SCANS)


def coloured(tab: Any) -> float:
    """Return the share of the picture that has a colour: labels do, and nothing else of that size."""
    pixels = np.asarray(Image.open(io.BytesIO(tab.screenshot())).convert("RGB"), np.int16)
    return float((np.ptp(pixels[60:], axis=2) > 40).mean())
