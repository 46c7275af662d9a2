import json
import subprocess
import sys

import numpy as np
import pytest

from xct_pipeline.cli.echem import clocks_of
from xct_pipeline.electrochemistry.log import CyclerLog, read_log
from xct_pipeline.electrochemistry.steps.tables import cycling_table, voltammetry_table
from xct_pipeline.electrochemistry.sweeps import cycles_of, sweeps_of
from xct_pipeline.variation.nak import facts


def cycled(count=3, lost=0.1):
    """Charge for an hour at 3.6 A s/s with 0.2 V above, discharge with 0.2 V below and a tenth missing."""
    time, charge, voltage, current = [], [], [], []
    now = passed = 0.0
    for _ in range(count):
        for way, hours in ((1, 1.0), (-1, 1.0 - lost)):
            t = np.linspace(0, hours * 3600, 50)
            time.append(now + t)
            charge.append(passed + way * 1e-3 * t)
            voltage.append(np.full(50, 3 + 0.2 * way))
            current.append(np.full(50, way * 1e-3))
            now, passed = now + t[-1], passed + way * 1e-3 * t[-1]
    return CyclerLog(*map(np.concatenate, (time, charge, voltage)), None, np.concatenate(current))


def test_cycles():
    found = cycles_of(cycled())
    assert [c.cycle for c in found] == [1, 2, 3]
    for cycle in found:
        assert cycle.charge_C == pytest.approx(3.6)
        assert cycle.discharge_C == pytest.approx(3.24)
        assert cycle.efficiency == pytest.approx(0.9)
        assert cycle.overpotential_V == pytest.approx(0.2)
    assert cycling_table(cycled(), mass_mg=10)["charge_mAh_g"].iloc[0] == pytest.approx(100)


@pytest.mark.parametrize("begin", [0.0, 0.5, 1.0])
def test_voltammogram_by_cycle(begin):
    t = np.linspace(0, 3, 600, endpoint=False)
    voltage = np.abs((t + begin) * 2 % 2 - 1)
    cycle = sweeps_of(voltage)
    assert (cycle[0], cycle[-1]) == (1, 3)
    assert np.all(np.diff(cycle) >= 0)
    log = CyclerLog(t, t, voltage, None, voltage)
    assert set(voltammetry_table(log)["cycle"]) == {1, 2, 3}
    with pytest.raises(ValueError, match="no voltammogram"):
        sweeps_of(np.ones(5))


def test_numbers_of_nak():
    found = facts(50, 25)
    assert found["density_g_cm3"] == pytest.approx(0.8984, abs=5e-5)
    assert found["removable_mg_per_mg"] == pytest.approx(0.4493, abs=5e-5)
    assert found["removable_mAh_per_mg"] == pytest.approx(0.5238, abs=5e-5)
    assert found["diffusivity_cm2_s"] == pytest.approx(4.909e-5)
    assert facts(50, 60)["liquid"] is None
    assert "not known here" in facts(50, 60)["notes"][0]
    with pytest.raises(ValueError, match="percentage"):
        facts(150)


def xct(*arguments, folder):
    command = [sys.executable, "-c", "from xct_pipeline.cli import main; main()", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


def test_command_reads_logs_and_spectra(tmp_path):
    f = np.logspace(5, 0, 41)
    z = 10 + 30 / (1 + 2j * np.pi * f * 1e-3)
    rows = "\n".join(f"{a},{b.real},{-b.imag}" for a, b in zip(f, z, strict=True))
    (tmp_path / "z.csv").write_text("freq/Hz,Re(Z)/Ohm,-Im(Z)/Ohm\n" + rows)
    (tmp_path / "log.csv").write_text("time_s,current_A,voltage_V\n0,0.001,3\n60,0.001,3\n120,0.001,3\n")
    done = xct("echem", "z.csv", "log.csv", "--json", folder=tmp_path)
    found = json.loads(done.stdout)
    (spectrum,), (log,) = found["spectra"], found["logs"]
    assert spectrum["series_resistance_ohm"] == pytest.approx(10, rel=1e-3)
    assert spectrum["polarisation_resistance_ohm"] == pytest.approx(30, rel=1e-3)
    assert spectrum["peaks"][0]["tau_s"] == pytest.approx(1e-3, rel=1e-3)
    assert spectrum["kk_residual"] < 1e-2
    assert (log["duration_s"], log["charge_C"], log["start"]) == (120, pytest.approx(0.12), None)
    assert {"charge_lowest_C", "charge_highest_C", "warnings"} <= set(log)
    done = xct("echem", "z.csv", "log.csv", "-o", "page.html", folder=tmp_path)
    assert done.returncode == 0
    page = (tmp_path / "page.html").read_text()
    assert all(f'data-panel="{title}"' in page for title in ("Log", "Impedance", "Relaxation times", "Peaks"))
    (tmp_path / "z.csv").write_text("")
    done = xct("echem", "z.csv", folder=tmp_path)
    assert (done.returncode, done.stderr.count("\n"), "Traceback" in done.stderr) == (1, 1, False)


def test_no_clocks_without_electrochemistry():
    class Layout:
        class config:
            electrochemistry = None

    assert clocks_of(Layout) == {}


@pytest.mark.parametrize("rows", [21, 41, 401])
@pytest.mark.parametrize("turns", [1, 2, 5])
def test_a_log_of_a_swept_voltage_is_read_however_few_its_rows(tmp_path, rows, turns):
    t = np.linspace(0, 200, rows)
    voltage = 0.01 * (100 - np.abs(t * turns % 200 - 100)) if turns > 1 else 0.01 * (100 - np.abs(t - 100))
    way = np.where((t * turns) % 200 < 100, 1, -1)
    current = way * np.exp(-(((voltage - 0.5) / 0.15) ** 2))
    lines = [f"{a:.6g},{b:.6g},{c:.6g}" for a, b, c in zip(t, voltage, current, strict=True)]
    path = tmp_path / "cv.csv"
    path.write_text("\n".join(["time/s,Ewe/V,I/mA", *lines]) + "\n")
    if rows < 11 * turns:  # every second row says something else
        with pytest.raises(ValueError, match="set between_rows"):
            read_log(path)
        return
    found = read_log(path)
    once = 1e-3 * 0.15 * np.sqrt(np.pi) * 100 / turns
    assert np.ptp(found.charge_C) == pytest.approx(once, rel=0.1)
    assert any("the voltage is swept" in note for note in found.notes)
