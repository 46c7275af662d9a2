"""Tables set apart by blanks, as programs print them."""

from __future__ import annotations

import datetime as dt

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from logs import write

from xct_pipeline.electrochemistry.aligned import with_tabs
from xct_pipeline.electrochemistry.impedance import read_spectra
from xct_pipeline.electrochemistry.log import read_log

START = dt.datetime(2026, 5, 3, 22)


def printed(names, rows, gap, right):
    """Return columns of equal width, `gap` blanks apart, to the right or left; gap 0 for one blank without a width."""
    cells = [[str(cell) for cell in row] for row in (names, *rows)]
    if gap == 0:
        return "\n".join(" ".join(row) for row in cells) + "\n"
    widths = [max(len(row[k]) for row in cells) for k in range(len(names))]
    put = str.rjust if right else str.ljust
    return "\n".join((" " * gap).join(put(c, w) for c, w in zip(row, widths, strict=True)) for row in cells) + "\n"


@settings(max_examples=60, deadline=None)
@given(
    gap=st.sampled_from([0, 1, 2, 4]),
    right=st.booleans(),
    comma=st.booleans(),
    dated=st.sampled_from(["", "Date", "Date Time"]),
    head=st.sampled_from(["", "# measured by hand\n", "Cell: A 17\nOperator: x, y\n\n", "cell 5, second run;\n"]),
    names=st.sampled_from([("time_s", "I_mA", "U_V"), ("Time (s)", "I (mA)", "U (V)"), ("Time[s]", "I[mA]", "U[V]")]),
    mark=st.sampled_from(["", "# "]),
)
def test_columns_set_apart_by_blanks(tmp_path_factory, gap, right, comma, dated, head, names, mark):
    rows = []
    for k in range(61):
        cells = [f"{60 * k:.1f}", f"{-1 - k / 50:.4f}", f"{3.7 + k / 1000:.3f}"]
        cells = [cell.replace(".", ",") if comma else cell for cell in cells]
        rows.append(([f"{START + dt.timedelta(minutes=k):%Y-%m-%d %H:%M:%S}"] if dated else []) + cells)
    text = head + mark + printed((*([dated] if dated else []), *names), rows, gap, right)
    found = read_log(write(tmp_path_factory.mktemp("blanks"), text))
    np.testing.assert_allclose(found.time_s, 60 * np.arange(61))
    np.testing.assert_allclose(found.current_A, -1e-3 - 1e-3 * np.arange(61) / 50)
    assert found.voltage_V[0] == 3.7
    assert found.start == (START if dated else None)


def test_states_of_two_words_and_units_below(tmp_path):
    rows = [(f"{60 * k}", "CC Chg" if k < 30 else "CC DChg", "1.0") for k in range(61)]
    text = printed(("TestTime", "Step Type", "Current"), [("s", "-", "mA"), *rows], 3, False)
    found = read_log(write(tmp_path, text))
    assert found.charge_C[-1] == pytest.approx(-0.06, abs=0.07)
    assert found.charge_C.max() > 1.7


def test_a_spectrum_set_apart_by_blanks(tmp_path):
    f = np.logspace(5, -1, 31)
    z = 10 + 20 / (1 + 2j * np.pi * f * 1e-3)
    rows = [(f"{a:.6e}", f"{b.real:.6e}", f"{-b.imag:.6e}") for a, b in zip(f, z, strict=True)]
    (found,) = read_spectra(write(tmp_path, printed(("freq/Hz", "Re(Z)/Ohm", "-Im(Z)/Ohm"), rows, 2, True), "eis.txt"))
    np.testing.assert_allclose(found.impedance_ohm, z, rtol=1e-5)


@pytest.mark.parametrize(
    "text",
    [
        "Date,Q (mAh)\n2026-05-03 22:00:00,3\n2026-05-03 22:10:00,4\n2026-05-03 22:20:00,5\n",
        "t_s, Q_mAh\n0, 0\n60, 1\n",
        "t_s;Q mAh\n0;0,5\n60;1,5\n",
        "1.0 2.0\n2.0 3.0\n",
        "one two three four\n1 2\n3 4\n",
        "",
    ],
)
def test_other_tables_stay_as_they_are(text):
    assert with_tabs(text.splitlines()) == text.splitlines()


def test_a_cell_that_is_missing_is_refused(tmp_path):
    text = "time_s   Q_mAh   U_V\n  0.0   0.0   3.7\n 60.0         3.7\n" + "".join(
        f"{60 * k}.0   {k}.0   3.7\n" for k in range(2, 30)
    )
    with pytest.raises(ValueError, match="is no number"):
        read_log(write(tmp_path, text))
