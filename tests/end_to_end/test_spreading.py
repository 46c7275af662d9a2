"""The liquid on carbon and on the ceramic: both contacts against time, from volumes whose truth is known."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from command import xct

from xct_pipeline.report.contents import Contents
from xct_pipeline.report.echem import spreading
from xct_pipeline.store.series import Series

SHAPE = (40, 48, 48)
CERAMIC_TOP, LIQUID_TOP = 12, 32
MIDDLE, RADIUS = 23.5, 21.0
FIBRE, PLACES = 3.0, (13.5, 23.5, 33.5)
"""Radius and places of upright carbon fibres above the ceramic, voxels."""
VALUES = {"gas": 0.0, "carbon": 0.34, "liquid": 0.75, "ceramic": 7.0}
"""Attenuation of gas, graphite, the alloy and the ceramic near 40 keV, 1/cm."""
LEFT = (0.0, 0.25, 0.5, 0.75)
"""Share of the plane that the liquid has left, from one side on, in each scan."""


def layout():
    """Return heights, columns of the cell, and those of its fibres."""
    z, y, x = np.indices(SHAPE)
    fibre = np.min([np.hypot(y - a, x - b) for a in PLACES for b in PLACES], axis=0) < FIBRE
    return z, x, np.hypot(y - MIDDLE, x - MIDDLE) < RADIUS, fibre


def volume(left, rng):
    """Return a cell whose liquid has drawn back to ``x >= left * width``, with pores in its ceramic, and noise."""
    z, x, cell, fibre = layout()
    values = np.where((z < LIQUID_TOP) & (x >= left * SHAPE[2]), VALUES["liquid"], VALUES["gas"])
    values = np.where(fibre & (z < LIQUID_TOP), VALUES["carbon"], values)
    values = np.where(z < CERAMIC_TOP, VALUES["ceramic"], values) * cell
    for centre in np.random.default_rng(1).uniform((3, 10, 10), (8, 38, 38), (25, 3)):
        values[np.linalg.norm(np.indices(SHAPE).T - centre, axis=-1).T < 2] = 0.0
    return (values + 0.02 * rng.normal(size=SHAPE)).astype(np.float32)


def wetted(left):
    """Return the share of the fibres' surface, and of the ceramic's towards the anode, that the liquid touches."""
    _, x, cell, fibre = layout()
    angle = np.linspace(0, 2 * np.pi, 721)[:-1]
    walls = [b + (FIBRE + 1) * np.cos(angle) >= left * SHAPE[2] for _ in PLACES for b in PLACES]
    length = LIQUID_TOP - CERAMIC_TOP  # of the fibres, whose ends touch the ceramic and the gas
    return float(np.mean(walls)) * length / (length + FIBRE), float(
        np.mean(((x >= left * SHAPE[2]) & ~fibre)[0][cell[0]])
    )


def configured(folder):
    rng = np.random.default_rng(0)
    volumes = []
    for k, left in enumerate(LEFT):
        np.save(folder / f"v{k}.npy", volume(left, rng))
        volumes.append(
            f'[[acquisition.volume]]\nname = "scan_{k}"\ndata = "v{k}.npy"\naxes = "zyx"\nvoxel_um = 5.0\n'
            f'unit = "1/cm"\ntimes = "times.csv"\nenergy_keV = 40.0\n'
        )
    rows = {"scan": [f"scan_{k}" for k in range(4)], "time_s": 3600.0 * np.arange(4), "charge_C": 0.1 * np.arange(4)}
    pd.DataFrame(rows).to_csv(folder / "times.csv", index=False)
    (folder / "run.toml").write_text(
        'output = "store.zarr"\n' + "".join(volumes) + '[registration]\nmethod = "translation"\n'
        "reference = 0\nmask = { min_attenuation = 4.0 }\n"
        '[segmentation]\nmethod = "values"\ndenoise = { method = "none" }\n'
        'thresholds = [0.17, 0.55, 4.0]\nnames = ["gas", "carbon", "liquid", "ceramic"]\nceramic = "ceramic"\n'
        '[segmentation.interface]\noffsets = [2.0]\npartners = ["carbon"]\n'
        '[electrochemistry]\nlog = "times.csv"\ntime = "time_s"\ncharge = "charge_C"\n'
    )
    return folder / "run.toml"


@pytest.mark.slow
def test_the_liquid_on_carbon_and_on_the_ceramic_against_time(tmp_path, capsys):
    ended = xct(capsys, "run", configured(tmp_path))
    assert ended.code == 0, ended.err
    store = tmp_path / "store.zarr"
    carbon, ceramic = (pd.read_csv(store / "tables" / f"{name}.csv") for name in ("contacts", "interface"))
    truth = np.array([wetted(left) for left in LEFT])
    for table, true, within in ((carbon, truth[:, 0], 0.08), (ceramic, truth[:, 1], 0.03)):
        liquid = table[table["material"] == "liquid"].sort_values("scan")
        assert list(liquid["scan"]) == [f"scan_{k}" for k in range(4)]
        np.testing.assert_allclose(liquid["fraction"], true, atol=within)
    chart = spreading(Contents(Series.open(store)))
    curves = [trace for trace in chart.data if trace["name"] == "liquid"]
    assert [list(curve["x"]) for curve in curves] == [[0.0, 1.0, 2.0, 3.0]] * 2  # hours
    drawn = json.dumps(chart.layout)
    page = (store / "report.html").read_text()
    for surface in ("the ceramic", "all carbon"):
        assert f"share of {surface} in contact" in drawn
        assert f"share of {surface} in contact" in page
