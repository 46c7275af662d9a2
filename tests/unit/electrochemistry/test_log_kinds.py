"""Each kind of log is read right, or refused with both readings and the key that decides."""

from __future__ import annotations

import datetime as dt
import gzip
import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from logs import write

from xct_pipeline.electrochemistry.log import read_log
from xct_pipeline.electrochemistry.scans import span_of
from xct_pipeline.electrochemistry.table import read_text

HOUR = 3600


def dated(start, pattern, rows=20, minutes=30, name="Date", separator=","):
    lines = [f"{start + dt.timedelta(minutes=minutes * k):{pattern}}{separator}{k}" for k in range(rows)]
    return f"{name}{separator}Q (mAh)\n" + "\n".join(lines) + "\n"


@settings(max_examples=60, deadline=None)
@given(
    start=st.datetimes(dt.datetime(2020, 1, 1), dt.datetime(2029, 12, 1)).map(lambda t: t.replace(second=0)),
    pattern=st.sampled_from(["%d.%m.%Y %H:%M:%S", "%Y-%m-%dT%H:%M:%S", "%d/%m/%Y %H:%M:%S", "%m/%d/%Y %I:%M:%S %p"]),
)
def test_dates_of_any_day_are_right_or_refused(tmp_path_factory, start, pattern):
    start = start.replace(microsecond=0)
    path = write(tmp_path_factory.mktemp("dates"), dated(start, pattern, rows=60))
    try:
        found = read_log(path, absolute_time="Date", charge="Q (mAh)")
    except ValueError as error:
        refused = str(error)
    else:
        refused = ""
        assert found.start == start
        assert found.time_s[-1] == 59 * 1800
    assert not refused or ("date_format" in refused and "/" in pattern)
    order = {"d": "day first", "m": "month first"}.get(pattern[1])
    if order and "." not in pattern:
        assert read_log(path, absolute_time="Date", charge="Q (mAh)", date_format=order).start == start


def test_dates_that_the_scans_decide(tmp_path):
    path = write(tmp_path, dated(dt.datetime(2026, 5, 3, 9), "%d/%m/%Y %H:%M"))
    with pytest.raises(ValueError, match=r"3 May 2026 09:00 .*; or .* 5 March 2026 09:00 .* set date_format"):
        read_log(path, absolute_time="Date", charge="Q (mAh)")
    scans = span_of([dt.datetime(2026, 5, 3, 10)], [dt.datetime(2026, 5, 3, 12)])
    assert read_log(path, absolute_time="Date", charge="Q (mAh)", scans=scans).start == dt.datetime(2026, 5, 3, 9)


@pytest.mark.parametrize("count", ["serial", "s", "ms", "us"])
def test_dates_as_numbers(tmp_path, count):
    start = dt.datetime(2026, 5, 1, 12, tzinfo=dt.UTC)
    seconds = start.timestamp() + np.arange(5) * 600
    numbers = {"serial": seconds / 86400 + 25569, "s": seconds, "ms": seconds * 1e3, "us": seconds * 1e6}[count]
    rows = "\n".join(f"{v:.9f},{k}" for k, v in enumerate(numbers))
    found = read_log(write(tmp_path, "Date,Q (mAh)\n" + rows), absolute_time="Date", charge="Q (mAh)")
    assert abs((found.start.replace(tzinfo=dt.UTC) - start).total_seconds()) < 1e-3
    assert (found.start.tzinfo is None) == (count == "serial")
    np.testing.assert_allclose(found.time_s, np.arange(5) * 600, atol=1e-3)


def test_end_of_summer_time(tmp_path):
    local = [dt.datetime(2026, 10, 25, 1) + dt.timedelta(minutes=30 * k) for k in range(4)]
    local += [dt.datetime(2026, 10, 25, 2) + dt.timedelta(minutes=30 * k) for k in range(4)]
    path = write(tmp_path, "t,Q (mAh)\n" + "\n".join(f"{x.isoformat()},{k}" for k, x in enumerate(local)))
    with pytest.raises(ValueError, match="summer time ends: set time_zone"):
        read_log(path, absolute_time="t", charge="Q (mAh)")
    found = read_log(path, absolute_time="t", charge="Q (mAh)", time_zone="Europe/Berlin")
    np.testing.assert_allclose(np.diff(found.time_s), 1800)
    assert found.start == dt.datetime(2026, 10, 24, 23, tzinfo=dt.UTC)


@pytest.mark.parametrize("step", [1800, 600])
@pytest.mark.parametrize("days", [False, True])
def test_clock_times(tmp_path, step, days):
    seconds = np.arange(0, 30 * HOUR, step)
    rows = []
    for s in seconds.tolist():
        hours = s // HOUR % 24 if days else s // HOUR
        rows.append((f"{s // 86400}d " if days else "") + f"{hours:02d}:{s % HOUR // 60:02d}:00.00,{s / HOUR}")
    path = write(tmp_path, "Total Time,Q (mAh)\n" + "\n".join(rows))
    found = read_log(path, charge="Q (mAh)")
    np.testing.assert_allclose(found.time_s, seconds)


@pytest.mark.parametrize(
    ("cells", "seconds"),
    [
        (('"0"', '"1,800"', '"3,600"'), (0, 1800, 3600)),
        (("0", "1.800,5", "3.600,5"), (0, 1800.5, 3600.5)),
        (('"0,0"', '"1800,5"', '"3600,5"'), (0, 1800.5, 3600.5)),
        (("0", "1 800.5", "3 600.5"), (0, 1800.5, 3600.5)),
        (("0", "1'800.5", "3'600.5"), (0, 1800.5, 3600.5)),
    ],
)
def test_thousands_and_decimal_signs(tmp_path, cells, seconds):
    rows = "\n".join(f"{cell};{k}" for k, cell in enumerate(cells))
    found = read_log(write(tmp_path, "time_s;Q (mAh)\n" + rows), time="time_s", charge="Q (mAh)")
    np.testing.assert_allclose(found.time_s, seconds)


def test_comma_that_could_be_either_is_refused(tmp_path):
    path = write(tmp_path, "time_s;Q (mAh)\n1,125;0\n1,375;1\n")
    with pytest.raises(ValueError, match=r"'1,125' in column 'time_s' reads as 1125 or as 1\.125; set decimal"):
        read_log(path, time="time_s", charge="Q (mAh)")
    assert read_log(path, time="time_s", charge="Q (mAh)", decimal=",").time_s[0] == 1.125
    assert read_log(path, time="time_s", charge="Q (mAh)", decimal=".").time_s[0] == 1125


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "latin-1"])
def test_encodings(tmp_path, encoding):
    found = read_log(write(tmp_path, "time_s\tQ_µAh\n0\t0\n3600\t1000\n", encoding=encoding))
    np.testing.assert_allclose(found.charge_C, [0, 3.6])


def test_packed_text_workbook_and_binary(tmp_path):
    pd = pytest.importorskip("pandas")
    pytest.importorskip("openpyxl")
    path = tmp_path / "log.csv.gz"
    path.write_bytes(gzip.compress(b"time_s,Q_mAh\n0,0\n3600,1\n"))
    np.testing.assert_allclose(read_log(path).charge_C, [0, 3.6])
    book = tmp_path / "arbin.xlsx"
    rows = pd.DataFrame({"Test_Time(s)": [0.0, HOUR], "Current(A)": [1e-3, 1e-3], "Voltage(V)": [3.0, 3.1]})
    rows["Date_Time"] = [dt.datetime(2026, 5, 1, 10), dt.datetime(2026, 5, 1, 11)]
    with pd.ExcelWriter(book) as writer:
        pd.DataFrame({"TEST REPORT": ["x"]}).to_excel(writer, sheet_name="Info", index=False)
        rows.to_excel(writer, sheet_name="Channel_1_1", index=False)
    found = read_log(book)
    assert (found.charge_C[-1], found.start) == (pytest.approx(3.6), dt.datetime(2026, 5, 1, 10))
    for name, data in (("a.xlsx", b"PK\x03\x04junk"), ("b.res", b"\x00\x01\x00\x00Standard Jet DB" + bytes(400))):
        (tmp_path / name).write_bytes(data)
        with pytest.raises(ValueError, match=r"no workbook|binary file"):
            read_log(tmp_path / name)


def test_units_below_the_names(tmp_path):
    found = read_log(
        write(tmp_path, "time,Q,U\ns,mAh,mV\n0,0,3100\n3600,1,3200\n"), time="time", charge="Q", voltage="U"
    )
    np.testing.assert_allclose(found.charge_C, [0, 3.6])
    np.testing.assert_allclose(found.voltage_V, [3.1, 3.2])


def test_names_that_occur_twice(tmp_path):
    path = write(tmp_path, "Time (h),Charge (mAh),Charge (mAh)\n0,0,0\n1,1,5\n")
    with pytest.raises(ValueError, match=r"stands over two columns that differ; write 'Charge \(mAh\)#1'"):
        read_log(path, time="Time (h)", charge="Charge (mAh)")
    assert read_log(path, time="Time (h)", charge="Charge (mAh)#2").charge_C[-1] == 18
    assert read_log(path, time="Time (h)", charge="Charge (mAh)#1").charge_C[-1] == 3.6


# Charge -------------------------------------------------------------------------------------------------------


def program(steps, dt_s=60):
    """Rows (time, step, direction, current mA, net mAh, mAh of the step) of steps (hours, direction)."""
    rows, begin, net = [], 0.0, 0.0
    for number, (hours, way) in enumerate(steps, 1):
        for s in np.arange(0, hours * HOUR + 1, dt_s):
            rows.append((begin + s, number, way, 1.0 * abs(way), net + way * s / HOUR, abs(way) * s / HOUR))
        begin, net = begin + hours * HOUR, net + way * hours
    return rows


STATES = {"maccor": {1: "C", -1: "D", 0: "R"}, "neware": {1: "CC Chg", -1: "CC DChg", 0: "Rest"}}
STATES["landt"] = {1: "C_CC", -1: "D_CC", 0: "R"}


@settings(max_examples=25, deadline=None)
@given(
    steps=st.lists(st.tuples(st.sampled_from([0.5, 1, 1.5]), st.sampled_from([1, -1, 0])), min_size=1, max_size=6),
    kind=st.sampled_from(["maccor", "neware", "landt"]),
    column=st.sampled_from(["current", "capacity", "both"]),
)
def test_charge_from_what_instruments_count(tmp_path_factory, steps, kind, column):
    """Without a sign, with the direction in a state, with a capacity that begins again in each step."""
    steps = [(1, 1), (1, -1), *steps]
    rows = program(steps)
    names = [
        "Time (s)",
        "State",
        *(["Amps"] if column != "capacity" else []),
        *(["Amp-hr"] if column != "current" else []),
    ]
    lines = ["\t".join(names)]
    for t, _, way, current, _, step in rows:
        cells = [f"{t:g}", STATES[kind][way]]
        cells += [f"{current * 1e-3:g}"] if "Amps" in names else []
        cells += [f"{step * 1e-3:.9f}"] if "Amp-hr" in names else []
        lines.append("\t".join(cells))
    found = read_log(write(tmp_path_factory.mktemp("steps"), "\n".join(lines) + "\n", "maccor.txt"))
    np.testing.assert_allclose(found.charge_C, [3.6 * row[4] for row in rows], atol=0.02)


def test_charge_and_discharge_apart(tmp_path):
    t = np.arange(0, 2 * HOUR + 1, 600)
    into, out = np.minimum(t, HOUR) / HOUR, np.maximum(t - HOUR, 0) / HOUR
    rows = "\n".join(f"{a},{b:.6f},{c:.6f}" for a, b, c in zip(t, into, out, strict=True))
    path = write(tmp_path, "Test_Time(s),Charge_Capacity(mAh),Discharge_Capacity(mAh)\n" + rows)
    for found in (read_log(path), read_log(path, time="Test_Time(s)", charge="Charge_Capacity(mAh)")):
        assert found.charge_C[-1] == pytest.approx(0, abs=1e-9)
        assert found.charge_C.max() == pytest.approx(3.6)


def test_capacity_that_begins_again_without_a_direction_is_refused(tmp_path):
    rows = program([(1, 1), (1, 1)])
    text = "time_s,Capacity (mAh)\n" + "\n".join(f"{r[0]:g},{r[5]:.6f}" for r in rows)
    with pytest.raises(ValueError, match="falls back to zero at data row 62"):
        read_log(write(tmp_path, text))


def test_gaps_are_told_and_not_integrated(tmp_path):
    t = np.r_[np.arange(0, 3601, 60), np.arange(39600, 43201, 60)]
    path = write(tmp_path, "time_s,I (mA)\n" + "\n".join(f"{a:g},10" for a in t))
    found = read_log(path)
    assert found.charge_C[-1] == pytest.approx(72)
    assert found.gaps_s == ((3600.0, 39600.0),)
    assert any("360 C if it were: integrate_gaps = true" in note for note in found.notes)
    assert read_log(path, integrate_gaps=True).charge_C[-1] == pytest.approx(432)


def test_current_that_jumps_between_far_rows_is_refused(tmp_path):
    path = write(tmp_path, "time_s,I (mA)\n0,10\n1800,10\n3600,10\n7200,0\n10800,0\n")
    with pytest.raises(ValueError, match="so 36 or 0 C passed; set between_rows"):
        read_log(path)
    assert read_log(path, between_rows="after").charge_C[-1] == pytest.approx(36)
    assert read_log(path, between_rows="before").charge_C[-1] == pytest.approx(72)


def test_charge_that_the_current_contradicts_is_told(tmp_path):
    t = np.arange(0, 3601, 60)
    text = "time_s,Q (mAh),I (mA)\n" + "\n".join(f"{a},{a / 3600:.6f},2" for a in t)
    assert any("differ: 3.6 and 7.2 C" in note for note in read_log(write(tmp_path, text)).notes)


# Instruments ----------------------------------------------------------------------------------------------------

BIOLOGIC = (
    "EC-Lab ASCII FILE\nNb header lines : 5\nAcquisition started on : 05/13/2021 23:00:00.000\n\n"
    "mode\ttime/s\t<Ewe/V>\tI/mA\t(Q-Qo)/mA.h\tTHD Ewe/%\t\n"
)
GAMRY = (
    "EXPLAIN\nTAG\tCHRONOP\nDATE\tLABEL\t5/13/2021\tDate\nTIME\tLABEL\t23:00:00\tTime\nCURVE\tTABLE\t9\n"
    "\tPt\tT\tVf\tIm\n\t#\ts\tV vs. Ref.\tA\n"
)
FILES = {
    "cell.mpt": BIOLOGIC + "".join(f"1\t{60 * k}\t3.7\t1\t{k / 60:.8f}\n" for k in range(61)),
    "cell.DTA": GAMRY + "".join(f"\t{k}\t{60 * k}\t3.7\t0.001\n" for k in range(61)),
    "neware.csv": "DataPoint,Step Type,Time,Total Time,Current(A),Voltage(V),Capacity(Ah),Date\n"
    + "".join(
        f"{k},CC Chg,0:{k:02d}:00,{k // 60}:{k % 60:02d}:00,0.001,3.7,{k / 6e4:.8f},"
        f"2021-05-13 {22 + k // 60}:{k % 60:02d}:00\n"
        for k in range(61)
    ),
    "arbin.csv": "Data_Point,Test_Time(s),Date_Time,Step_Time(s),Current(A),Voltage(V),Charge_Capacity(Ah),"
    "Discharge_Capacity(Ah)\n"
    + "".join(f"{k},{60 * k},{44329.95 + k / 1440:.8f},{60 * k},0.001,3.7,{k / 6e4:.8f},0\n" for k in range(61)),
    "maccor.txt": "Today's Date\t05/13/2021\nFilename:\tx\n"
    "Rec#\tCyc#\tStep\tTestTime\tStepTime\tAmp-hr\tAmps\tVolts\tState\n"
    + "".join(
        f"{k}\t0\t1\t  0d {k // 60:02d}:{k % 60:02d}:00.00\t0d 00:00:00\t{k / 6e4:.8f}\t0.001\t3.7\tC\n"
        for k in range(61)
    ),
    "landt.txt": "Record\tTestTime/Sec.\tStepTime/Sec.\tVoltage/V\tCurrent/mA\tCapacity/mAh\tSCapacity/mAh/g\tState\n"
    + "".join(f"{k}\t{60 * k}\t{60 * k}\t3.7\t1\t{k / 60:.6f}\t{k}\tC_CC\n" for k in range(61)),
    "cell.bdf": "test_time_second,voltage_volt,current_ampere\n" + "".join(f"{60 * k},3.7,0.001\n" for k in range(61)),
}


@pytest.mark.parametrize("name", FILES)
def test_instruments_without_a_word_of_configuration(tmp_path, name):
    found = read_log(write(tmp_path, FILES[name], name, "latin-1"))
    assert (found.time_s[0], found.time_s[-1], len(found.time_s)) == (0, HOUR, 61)
    assert found.charge_C[-1] == pytest.approx(3.6, rel=1e-6)
    assert found.voltage_V[0] == pytest.approx(3.7)
    if name in ("cell.mpt", "cell.DTA"):
        assert found.start == dt.datetime(2021, 5, 13, 23)


def test_pipes_and_devices_are_refused_at_once(tmp_path):
    os.mkfifo(tmp_path / "log.csv")
    for file in (tmp_path / "log.csv", Path("/dev/zero")):
        with pytest.raises(ValueError, match="read again and again"):
            read_text(file)


def test_what_unpacks_without_end_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("xct_pipeline.electrochemistry.table.MOST_BYTES", 2**16)
    (tmp_path / "log.csv.gz").write_bytes(gzip.compress(bytes(2**20)))
    with pytest.raises(ValueError, match="unpacks to more than"):
        read_text(tmp_path / "log.csv.gz")
