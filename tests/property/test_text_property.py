"""Names, tables, units and terminals, over whatever text others may write."""

from __future__ import annotations

import contextlib
import io
import unicodedata

import pandas as pd
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError
from rich.console import Console
from rich.markup import escape

from xct_pipeline.acquisition.units import unit_factor
from xct_pipeline.cli.terminal import SafeConsole
from xct_pipeline.inputs import clean, first_of, folded
from xct_pipeline.names import ALLOWED, Name, ScanName, alike, check_name, check_path, fitting_name, key_of
from xct_pipeline.scan import ScanError
from xct_pipeline.store.cells import escape_cells, unescape_cells

ANY = st.text(st.characters(), max_size=150)
HOSTILE = ["../../victim", "/etc", "", ".", "..", "a/b", "a\\b", "a\nb", "\x1b[31m", "CON", "nul.txt", "COM1"]
HOSTILE += ["-rf", " a", "a ", "a.", ".hidden", "a\0b", "a:b", "*", "[x]", "[/b]", "a\u202eb", "\ud800"]
HOSTILE += ["x" * 101, "é" * 101, "语" * 90]
ARITHMETIC = ["deg**(9**9**9)", "9**9**9", "m**99999999", "(" * 5000 + "m", "m" * 10_000, "m*" * 5000 + "m"]
ARITHMETIC += ["1e400 m", "__import__('os')", "\x1b[31m"]


@pytest.mark.parametrize("name", HOSTILE)
def test_what_is_no_name(name):
    for kind in (Name, ScanName):
        with pytest.raises(ValidationError, match="cannot be a name"):
            TypeAdapter(kind).validate_python(name)


@pytest.mark.parametrize("name", ["scan_00", "Na-K", "Na K", "b1.2", "Probe Ä", "试样", "0", "_x", "a" * 100])
def test_what_is_a_name(name):
    assert check_name(name) == name
    assert fitting_name(name) == name


@pytest.mark.parametrize("name", ["zarr.json", "Scans", "noise", "registered"])
def test_names_that_the_store_uses(name):
    with pytest.raises(ValidationError, match="the store uses it"):
        TypeAdapter(ScanName).validate_python(name)
    assert fitting_name(name) == f"scan_{name}"


@given(ANY)
@example("....")
@example("a" * 300)
@example("con")
def test_every_stem_is_mapped_to_a_name(text):
    name = fitting_name(text)
    assert TypeAdapter(ScanName).validate_python(name) == name
    assert fitting_name(name) == name
    assert check_path(f"scans/{name}/volume")
    assert all(c in "_-. " or c.isalnum() or unicodedata.category(c)[0] == "M" for c in name), ALLOWED


@given(st.lists(st.sampled_from(["a", "A", "é", "e\u0301", "É", "b", "ß", "SS", "ﬁ", "fi"]), max_size=6))
def test_names_that_a_file_system_takes_for_one(names):
    keys = [key_of(name) for name in names]
    assert sum(map(len, alike(names))) == sum(keys.count(key) > 1 for key in keys)


@given(ANY)
@example("../x")
@example("a//b")
@example("/a")
@example("C:/x")
def test_paths_stay_inside(text):
    try:
        path = check_path(text)
    except ValueError:
        return
    assert not path.startswith("/")
    assert not {"", ".", ".."} & set(path.split("/"))


@given(ANY)
def test_nothing_moves_the_terminal(text):
    shown = clean(text)
    assert not any(unicodedata.category(c) in ("Cc", "Cf", "Cs") for c in shown if c not in "\n\t")
    shown.encode()
    file = io.StringIO()
    SafeConsole(file=file, width=1000, highlight=False, emoji=False).print(f"[red]{escape(text)}[/red]", soft_wrap=True)
    assert "\x1b" not in file.getvalue()


def test_a_terminal_shows_only_our_own_colours():
    file = io.StringIO()
    console: Console = SafeConsole(file=file, width=80, force_terminal=True, color_system="standard", highlight=False)
    hostile = escape("[/b] [x] \x1b[32mgreen")
    console.print(f"[red]{hostile}[/red]")
    assert file.getvalue().count("\x1b[") == 2  # red on, red off
    assert "[/b] [x] \\x1b[32mgreen" in file.getvalue()


@given(st.lists(ANY | st.sampled_from(["=1+1", "+x", "-x", "-1.5", "-1e-3", "@sum", "\tx", "'=x", "''@", "+", "-"])))
def test_tables_come_back_and_no_cell_is_run(texts):
    table = pd.DataFrame({"a": pd.Series(texts, dtype=object), "b": range(len(texts))})
    written = escape_cells(table)
    assert list(unescape_cells(written)["a"]) == texts
    for text in written["a"]:
        number = pd.to_numeric(text, errors="coerce")
        assert text[:1] not in ("=", "@", "\t", "\r")
        assert text[:1] not in ("+", "-") or number == number


@pytest.mark.parametrize("unit", ARITHMETIC)
def test_units_are_no_arithmetic(unit):
    for to in ("radian", "micrometer", "keV"):
        with pytest.raises(ScanError, match="is not known here"):
            unit_factor(unit, to)


@settings(deadline=None)  # the first call reads the registry of units
@given(ANY, st.sampled_from(["radian", "micrometer", "keV"]))
def test_any_text_is_a_unit_or_an_error(text, to):
    with contextlib.suppress(ScanError):
        assert unit_factor(text, to) > 0


def test_the_first_of_many():
    assert first_of(["a"] * 11) == ["a"] * 11
    assert first_of([str(k) for k in range(20_000)])[-2:] == ["9", "... and 19990 more"]


def test_alike_remarks_are_counted_and_told_once():
    few = [(f"s{k}", f"its pixel is {k} um") for k in range(5)]
    assert folded([*few, *few]) == few
    many = [(f"scan_{k:02}", f"scan_{k:02}: {k} projections do not belong") for k in range(11)]
    other = ("scan_03", "no margin of air")
    assert folded([other, *many]) == [
        other,
        ("11 alike, of scan_00, scan_01, scan_02 ...", "scan_00: 0 projections do not belong"),
    ]
