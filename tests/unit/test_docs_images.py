"""The pictures of the docs come from the code."""

from __future__ import annotations

import runpy
from pathlib import Path

import numpy as np
import pytest
from matplotlib.image import imread
from report_store import write_store

from xct_pipeline.variation import alloy
from xct_pipeline.variation.nak import facts

IMAGES = Path(__file__).resolve().parents[2] / "docs" / "images"
SCRIPT = IMAGES / "nak.py"


def test_the_overview_is_drawn_from_a_store(tmp_path: Path) -> None:
    store = write_store(tmp_path / "sample.zarr")
    module = runpy.run_path(str(IMAGES / "overview.py"))
    module["main"](store.path, tmp_path / "overview.png")
    drawn, kept = (imread(file)[..., :3] for file in (tmp_path / "overview.png", IMAGES / "overview.png"))
    assert drawn.shape[1] == kept.shape[1] == module["WIDTH"]
    for picture in (drawn, kept):  # what was lost is blue
        assert (picture[..., 2] > picture[..., 0] + 0.2).mean() > 0.01


def test_the_figure_of_the_alloy_shows_what_the_command_tells() -> None:
    density, phases, removable, diffusion = runpy.run_path(str(SCRIPT))["draw"]().axes
    assert density.lines[0].get_ydata()[50] == pytest.approx(facts(50, 25)["density_g_cm3"])
    assert [line.get_xdata()[0] / 100 for line in phases.lines] == pytest.approx(alloy.LIQUID_RANGE_25C)
    assert removable.lines[1].get_ydata()[50] == pytest.approx(facts(50, 25)["removable_mAh_per_mg"])
    np.testing.assert_allclose(diffusion.lines[1].get_ydata(), alloy.SELF_DIFFUSION_373K)
    assert diffusion.lines[0].get_ydata()[[0, -1]] == pytest.approx([4.169, 5.649])
