"""Even and odd projections through `xct run`: noise and resolution in tables and report, as they truly are."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from cases import Raw
from command import write_config, xct
from small_series import SCANS
from test_orders_of_angles import ORDERS

from xct_pipeline import open_table, open_volume
from xct_pipeline.planning import halves as planned
from xct_pipeline.report.contents import read_contents
from xct_pipeline.report.page import draw_panel
from xct_pipeline.report.panel import Panel
from xct_pipeline.report.sections import SECTIONS
from xct_pipeline.simulation.simulate import SimulationSettings, simulate
from xct_pipeline.store.store import Store

STILL = SimulationSettings(
    scans=2,
    rows=32,
    columns=64,
    angles=181,
    pixel_size_um=25.0,
    stripped=0.0,
    flats=400,
    darks=5,
    beam_drift=0.0,
    defective_columns=0,
    dead_pixels=0,
    zinger_fraction=0.0,
    center_spread=0.0,
    shift_voxels=0.0,
    rotation_deg=0.0,
    tilt_deg=0.0,
    psf_pixels=0.0,
    supersample=1,
)
"""Two scans of one cell that differ by their noise alone; so many flats that theirs is none."""


def panel() -> Panel:
    return next(panel for section in SECTIONS for panel in section.panels if panel.title == "Noise and resolution")


def box_of(text: str) -> tuple[slice, ...]:
    words = text.replace(",", "").split()
    return tuple(slice(int(a), int(b)) for a, b in zip(words[1::4], words[3::4], strict=True))


@pytest.mark.parametrize("photons", [1e3, 6e3, 3e4])
def test_the_noise_is_what_two_equal_scans_differ_by(photons, tmp_path, capsys):
    simulate(tmp_path, settings=replace(STILL, photons=photons), seed=1)
    (tmp_path / "run.toml").write_text(
        'output = "store.zarr"\n[acquisition]\nscans = ["scan_*.nxs"]\n[correction.stripe]\nmethod = "none"\n'
        '[reconstruction]\ncenter = 33.2\ntilt = "none"\nhalves = true\n'
    )
    assert xct(capsys, "run", tmp_path / "run.toml").code == 0
    table = open_table(tmp_path / "store.zarr", "reconstruction")
    box = box_of(table["halves"][0])
    first, second = (np.asarray(open_volume(tmp_path / "store.zarr", name))[box] for name in table["scan"])
    known = (first - second).std() / np.sqrt(2)
    error = float(table["noise_halves_sigma"][0])
    assert error < 0.01 * known
    # two scans of independent noise, and the error of what is known; aliasing of 90 angles adds 1 % to the least noise
    assert table["noise_halves"].mean() == pytest.approx(known, abs=3 * error + 0.01 * known * (photons > 1e4))


def test_the_small_series_has_curves_numbers_and_a_panel(small_series):
    rows = open_table(small_series, "reconstruction").set_index("scan")
    curves = open_table(small_series, "shell_correlation")
    assert tuple(dict.fromkeys(curves["scan"])) == SCANS
    described = json.loads((small_series / "tables" / "README.json").read_text())
    assert described["shell_correlation.csv"]["frequency_per_um"]["unit"] == "1/micrometre"
    assert described["reconstruction.csv"]["noise_halves"]["unit"] == "1/cm"
    assert rows["resolution_um"].to_numpy() == pytest.approx(rows["resolution_voxel"].to_numpy() * 100 / 3, rel=1e-6)
    assert (rows["resolution_seventh_voxel"] <= rows["resolution_voxel"]).all()
    assert (rows["noise_halves"] > 20 * rows["noise_halves_sigma"]).all()
    assert rows["noise_halves"].std() < 0.03 * rows["noise_halves"].mean()  # the same photons in all scans
    for name, part in curves.groupby("scan"):
        assert part["correlation"].iloc[1] > 0.99
        below = part[(part["correlation"] < part["half_bit"]) & (part["independent"] >= 2)]
        first = below["frequency_per_voxel"].min() if len(below) else np.inf
        assert 1 / rows.loc[name, "resolution_voxel"] == pytest.approx(min(first, 0.5), abs=1 / 40)
    both = open_table(small_series, "noise")
    assert tuple(both["scan"]) == SCANS[1:]
    assert both["ratio"].between(0.9, 1.2).all()  # measured at two places by two means
    assert (both["ratio_sums"] > 1.5).all()  # of sums: the noise of four flats is the same in both halves
    contents = read_contents(small_series)
    drawn = draw_panel(panel(), contents)
    assert not drawn["absent"]
    chart = json.loads(drawn["body"].split('type="application/json">')[1].split("</script>")[0])
    names = [trace.get("name") for trace in chart["data"]]
    assert {"scan_1", "scan_11", "half a bit", "1/7"} <= set(names)
    assert chart["layout"]["xaxis"]["title"]["text"] == "spatial frequency, 1/µm"
    lines = [shape["x0"] for shape in chart["layout"]["shapes"]]
    assert min(abs(x - 1 / rows.loc["scan_1", "resolution_um"]) for x in lines) < 1e-6
    coarsest = rows["resolution_voxel"].idxmax()
    assert drawn["said"][0].startswith(f"The coarsest scan is {coarsest}: a voxel holds half a bit down to periods of ")
    noisiest = rows["noise_halves"].idxmax()
    assert (
        f"The noisiest scan is {noisiest}: a voxel is uncertain by {rows['noise_halves'].max():.2g}"[:-1]
        in (drawn["said"][1])
    )
    assert "van Heel" in (small_series / "report.html").read_text()


def test_the_steps_are_told_before_executed_and_kept(work, capsys):
    config = write_config(work)
    assert xct(capsys, "run", config, "--until", "reconstruction").code == 0
    assert "noise_halves" not in open_table(work / "store.zarr", "reconstruction")
    config.write_text(config.read_text().replace("[reconstruction]\n", "[reconstruction]\nhalves = true\n"))
    told = xct(capsys, "check", config, "--json").json
    names = {step["name"]: step for stage in told["stages"] for step in stage["steps"]}
    assert names["scan_00/halves"]["memory_predicted"] > names["scan_00/halves"]["task_bytes"] > 0
    assert xct(capsys, "run", config, "--until", "reconstruction").code == 0
    outcomes = {step["name"]: step["outcome"] for step in recorded(work)}
    assert {outcomes[f"{name}/halves{part}"] for name in ("scan_00", "scan_01") for part in ("", "_box")} == {
        "executed"
    }
    assert outcomes["scans/scan_00/volume"] == "reused"  # the volume does not depend on whether halves are asked for
    kept = open_table(work / "store.zarr", "reconstruction")
    (work / "store.zarr" / ".xct" / "estimates" / "scan_01" / "halves.npz").write_bytes(b"torn")
    (work / "store.zarr" / "tables" / "shell_correlation.csv").unlink()
    (work / "store.zarr" / ".xct" / "steps.json").unlink()
    assert xct(capsys, "run", config, "--until", "reconstruction").code == 0
    outcomes = {step["name"]: step["outcome"] for step in recorded(work)}
    assert (outcomes["scan_00/halves"], outcomes["scan_01/halves"]) == ("reused", "executed")
    again = open_table(work / "store.zarr", "reconstruction")
    columns = [name for name in kept if "halves" in name or "resolution" in name]
    pd.testing.assert_frame_equal(again[columns], kept[columns])
    config.write_text(config.read_text().replace("halves = true\n", ""))
    assert xct(capsys, "run", config, "--until", "reconstruction").code == 0
    assert "noise_halves" not in open_table(work / "store.zarr", "reconstruction")
    assert not len(open_table(work / "store.zarr", "shell_correlation"))
    assert panel().says(read_contents(work / "store.zarr")) == []


def recorded(folder: Path) -> list[dict[str, str]]:
    return json.loads((folder / "store.zarr" / ".xct" / "steps.json").read_text())["steps"]


@pytest.mark.parametrize("order", ["golden section", "interlaced", "backwards"])
def test_halves_take_turns_in_angle_whatever_the_order_in_time(order, tmp_path, capsys):
    rows = [run_of(Raw.make(ORDERS[name]), tmp_path / name.split()[0], capsys) for name in (order, "drawn")]
    assert rows[0]["noise_halves"] == pytest.approx(rows[1]["noise_halves"], rel=0.15)
    assert all(row["resolution_voxel"] >= 2 for row in rows)


def run_of(raw: Raw, folder: Path, capsys, options: str = "") -> pd.Series:
    folder.mkdir()
    lines = raw.write(folder)
    (folder / "run.toml").write_text(
        f'output = "store.zarr"\n[reconstruction]\ncenter = {raw.center}\nhalves = true\n{options}'
        f'[correction.stripe]\nmethod = "none"\n[acquisition]\n{lines}'
    )
    ended = xct(capsys, "run", folder / "run.toml")
    assert ended.code == 0, ended.err
    return open_table(folder / "store.zarr", "reconstruction").iloc[0]


def test_a_half_acquisition_is_measured_at_the_same_place(tmp_path, capsys):
    turn = np.arange(240) * 1.5
    whole, half = Raw.make(turn), Raw.make(turn)
    first = int(half.center) - 12
    half = replace(half, center=half.center - first)
    for name in ("projections", "flats", "darks"):
        setattr(half, name, getattr(half, name)[:, :, first:])
    rows = [run_of(raw, tmp_path / name, capsys) for name, raw in (("whole", whole), ("half", half))]
    sizes, places = [], []
    for row, name in zip(rows, ("whole", "half"), strict=True):
        side = open_volume(tmp_path / name / "store.zarr", "scan").shape[1]
        box = box_of(row["halves"])[1:]
        sizes.append([part.stop - part.start for part in box])
        places.append([(part.start + part.stop - 1) / 2 - (side - 1) / 2 for part in box])
    assert sizes[0] == sizes[1]
    assert places[0] == pytest.approx(places[1], abs=1)  # from the axis
    # rays are measured once instead of twice, but for those near the axis
    assert 1.1 < rows[1]["noise_halves"] / rows[0]["noise_halves"] < np.sqrt(2)


def test_a_scan_of_few_projections_says_so(tmp_path, capsys):
    row = run_of(Raw.make(np.linspace(0, 180, 13)), tmp_path / "few", capsys)
    assert row["halves"] == "not available: 13 projections are too few to be split"
    assert np.isnan(row["noise_halves"])


def test_a_scan_whose_halves_fail_keeps_its_volume_and_says_so(tmp_path, capsys, monkeypatch):
    def refuse(*arguments):
        raise ValueError("a shard of its projections is damaged")

    monkeypatch.setattr(planned, "measure", refuse)
    row = run_of(Raw.make(), tmp_path / "failing", capsys)
    assert row["halves"] == "not available: a shard of its projections is damaged"
    assert open_volume(tmp_path / "failing" / "store.zarr", "scan").shape[1] > 90


def test_a_volume_of_another_program_has_none_and_says_so(tmp_path, capsys):
    volume = np.random.default_rng(0).normal(1, 0.1, (24, 40, 40)).astype(np.float32)
    np.save(tmp_path / "cell.npy", volume)
    (tmp_path / "run.toml").write_text(
        'output = "store.zarr"\n[reconstruction]\nhalves = true\n'
        '[[acquisition.volume]]\nname = "cell"\ndata = "cell.npy"\nvoxel_um = 2.0\nunit = "1/cm"\n'
    )
    ended = xct(capsys, "run", tmp_path / "run.toml")
    assert ended.code == 0, ended.err
    (row,) = open_table(tmp_path / "store.zarr", "reconstruction").to_dict("records")
    assert row["halves"] == "not available: starts from a volume"
    assert np.isnan(row["noise_halves"])
    assert Store(tmp_path / "store.zarr").read_table("shell_correlation").empty
