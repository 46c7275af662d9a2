"""Dates and times apart, directions in any column, moments under the name of times, workbooks, and how files end."""

from __future__ import annotations

import datetime as dt
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from logs import table, write

from xct_pipeline.electrochemistry.log import read_log
from xct_pipeline.electrochemistry.scans import span_of
from xct_pipeline.electrochemistry.steps.log import times_on_log
from xct_pipeline.scan import NO_DATE

HOUR = 3600
STARTS = st.datetimes(dt.datetime(2020, 1, 1), dt.datetime(2029, 12, 1)).map(
    lambda t: t.replace(second=0, microsecond=0)
)


@settings(max_examples=40, deadline=None)
@given(
    start=STARTS,
    minutes=st.sampled_from([1, 7, 30, 90, 300]),
    rows=st.integers(30, 90),
    day=st.sampled_from(["%d.%m.%Y", "%Y-%m-%d", "%d-%b-%Y", "%Y%m%d"]),
    time=st.sampled_from(["%H:%M:%S", "%H:%M", "%I:%M:%S %p", "%I:%M %p"]),
    names=st.sampled_from([("Date", "Time"), ("Datum", "Zeit")]),
)
@example(dt.datetime(2020, 1, 1), 1, 30, "%d.%m.%Y", "%H:%M", ("Date", "Time"))
def test_days_and_times_of_day_apart(tmp_path_factory, start, minutes, rows, day, time, names):
    moments = [start + dt.timedelta(minutes=minutes * k) for k in range(rows)]
    cells = [(f"{m:{day}}", f"{m:{time}}", k) for k, m in enumerate(moments)]
    path = write(tmp_path_factory.mktemp("apart"), table((*names, "Q (mAh)"), cells))
    if time == "%H:%M" and start.hour == start.minute == 0 and moments[-1].date() == start.date():
        # a time from the start, as far as one can tell, and so perhaps of minutes and seconds
        with pytest.raises(ValueError, match="set date_format"):
            read_log(path)
        return
    found = read_log(path)
    np.testing.assert_allclose(found.time_s, 60 * minutes * np.arange(rows))
    # midnight alone says nothing: a time that runs from the start begins with it too
    assert found.start == start or (start.hour == start.minute == 0 and found.start is None)
    elapsed = [(*cell[:2], 60 * minutes * k, k) for k, cell in enumerate(cells)]
    path = write(tmp_path_factory.mktemp("elapsed"), table((*names, "Test Time (s)", "Q (mAh)"), elapsed))
    both = read_log(path)
    assert both.start == found.start
    np.testing.assert_allclose(both.time_s, found.time_s)


@pytest.mark.parametrize("unit", [" (s)", ""])
def test_days_beside_a_time_from_the_start_say_no_start(tmp_path, unit):
    begin = dt.datetime(2026, 5, 3, 22)
    rows = []
    for k in range(30):
        elapsed = f"{600 * k}" if unit else f"{600 * k // HOUR}:{600 * k % HOUR // 60:02d}:00"
        rows.append((f"{begin + dt.timedelta(seconds=600 * k):%Y-%m-%d}", elapsed, k))
    path = write(tmp_path, table(("Date", f"Time{unit}", "Q (mAh)"), rows))
    found = read_log(path)
    assert found.start is None
    assert found.time_s[-1] == 17400
    assert any("the start of the log is not known" in note for note in found.notes)
    with pytest.raises(ValueError, match=r"days without a time of day.* set time = 'Time.*, and offset_s"):
        read_log(path, scans=span_of([begin], [begin]))
    assert read_log(path, time=f"Time{unit}", scans=span_of([begin], [begin])).start is None
    with pytest.raises(ValueError, match="holds days without a time of day, many rows on each"):
        read_log(path, absolute_time="Date", charge="Q (mAh)")


@pytest.mark.parametrize(
    ("cells", "date_format", "seconds"),
    [
        (("0:30", "1:00", "1:30"), "%H:%M", 3600),
        (("0:30", "1:00", "1:30"), "%M:%S", 60),
        (("0:30.0", "1:00.0", "1:30.5"), None, 60.5),
        (("11:30 PM", "0:00 AM", "0:30 AM"), None, 3600),
        (("11:30:00 PM", "12:00:00 AM", "12:30:00 AM"), None, 3600),
    ],
)
def test_two_numbers_with_a_colon(tmp_path, cells, date_format, seconds):
    path = write(tmp_path, table(("Test Time", "Q (mAh)"), [(cell, k) for k, cell in enumerate(cells)]))
    if date_format:
        with pytest.raises(ValueError, match=r"'0:30', which is hours and minutes \(3600 s in all\) or .*'%M:%S'"):
            read_log(path)
    found = read_log(path, date_format=date_format)
    assert found.time_s[-1] - found.time_s[0] == seconds


@settings(max_examples=30, deadline=None)
@given(
    name=st.sampled_from(["Step Name", "Mode", "Direction", "Command", "Step", "Schritt", "Programme"]),
    words=st.sampled_from(
        [
            ("CC Charge", "Rest", "CC Discharge"),
            ("C_CC", "R", "D_CC"),
            ("Laden", "Ruhe", "Entladen"),
            ("Charge", "Repos", "Décharge"),
            ("CHG", "REST", "DCHG"),
            ("+1", "0", "-1"),
        ]
    ),
    steps=st.lists(st.sampled_from([1, -1, 0]), max_size=4),
    counted=st.sampled_from(["current", "capacity", "both"]),
)
def test_the_direction_stands_in_a_column_of_any_name(tmp_path_factory, name, words, steps, counted):
    name = "State" if words[0] == "+1" else name
    rows, truth, net = [], [], 0.0
    for number, way in enumerate([1, -1, *steps]):
        for s in range(0, HOUR + 1, 60):
            cells = {"current": abs(way), "capacity": f"{abs(way) * s / HOUR:.6f}"}
            kept = cells.values() if counted == "both" else [cells[counted]]
            rows.append((HOUR * number + s, dict(zip((1, 0, -1), words, strict=True))[way], *kept))
            truth.append(net + 3.6 * way * s / HOUR)
        net += 3.6 * way
    head = {"current": ["I (mA)"], "capacity": ["Capacity (mAh)"], "both": ["I (mA)", "Capacity (mAh)"]}[counted]
    found = read_log(write(tmp_path_factory.mktemp("any"), table(("Test Time (s)", name, *head), rows)))
    np.testing.assert_allclose(found.charge_C, truth, atol=0.07)


@settings(max_examples=30, deadline=None)
@given(
    start=st.datetimes(dt.datetime(1995, 1, 1), dt.datetime(2050, 1, 1), timezones=st.just(dt.UTC)),
    name=st.sampled_from(["time_s", "Time (ms)", "time/s", "Test Time (s)", "t (min)"]),
)
def test_times_that_count_since_1970(tmp_path_factory, start, name):
    size = {"Time (ms)": 1e-3, "t (min)": 60.0}.get(name, 1.0)
    rows = [(f"{(start.timestamp() + 600 * k) / size:.5f}", k) for k in range(9)]
    found = read_log(write(tmp_path_factory.mktemp("epoch"), table((name, "Q (mAh)"), rows)), time=name)
    assert abs((found.start - start).total_seconds()) < 1e-2
    np.testing.assert_allclose(found.time_s, 600 * np.arange(9), atol=1e-2)
    assert any("was taken as s since 1970" in note for note in found.notes)


def test_a_time_that_begins_again_beside_dates_gives_way_to_them(tmp_path):
    rows = [(f"0:{k % 20:02d}:00.000", f"2026-05-03 {22 + k // 60}:{k % 60:02d}:00", k) for k in range(100)]
    path = write(tmp_path, table(("Time(h:min:s.ms)", "Date(h:min:s.ms)", "Q (mAh)"), rows))
    found = read_log(path)
    np.testing.assert_allclose(found.time_s, 60 * np.arange(100))
    assert any("begins again" in note for note in found.notes)
    with pytest.raises(ValueError, match="time runs backwards at data row 21"):
        read_log(path, time="Time(h:min:s.ms)", charge="Q (mAh)")


# Workbooks ------------------------------------------------------------------------------------------------------


def book(folder, rows, names=("Date", "Current (mA)")):
    pytest.importorskip("openpyxl")
    path = folder / "log.xlsx"
    pd.DataFrame([names, *rows], dtype=object).to_excel(path, index=False, header=False)
    return path


@settings(max_examples=25, deadline=None)
@given(start=STARTS, minutes=st.sampled_from([30, 120]), exchanged=st.booleans())
def test_days_that_a_spreadsheet_took_for_months(tmp_path_factory, start, minutes, exchanged):
    moments = [start + dt.timedelta(minutes=minutes * k) for k in range(60)]
    cells = [
        (m if not exchanged else m.replace(day=m.month, month=m.day) if m.day <= 12 else f"{m:%d/%m/%Y %H:%M:%S}", 1)
        for m in moments
    ]
    path = book(tmp_path_factory.mktemp("book"), cells)
    same = all(m.day == m.month for m in moments)
    try:
        found = read_log(path)
    except ValueError as error:
        refused = str(error)
        assert exchanged
        assert "date_format" in refused
        assert "\n" not in refused
        if "days and months exchanged" in refused:
            found = read_log(path, date_format="days and months exchanged")
            assert (found.start, found.time_s[-1]) == (start, 59 * 60 * minutes)
        return
    # text alone is read by its own rules, and a single day can be exchanged unseen
    if not exchanged or same or all(isinstance(cell, str) for cell, _ in cells):
        assert (found.start, found.time_s[-1]) == (start, 59 * 60 * minutes)
    else:
        assert len({m.date() for m in moments}) == 1


def test_units_below_the_names_of_a_workbook(tmp_path):
    rows = [("s", "mA", "V"), *((60.0 * k, 1.0, 3.7) for k in range(61))]
    found = read_log(book(tmp_path, rows, ("Time", "Current", "Voltage")))
    assert (found.charge_C[-1], found.voltage_V[0]) == (pytest.approx(3.6), 3.7)


# How files begin and end ----------------------------------------------------------------------------------------

ROWS = [(f"{60 * k:.2f}", f"{-1 - k / 50:.4f}", f"{3.7 + k / 1000:.4f}") for k in range(61)]
WHOLE = table(("Time (s)", "I (mA)", "U (V)"), ROWS, ";")


@settings(max_examples=40, deadline=None)
@given(lost=st.integers(1, 24), end=st.sampled_from(["\n", "\r\n"]))
def test_a_line_that_was_cut_short_is_left_out(tmp_path_factory, lost, end):
    path = write(tmp_path_factory.mktemp("cut"), WHOLE.replace("\n", end)[:-lost])
    complete = lost <= len(end)
    found = read_log(path)
    rows = 61 if complete else 60
    np.testing.assert_allclose(found.time_s, 60 * np.arange(rows))
    np.testing.assert_allclose(found.current_A, [1e-3 * float(row[1]) for row in ROWS[:rows]])
    said = any("cut short" in note for note in found.notes)
    assert said != (complete or lost >= len(ROWS[-1][0]) + 15 + len(end))


@settings(max_examples=25, deadline=None)
@given(places=st.lists(st.integers(1, 60), min_size=1, max_size=3, unique=True), units=st.booleans())
def test_names_that_stand_again_among_the_rows(tmp_path_factory, places, units):
    names, *rows = WHOLE.splitlines()
    head = ["Time;I;U", "s;mA;V"] if units else [names]
    lines = [line for k, row in enumerate(rows) for line in ([*head, row] if k in (0, *places) else [row])]
    found = read_log(write(tmp_path_factory.mktemp("again"), "\n".join(lines) + "\n"))
    np.testing.assert_allclose(found.time_s, 60 * np.arange(61))
    assert any("names that stand again in" in note for note in found.notes)


@pytest.mark.parametrize("mark", ["#", "%", "//", "%%"])
def test_comments_of_other_programs(tmp_path, mark):
    lines = WHOLE.splitlines()
    text = "\n".join(
        [f"{mark} a logger of our own", f"{mark} {lines[0]}", *lines[1:20], f"{mark} touched", *lines[20:]]
    )
    found = read_log(write(tmp_path, text + "\n"))
    np.testing.assert_allclose(found.time_s, 60 * np.arange(61))


def test_a_time_that_jitters_is_held_and_told(tmp_path):
    rows = [(f"{60 * k - (0.002 if k in (20, 40) else 0):.3f}", 1) for k in range(61)]
    rows[19] = (rows[20][0].replace("1199.998", "1200.000"), 1)
    found = read_log(write(tmp_path, table(("Time (s)", "I (mA)"), rows)))
    assert np.all(np.diff(found.time_s) >= 0)
    assert any("steps back by up to 0.002 s in 1 row" in note for note in found.notes)


@pytest.mark.parametrize(
    "names",
    [
        ("t/h", "I/A", "E/V"),
        ("t [h]", "I [A]", "E [V]"),
        ("Programmdauer/h", "Strom/A", "Spannung/V"),
        ("Testzeit (h)", "Strom (A)", "Spannung (V)"),
    ],
)
def test_short_and_german_names(tmp_path, names):
    rows = [(f"{k / 60:.6f}", "0.001", "3.7") for k in range(61)]
    found = read_log(write(tmp_path, table(names, rows)))
    assert (found.charge_C[-1], found.voltage_V[0]) == (pytest.approx(3.6), 3.7)


@pytest.mark.parametrize("word", ["Set", "Setpoint", "Limit", "Range", "Cut-off", "Max", "Target", "Sollwert"])
@pytest.mark.parametrize("behind", [True, False])
def test_what_was_set_or_allowed_is_not_what_was_measured(tmp_path, word, behind):
    names = [f"{n} {word}" if behind else f"{word} {n}" for n in ("Current", "Voltage", "Time", "Capacity")]
    units = [f"{name} ({unit})" for name, unit in zip(names, ("mA", "V", "s", "mAh"), strict=True)]
    rows = [(5, 4.2, 9999, 100 + k, 60 * k, 1, 3.7) for k in range(61)]
    measured = ("Test Time (s)", "Measured Current (mA)" if behind else "Current (mA)", "Cell Voltage (V)")
    found = read_log(write(tmp_path, table((*units, *measured), rows)))
    assert (found.time_s[-1], found.charge_C[-1], found.voltage_V[0]) == (HOUR, pytest.approx(3.6), 3.7)


def test_words_below_a_table_are_left_out_and_told(tmp_path):
    found = read_log(write(tmp_path, WHOLE + "\nEnd of file\n61 rows: see the head\n"))
    assert len(found.time_s) == 61
    assert any("left out below the table: 'End of file', '61 rows" in note for note in found.notes)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "utf-16-le"])
def test_zeros_behind_a_file(tmp_path, encoding):
    path = tmp_path / "log.csv"
    path.write_bytes(WHOLE.encode(encoding) + bytes(512))
    assert len(read_log(path).time_s) == 61


@settings(max_examples=25, deadline=None)
@given(
    head=st.lists(
        st.sampled_from(["Start;Value\n1;2", "Cell;A", "# note", "Area (cm2);1,5", "a;b;c\n1;2;3", "Operator: x, y"]),
        max_size=25,
    ),
    units=st.booleans(),
)
def test_small_tables_above_the_names(tmp_path_factory, head, units):
    names = ("Prog Time", "Strom", "Spannung") if units else ("Zeit (s)", "Strom (mA)", "Spannung (V)")
    rows = [tuple(cell.replace(".", ",") for cell in row) for row in ROWS]
    body = table(names, [("s", "mA", "V"), *rows] if units else rows, ";")
    found = read_log(write(tmp_path_factory.mktemp("head"), "\n".join([*head, body])))
    assert (len(found.time_s), found.voltage_V[0]) == (61, 3.7)
    assert found.time_s[-1] == 3600


def test_scans_and_log_in_seconds_since_1970(tmp_path):
    begin = 1_714_773_600.0
    record = read_log(write(tmp_path, table(("time_s", "Q (mAh)"), [(begin + 600 * k, k) for k in range(9)])))
    settings_ = SimpleNamespace(offset_s=0.0, time_zone=None)
    scans = [SimpleNamespace(start=NO_DATE + dt.timedelta(seconds=begin + t), end=None) for t in (600, 1800)]
    times = times_on_log(SimpleNamespace(electrochemistry=settings_), record, ["a", "b"], scans)
    np.testing.assert_allclose(times.time_s, [600, 1800])


@pytest.mark.parametrize("name", ["ox/red", "Ox/Red", "oxidation / reduction"])
def test_flags_of_oxidation_tell_the_direction(tmp_path, name):
    rows = [(10 * k, 1.0, int(k < 60)) for k in range(121)]
    log = read_log(write(tmp_path, table(("time/s", "current/mA", name), rows)))
    assert log.charge_C.max() == pytest.approx(0.595, abs=0.006)
    assert log.charge_C[-1] == pytest.approx(log.charge_C.max() - 0.605, abs=0.012)
    assert any(name in note for note in log.notes)
