"""Every refusal of the reader of logs says what to do, and names the key that decides where one does."""

from __future__ import annotations

import ast
import datetime as dt
import re
from pathlib import Path

import pandas as pd
import pytest
from logs import table, write

from xct_pipeline import electrochemistry
from xct_pipeline.config.electrochemistry import Electrochemistry
from xct_pipeline.electrochemistry.log import read_log
from xct_pipeline.electrochemistry.scans import span_of

MODULES = ("aligned", "charge", "clock", "dates", "decimals", "log", "moments", "readers", "scans", "states", "table")
MODULES += ("units", "zones")
WHAT_TO_DO = re.compile(r"\b(set|name|write|export|correct|check|copy|save|pip install)\b")


def refusals(module):
    """Yield place and literal text of every refusal that a module makes; NO_TABLE stands for what it says."""
    path = Path(electrochemistry.__file__).parent / f"{module}.py"
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if (isinstance(node, ast.Call) and "ValueError" in (name := ast.unparse(node.func))) or (
            isinstance(node, ast.Call) and name.endswith(".refuse")
        ):
            parts = list(ast.walk(node))
            texts = [part.value for part in parts if isinstance(part, ast.Constant) and isinstance(part.value, str)]
            texts += ["write" for part in parts if isinstance(part, ast.Name) and part.id == "NO_TABLE"]
            yield f"{path.name}:{node.lineno}", " ".join(texts)


@pytest.mark.parametrize("module", MODULES)
def test_every_refusal_says_what_to_do(module):
    silent = [(where, text) for where, text in refusals(module) if not WHAT_TO_DO.search(text)]
    # what a column is said to be comes from where it is said
    assert [text for _, text in silent if text.strip() != ": column"] == []


DATES = ("Date", "Q (mAh)")


def dated(pattern, rows=20, start=dt.datetime(2026, 5, 3, 22), minutes=5):
    return [(f"{start + dt.timedelta(minutes=minutes * k):{pattern}}", k) for k in range(rows)]


def steps(codes):
    return [(60 * k, codes[k // 30], 1) for k in range(60)]


KINDS = {
    "no time": (table(("a", "Q (mAh)"), [(k, k) for k in range(9)]), {}, "time"),
    "no charge": (table(("time_s", "b"), [(k, k) for k in range(9)]), {}, "charge current"),
    "unknown column": (table(("time_s", "Q_mAh"), [(k, k) for k in range(9)]), {"time": "tim_s"}, ""),
    "day or month": (table(DATES, dated("%d/%m/%Y %H:%M", 9)), {}, "date_format"),
    "no date": (table(DATES, [("soon", 1), ("later", 2)]), {"absolute_time": "Date"}, "date_format"),
    "pattern": (
        table(DATES, dated("%Y-%m-%d %H:%M")),
        {"absolute_time": "Date", "date_format": "%d/%m/%Y"},
        "date_format",
    ),
    "numbers for dates": (table(DATES, [(7, 1), (8, 2)]), {"absolute_time": "Date"}, "time"),
    "empty dates": (table(DATES, [("", 1), ("", 2)]), {"absolute_time": "Date"}, "absolute_time time"),
    "days alone": (table(DATES, dated("%Y-%m-%d")), {"absolute_time": "Date"}, "time"),
    "zone": (table(DATES, [(f"2026-05-03 22:0{k}:00 IST", k) for k in range(9)]), {}, "time_zone"),
    "zone in some rows": (
        table(DATES, [(f"2026-05-03T22:0{k}:00{'Z' if k % 2 else ''}", k) for k in range(9)]),
        {"absolute_time": "Date"},
        "time_zone",
    ),
    "summer time": (
        table(DATES, [(f"2026-10-25T0{h}:{m:02d}:00", h) for h in (1, 2, 2, 3) for m in (0, 30)]),
        {"absolute_time": "Date"},
        "time_zone",
    ),
    "two numbers": (table(("Test Time", "Q (mAh)"), [(f"0:{k:02d}", k) for k in range(9)]), {}, "date_format"),
    "no clock": (table(("Test Time", "Q (mAh)"), [("0:00:00", 1), ("x:00:01", 2)]), {}, "time"),
    "text for time": (table(("Test Time", "Q (mAh)"), [("begin", 1), ("end", 2)]), {"time": "Test Time"}, "time"),
    "decimal": (table(("time_s", "Q (mAh)"), [("1,125", 1), ("1,375", 2)]), {}, "decimal"),
    "two decimal signs": (table(("time_s", "Q (mAh)"), [("1,5", "1.25"), ("2,5", "2.5")]), {}, "decimal"),
    "no number": (table(("time_s", "Q (mAh)"), [("1", "OVER"), ("2", "2.5"), ("3", "4")]), {}, ""),
    "no unit": (table(("time_s", "Q"), [(k, k) for k in range(9)]), {"charge": "Q"}, "units"),
    "other unit": (table(("time_s", "Q (lux)"), [(k, k) for k in range(9)]), {"charge": "Q (lux)"}, "units"),
    "backwards": (table(("time_s", "Q_mAh"), [(k % 5, k) for k in range(9)]), {}, "time absolute_time"),
    "never together": (
        table(("time_s", "Q_mAh"), [(k if k % 2 else "", "" if k % 2 else k) for k in range(9)]),
        {},
        "time charge current",
    ),
    "words": (table(("time_s", "State", "I_mA"), steps("AB")), {}, "state states"),
    "words that are named": (table(("time_s", "Word", "I_mA"), steps("AB")), {"state": "Word"}, "state states"),
    "numbers for states": (table(("time_s", "State", "I_mA"), steps("12")), {}, "state states"),
    "charge begins again": (table(("time_s", "Q_mAh"), [(k, k % 30) for k in range(60)]), {}, "state charge current"),
    "jumps": (table(("time_s", "I_mA"), [(0, 10), (1800, 10), (3600, 0), (7200, 0)]), {}, "between_rows charge"),
    "names twice": (table(("time_s", "Q_mAh", "Q_mAh"), [(k, k, 2 * k) for k in range(9)]), {}, ""),
    "decimal commas between commas": ("t_s,Q_mAh\n0,5,0,0\n1800,5,0,5\n", {}, ""),
    "no table": ("nothing here", {}, ""),
    "EC-Lab without names": ("EC-Lab ASCII FILE\nNb header lines : 9\n", {}, ""),
    "Gamry without a curve": ("EXPLAIN\nTAG\tEISPOT\n", {}, ""),
    "sign": (table(("time_s", "Q_mAh"), [(k, k) for k in range(9)]), {"charge_sign": 2}, "charge_sign"),
}


def refused(path, **keys):
    with pytest.raises(ValueError, match=WHAT_TO_DO) as found:
        read_log(path, **keys)
    assert "\n" not in str(found.value)
    return str(found.value)


@pytest.mark.parametrize("kind", KINDS)
def test_refusals_name_the_key_that_decides(tmp_path, kind):
    text, keys, named = KINDS[kind]
    said = refused(write(tmp_path, text), **keys)
    for key in named.split():
        assert re.search(rf"\b{key}\b", said), said
        assert key in Electrochemistry.model_fields


@pytest.mark.parametrize("way", ["year first", "days and months exchanged"])
def test_dates_of_a_workbook_of_which_some_are_text(tmp_path, way):
    pytest.importorskip("openpyxl")
    moments = [dt.datetime(2026, 5, 11, 12) + dt.timedelta(hours=2 * k) for k in range(40)]
    swapped = [m.replace(day=m.month, month=m.day) if m.day <= 12 else m for m in moments]
    as_dates = moments if way == "year first" else swapped
    cells = [(d if m.day <= 12 else f"{m:%d/%m/%Y %H:%M:%S}", 1) for m, d in zip(moments, as_dates, strict=True)]
    path = tmp_path / "log.xlsx"
    pd.DataFrame([("Date", "Current (mA)"), *cells], dtype=object).to_excel(path, index=False, header=False)
    said = refused(path)
    assert all(f"(date_format = {name!r})" in said for name in ("year first", "days and months exchanged"))
    found = read_log(path, date_format=way)
    assert (found.start, found.time_s[-1]) == (moments[0], 39 * 7200)
    middle = moments[20]
    assert read_log(path, date_format=way, scans=span_of([middle], [middle])).start == moments[0]
    cells[-1] = ("in the evening", 1)
    pd.DataFrame([("Date", "Current (mA)"), *cells], dtype=object).to_excel(path, index=False, header=False)
    assert "'13/05/2026 00:00:00', which is none" in refused(path)


@pytest.mark.parametrize("unit", ["mAh/g", "mAh g-1", "mA cm-2", "mAh/cm2", "A/m^2", "mAh/kg", "cm2"])
def test_units_per_mass_or_area_are_not_to_be_set(tmp_path, unit):
    path = write(tmp_path, table(("time_s", f"Q ({unit})"), [(k, k) for k in range(9)]))
    said = refused(path, charge=f"Q ({unit})")
    assert "it is per mass or area" in said
    assert "units =" not in said
