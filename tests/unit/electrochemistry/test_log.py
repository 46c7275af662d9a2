import sys
import types
from datetime import UTC, datetime

import numpy as np
import pytest

from xct_pipeline.electrochemistry.log import read_log
from xct_pipeline.electrochemistry.units import unit_of

ROWS = [(0, 0.0, 0.05), (10, 0.5, 0.06), (20, 1.0, 0.07)]


def write(path, text, encoding="utf-8"):
    path.write_text(text, encoding=encoding)
    return path


@pytest.fixture
def log(tmp_path):
    lines = ["time_s,charge_C,voltage_V", *(f"{t},{q},{v}" for t, q, v in ROWS)]
    return write(tmp_path / "cycler.csv", "\n".join(lines) + "\n")


def test_named_columns(log):
    found = read_log(log, time="time_s", charge="charge_C", voltage="voltage_V")
    np.testing.assert_allclose(found.time_s, [0, 10, 20])
    np.testing.assert_allclose(found.charge_C, [0, 0.5, 1])
    np.testing.assert_allclose(found.voltage_V, [0.05, 0.06, 0.07])
    assert found.start is None
    np.testing.assert_allclose(read_log(log, time="time_s", charge="charge_C", charge_sign=-1).charge_C, [0, -0.5, -1])


@pytest.mark.parametrize(
    ("name", "unit"),
    [
        ("time_s", "s"),
        ("time/h", "h"),
        ("Test Time (min)", "min"),
        ("Ewe/V", "V"),
        ("<I>/mA", "mA"),
        ("(Q-Qo)/mA.h", "mA.h"),
        ("I [mA]", "mA"),
        ("Capacity(mAh)", "mAh"),
        ("voltage", None),
    ],
)
def test_unit_in_the_name(name, unit):
    assert unit_of(name) == unit


@pytest.mark.parametrize(
    ("header", "names", "factors"),
    [
        ("time_h,capacity_mAh", ("time_h", "capacity_mAh"), (3600, 3.6)),
        ("Time (min),Charge (Ah)", ("Time (min)", "Charge (Ah)"), (60, 3600)),
        ("t [ms],q [µAh]", ("t [ms]", "q [µAh]"), (1e-3, 3.6e-3)),
    ],
)
def test_units_are_converted(tmp_path, header, names, factors):
    path = write(tmp_path / "a.csv", header + "\n0,0\n1,2\n")
    found = read_log(path, time=names[0], charge=names[1])
    np.testing.assert_allclose(found.time_s, np.array([0, 1]) * factors[0])
    np.testing.assert_allclose(found.charge_C, np.array([0, 2]) * factors[1])


def test_units_as_arguments(tmp_path):
    path = write(tmp_path / "a.csv", "t,q\n0,0\n1,2\n")
    found = read_log(path, time="t", charge="q", units={"time": "h", "charge": "mAh"})
    np.testing.assert_allclose(found.charge_C, [0, 7.2])
    with pytest.raises(ValueError, match="'t' has no unit"):
        read_log(path, time="t", charge="q")
    with pytest.raises(ValueError, match=r"'furlong' is not a unit of time .* to one of s,"):
        read_log(path, time="t", charge="q", units={"time": "furlong", "charge": "C"})


def test_unknown_unit_in_a_name(tmp_path):
    path = write(tmp_path / "a.csv", "time_s,q_mAh/cm2\n0,0\n1,2\n")
    with pytest.raises(ValueError, match="'cm2' is not a unit of charge"):
        read_log(path, time="time_s", charge="q_mAh/cm2")


def test_unknown_column_names_the_near_ones(log):
    with pytest.raises(ValueError, match=r"no column 'charge_c': .* did you mean 'charge_C'"):
        read_log(log, time="time_s", charge="charge_c")
    with pytest.raises(ValueError, match=r"no column 'zzz': .* its columns are 'time_s', 'charge_C'"):
        read_log(log, time="zzz", charge="charge_C")


def test_current_is_integrated(tmp_path):
    t = np.linspace(0, 100, 201)
    rows = "\n".join(f"{a},{2 + a / 10}" for a in t)
    path = write(tmp_path / "a.csv", "time_s,current_mA\n" + rows)
    found = read_log(path, time="time_s", current="current_mA")
    np.testing.assert_allclose(found.charge_C, (2 * t + t**2 / 20) * 1e-3, rtol=1e-9)


def test_mean_current_since_the_row_before(tmp_path):
    path = write(tmp_path / "a.csv", "time/s\t<I>/mA\n0\t0\n10\t2\n20\t4\n")
    np.testing.assert_allclose(read_log(path, time="time/s", current="<I>/mA").charge_C, [0, 0.02, 0.06])


def test_preamble_semicolons_and_decimal_commas(tmp_path):
    text = "Instrument;X\nOperator;Y\n\ntime_s;charge_C;voltage_V;\n0,0;0,0;0,05;\n10,5;0,5;0,06;\n"
    found = read_log(write(tmp_path / "a.csv", text, "latin-1"), time="time_s", charge="charge_C")
    np.testing.assert_allclose(found.time_s, [0, 10.5])
    np.testing.assert_allclose(found.charge_C, [0, 0.5])


def test_absolute_time(tmp_path):
    path = write(tmp_path / "a.csv", "clock,charge_C\n2026-05-01T10:00:00,0\n2026-05-01T10:01:00,1\n")
    found = read_log(path, absolute_time="clock", charge="charge_C")
    np.testing.assert_allclose(found.time_s, [0, 60])
    assert found.start == datetime(2026, 5, 1, 10)
    zoned = write(
        tmp_path / "b.csv", "clock,time_s,charge_C\n2026-05-01T10:00:00+02:00,5,0\n2026-05-01T10:01:00+02:00,65,1\n"
    )
    found = read_log(zoned, time="time_s", absolute_time="clock", charge="charge_C")
    assert found.start == datetime(2026, 5, 1, 7, 59, 55, tzinfo=UTC)
    with pytest.raises(ValueError, match="no dates"):
        read_log(write(tmp_path / "c.csv", "clock,charge_C\nsoon,0\n"), absolute_time="clock", charge="charge_C")


@pytest.mark.parametrize("comma", [False, True])
def test_biologic_text(tmp_path, comma):
    head = ["EC-Lab ASCII FILE", "Nb header lines : 6", "", "Acquisition started on : 05/01/2026", "Surface : 1 cm²"]
    names = "mode\ttime/s\tEwe/V\tI/mA\t(Q-Qo)/mA.h\t"
    rows = ["1\t0.0E+000\t5.0E-002\t1.0\t0.0", "1\t3.6E+003\t6.0E-002\t1.0\t1.0", "1\t7.2E+003\t7.0E-002\t1.0\t2.0"]
    text = "\r\n".join([*head, names, *(r.replace(".", ",") if comma else r for r in rows)]) + "\r\n"
    path = write(tmp_path / "cell.mpt", text, "latin-1")
    found = read_log(path)
    np.testing.assert_allclose(found.time_s, [0, 3600, 7200])
    np.testing.assert_allclose(found.charge_C, [0, 3.6, 7.2])
    np.testing.assert_allclose(found.voltage_V, [0.05, 0.06, 0.07])
    np.testing.assert_allclose(read_log(path, current="I/mA").charge_C, [0, 3.6, 7.2])


def test_what_cannot_be_a_log(tmp_path, log):
    with pytest.raises(ValueError, match="does not exist"):
        read_log(tmp_path / "none.csv", time="time_s", charge="charge_C")
    strange = write(tmp_path / "s.csv", "alpha,beta_C\n0,0\n5,1\n")
    with pytest.raises(ValueError, match="set time to the column that holds the time"):
        read_log(strange, charge="beta_C")
    with pytest.raises(ValueError, match="set charge or current"):
        read_log(strange, time="alpha")
    with pytest.raises(ValueError, match="charge_sign"):
        read_log(log, time="time_s", charge="charge_C", charge_sign=0)
    with pytest.raises(ValueError, match="no table"):
        read_log(write(tmp_path / "e.csv", ""), time="time_s", charge="charge_C")
    backwards = write(tmp_path / "b.csv", "time_s,charge_C\n0,0\n5,1\n3,2\n")
    with pytest.raises(ValueError, match="runs backwards at data row 3"):
        read_log(backwards, time="time_s", charge="charge_C")
    words = write(tmp_path / "w.csv", "time_s,charge_C\n0,0\n5,lots\n")
    with pytest.raises(ValueError, match="'lots' in column 'charge_C', data row 2"):
        read_log(words, time="time_s", charge="charge_C")
    with pytest.raises(ValueError, match="no BioLogic text"):
        read_log(write(tmp_path / "x.mpt", "hello\n"), charge="a", time="b")


def test_rows_without_a_value_are_left_out(tmp_path):
    path = write(tmp_path / "a.csv", "time_s,charge_C\n0,0\n5,\n10,2\n")
    np.testing.assert_allclose(read_log(path, time="time_s", charge="charge_C").time_s, [0, 10])


def test_binary_file_without_its_reader(tmp_path, monkeypatch):
    path = tmp_path / "cell.ndax"
    path.write_bytes(b"x")
    monkeypatch.setitem(sys.modules, "fastnda", None)
    with pytest.raises(ValueError, match=r"needs fastnda: pip install .xct-pipeline\[cycler\]"):
        read_log(path, time="total_time_s", charge="charge_mAh")


def test_binary_file_through_a_reader(tmp_path, monkeypatch):
    import pandas as pd

    path = tmp_path / "cell.nda"
    path.write_bytes(b"x")
    frame = pd.DataFrame({"total_time_s": [0.0, 1.0], "current_mA": [1.0, 1.0], "voltage_V": [0.1, 0.2]})
    monkeypatch.setitem(sys.modules, "fastnda", types.SimpleNamespace(read=lambda name: frame))
    found = read_log(path, time="total_time_s", current="current_mA", voltage="voltage_V")
    np.testing.assert_allclose(found.charge_C, [0, 1e-3])
