"""More examples of every kind of log, as other instruments, languages and programs write them."""

from __future__ import annotations

import datetime as dt
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from logs import table, write

from xct_pipeline.electrochemistry.log import read_log
from xct_pipeline.electrochemistry.scans import span_of

HOUR = 3600
START = dt.datetime(2026, 5, 3, 22, 0)
BERLIN = ZoneInfo("Europe/Berlin")


WRITTEN = (
    "%d.%m.%y %H:%M",
    "%d.%m.%Y, %H:%M:%S",
    "%Y.%m.%d %H:%M:%S",
    "%d-%m-%Y %H:%M:%S",
    "%d-%b-%y %H:%M:%S",
    "%b %d, %Y %I:%M:%S %p",
    "%a %b %d %H:%M:%S %Y",
    "%A, %d %B %Y %H:%M:%S",
    "%Y%m%d %H%M%S",
    "%Y%m%dT%H%M%S",
    "%Y%m%d%H%M%S",
    "%d/%m/%Y %H.%M.%S",
    "%H:%M:%S %d.%m.%Y",
    "%d.%m.%Y %H:%M:%S Uhr",
    "%Y年%m月%d日 %H:%M:%S",
    "%Y-%m-%dT%H:%M:%SZ",
    "%Y-%m-%d %H:%M:%S CEST",
    "%Y-%m-%d %H:%M:%S+0200",
)


@pytest.mark.parametrize("pattern", WRITTEN)
def test_dates_as_programs_write_them(tmp_path, pattern):
    rows = [(f"{START + dt.timedelta(minutes=15 * k):{pattern}}", k / 10) for k in range(40)]
    found = read_log(write(tmp_path, table(("Date", "Q (mAh)"), rows)), absolute_time="Date", charge="Q (mAh)")
    away = dt.timedelta(hours=2 if pattern.endswith(("CEST", "+0200")) else 0)
    assert found.start.replace(tzinfo=None) == START - away
    assert (found.start.tzinfo is not None) == pattern.endswith(("Z", "CEST", "+0200"))
    np.testing.assert_allclose(found.time_s, 900 * np.arange(40), atol=1e-3)


@pytest.mark.parametrize("zone", ["CST", "IST", "XYZ"])
def test_zones_that_mean_several_are_refused(tmp_path, zone):
    path = write(tmp_path, table(("Date", "Q (mAh)"), [(f"2026-05-03 22:0{k}:00 {zone}", k) for k in range(9)]))
    with pytest.raises(ValueError, match=rf"names the zone '{zone}'.* set time_zone"):
        read_log(path, absolute_time="Date", charge="Q (mAh)")


NUMBERS = {
    "days since 1899-12-30": (86400, 25569 * 86400),
    "days since 1904-01-01": (86400, 24107 * 86400),
    "days since year 0 (datenum)": (86400, 719529 * 86400),
    "modified Julian days": (86400, 40587 * 86400),
    "Julian days": (86400, 2440587.5 * 86400),
    "s since 1970": (1, 0),
    "ms since 1970": (1e-3, 0),
    "us since 1970": (1e-6, 0),
    "ns since 1970": (1e-9, 0),
    "s since 1904": (1, 2082844800),
    "100 ns since 1601": (1e-7, 11644473600),
}


@settings(max_examples=40, deadline=None)
@given(
    count=st.sampled_from(sorted(NUMBERS)),
    start=st.datetimes(dt.datetime(2005, 1, 1), dt.datetime(2035, 1, 1), timezones=st.just(dt.UTC)),
    known=st.booleans(),
)
def test_moments_as_numbers_of_every_kind(tmp_path_factory, count, start, known):
    seconds = start.timestamp() + 600 * np.arange(9)
    size, zero = NUMBERS[count]
    rows = [(f"{value:.9f}", k) for k, value in enumerate((seconds + zero) / size)]
    path = write(tmp_path_factory.mktemp("n"), table(("Date", "Q (mAh)"), rows))
    middle = start + dt.timedelta(seconds=2400)
    scans = span_of([middle], [middle]) if known else None
    found = read_log(path, absolute_time="Date", charge="Q (mAh)", scans=scans)
    right = abs((found.start.replace(tzinfo=dt.UTC) - start).total_seconds()) < 1e-3
    np.testing.assert_allclose(found.time_s, 600 * np.arange(9), atol=2e-3)
    # 1900 and 1904 differ by four years: without scans both are shown, and either can be chosen
    assert right or (not known and any(f"date_format = {count!r}" in note for note in found.notes))
    assert any(" was taken as " in note for note in found.notes)
    chosen = read_log(path, absolute_time="Date", charge="Q (mAh)", date_format=count)
    assert abs((chosen.start.replace(tzinfo=dt.UTC) - start).total_seconds()) < 1e-3


@settings(max_examples=40, deadline=None)
@given(
    autumn=st.booleans(),
    year=st.integers(2015, 2035),
    minutes=st.sampled_from([1, 5, 10, 30, 60, 120]),
    before=st.integers(2, 20),
)
def test_logs_over_a_change_of_clocks(tmp_path_factory, autumn, year, minutes, before):
    last = dt.datetime(year, 10 if autumn else 3, 31, 1, tzinfo=dt.UTC)
    change = last - dt.timedelta(days=(last.weekday() - 6) % 7)
    start = change - dt.timedelta(minutes=minutes * before)
    moments = [start + dt.timedelta(minutes=minutes * k) for k in range(before + 20)]
    local = [(f"{m.astimezone(BERLIN):%Y-%m-%dT%H:%M:%S}", k) for k, m in enumerate(moments)]
    path = write(tmp_path_factory.mktemp("clocks"), table(("Date", "Q (mAh)"), local))
    with pytest.raises(ValueError, match=r"as clocks do where summer time (begins|ends): set time_zone"):
        read_log(path, absolute_time="Date", charge="Q (mAh)")
    found = read_log(path, absolute_time="Date", charge="Q (mAh)", time_zone="Europe/Berlin")
    assert found.start == start
    np.testing.assert_allclose(found.time_s, 60 * minutes * np.arange(before + 20))


@pytest.mark.parametrize(
    ("cells", "seconds"),
    [
        (("0", "1\u202f800,5", "3\u202f600,5"), (0, 1800.5, 3600.5)),
        (("0", "1\u00a0800.5", "3\u00a0600.5"), (0, 1800.5, 3600.5)),
        (("0", "1’800.5", "3’600.5"), (0, 1800.5, 3600.5)),
        (("0", "1,8005E+03", "3,6005E+03"), (0, 1800.5, 3600.5)),
        (("−1", "1800.5", "3600.5"), (-1, 1800.5, 3600.5)),
        (("0", "1.234.567", "2.345.678"), (0, 1234567, 2345678)),
        (("0,000", "1,800", "3,600"), (0, 1.8, 3.6)),
        (("0 days 00:00:00", "0 days 12:00:00", "1 days 06:00:00"), (0, 43200, 108000)),
        (("0:00:00", "12:00:00", "1.06:00:00"), (0, 43200, 108000)),
        (("00:00:00:00", "00:12:00:00", "01:06:00:00"), (0, 43200, 108000)),
    ],
)
def test_numbers_and_clock_times_as_programs_write_them(tmp_path, cells, seconds):
    path = write(tmp_path, table(("Test Time (s)", "Q (mAh)"), [(cell, k) for k, cell in enumerate(cells)]))
    np.testing.assert_allclose(read_log(path, time="Test Time (s)", charge="Q (mAh)").time_s, seconds)


REFUSED = {
    "dots beside whole numbers": ("t_s\tQ_mAh\n0\t0\n1.800\t1\n3.600\t2\n", r"reads as 1\.800 or as 1800; set decimal"),
    "bare decimal commas": ("t_s,Q_mAh\n0,5,0,0\n1800,5,0,5\n", "4 cells below 2 names: commas stand both"),
    "infinite": ("t_s,Q_mAh\n0,0\n1800,inf\n3600,1\n", "'inf' in column 'Q_mAh', data row 2, is no number"),
    "summary": ("t_s,Q_mAh\n0,0\n3600,1\nTotal,1\n", "'Total' in column 't_s', data row 3, is no number"),
    "reversed": ("t_s,Q_mAh\n60,1\n0,0\n", "time runs backwards at data row 2"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_cannot_be_read_is_refused_in_one_line(tmp_path, kind):
    text, message = REFUSED[kind]
    with pytest.raises(ValueError, match=message) as refused:
        read_log(write(tmp_path, text), time="t_s", charge="Q_mAh")
    assert "\n" not in str(refused.value)


WORDS = {
    "German": ("Laden", "Ruhe", "Entladen"),
    "French": ("Charge", "Repos", "Décharge"),
    "Neware": ("CCCV Chg", "Rest", "CC DChg"),
    "new Neware": ("恒流充电", "静置", "恒流放电"),
    "Arbin": ("CC_Charge", "Rest", "CC_Discharge"),
    "Digatron": ("CHA", "PAU", "DCH"),
    "Maccor": ("C", "S", "D"),
    "signs": ("+", "0", "-"),
    "Dutch": ("Laden", "Rust", "Ontladen"),
    "Swedish": ("Laddning", "Vila", "Urladdning"),
    "Polish": ("Ładowanie", "Pauza", "Rozładowanie"),
    "Russian": ("Заряд", "Пауза", "Разряд"),
    "Japanese": ("充電", "休止", "放電"),
    "Korean": ("충전", "휴지", "방전"),
    "words": ("Constant Current Charge", "Step Rest", "Constant Current Discharge"),
    "unknown": ("Foo", "Bar", "Baz"),
    "numbers": ("1", "0", "2"),
    "ions": ("Sodiation", "Pause", "Desodiation"),
}


@settings(max_examples=40, deadline=None)
@given(
    language=st.sampled_from(sorted(WORDS)),
    steps=st.lists(st.tuples(st.sampled_from([0.5, 1]), st.sampled_from([1, -1, 0])), max_size=4),
    counted=st.booleans(),
)
def test_states_in_other_words_are_understood_or_refused(tmp_path_factory, language, steps, counted):
    words = dict(zip((1, 0, -1), WORDS[language], strict=True))
    rows, net, begin = [], 0.0, 0.0
    truth = []
    for hours, way in [(1, 1), (1, -1), *steps]:
        for s in np.arange(0, hours * HOUR + 1, 60):
            value = f"{abs(way) * s / HOUR:.9f}" if counted else abs(way)
            rows.append((f"{begin + s:g}", words[way], value))
            truth.append(3.6 * (net + way * s / HOUR))
        begin, net = begin + hours * HOUR, net + way * hours
    name = "Capacity (mAh)" if counted else "Current (mA)"
    path = write(tmp_path_factory.mktemp("words"), table(("Test Time (s)", "Step Type", name), rows))
    if language in ("unknown", "numbers", "ions"):
        with pytest.raises(ValueError, match=r"falls back to zero|neither charge, discharge nor rest"):
            read_log(path)
    else:
        np.testing.assert_allclose(read_log(path).charge_C, truth, atol=0.02)


def test_unknown_states_can_be_left_aside(tmp_path):
    rows = [(60 * k, "A" if k < 30 else "B", 1) for k in range(61)]
    path = write(tmp_path, table(("Test Time (s)", "Step Type", "Current (mA)"), rows))
    with pytest.raises(ValueError, match="set state = 'none' if all of it goes one way"):
        read_log(path)
    assert read_log(path, state="none").charge_C[-1] == pytest.approx(3.6)


@settings(max_examples=30, deadline=None)
@given(fast=st.integers(20, 80), slow=st.integers(8, 40), step=st.sampled_from([60, 600]), pause=st.booleans())
def test_a_slower_rate_is_no_gap_and_a_pause_is_one(tmp_path_factory, fast, slow, step, pause):
    a = np.arange(fast) + 0.0
    b = a[-1] + step * np.arange(1, slow + 1)
    c = b[-1] + (100 * step if pause else 1) + np.arange(fast)
    time_s = np.concatenate([a, b, c])
    path = write(tmp_path_factory.mktemp("gaps"), table(("time_s", "I (mA)"), [(f"{t:g}", 10) for t in time_s]))
    found = read_log(path)
    assert len(found.gaps_s) == pause
    assert found.charge_C[-1] == pytest.approx(0.01 * (time_s[-1] - 100 * step * pause))


@pytest.mark.parametrize("encoding", ["utf-8", "gb18030", "utf-16", "utf-32"])
def test_chinese_names(tmp_path, encoding):
    text = "测试时间/Sec\t电流/mA\t电压/V\n" + "".join(f"{60 * k}\t1\t3.7\n" for k in range(61))
    found = read_log(write(tmp_path, text, encoding=encoding))
    assert (found.charge_C[-1], found.voltage_V[0]) == (pytest.approx(3.6), 3.7)
