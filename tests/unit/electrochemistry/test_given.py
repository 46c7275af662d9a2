"""The charge at each scan from a CSV file."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xct_pipeline.config.file import ConfigError, parse_config
from xct_pipeline.electrochemistry.given import GivenCharges, given_at_scans, read_charges

FACTORS = {"C": 1.0, "mAh": 3.6, "Ah": 3600.0, "uAh": 3.6e-3}


@settings(max_examples=40)
@given(
    values=st.lists(st.floats(-1e4, 1e4), min_size=1, max_size=5),
    unit=st.sampled_from(sorted(FACTORS)),
    form=st.sampled_from(["charge_{}", "Charge ({})", "charge/{}", "charge [{}]"]),
    german=st.booleans(),
    voltage=st.booleans(),
)
def test_files_are_read_as_they_were_written(tmp_path_factory, values, unit, form, german, voltage):
    between, mark = (";", ",") if german else (",", ".")
    rows = [["scan", "time_s", form.format(unit), *(["voltage_V"] if voltage else [])]]
    for k, value in enumerate(values):
        numbers = [0.5 * k, value, *([3.5] if voltage else [])]
        rows.append([f"scan_{k}", *(repr(float(n)).replace(".", mark) for n in numbers)])
    file = tmp_path_factory.mktemp("given") / "charges.csv"
    file.write_text("\ufeff" + "\n".join(between.join(row) for row in rows) + "\n", encoding="utf-8")
    found = read_charges(file)
    assert found.charge_C == pytest.approx({f"scan_{k}": FACTORS[unit] * v for k, v in enumerate(values)})
    assert set(found.voltage_V.values()) == ({3.5} if voltage else set())


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("scan,voltage_V\na,1\n", "scan and charge_C"),
        ("name,charge_C\na,1\n", "scan and charge_C"),
        ("scan,charge\na,1\n", "names no unit of a charge"),
        ("scan,charge_C,charge_mAh\na,1,2\n", "both hold a charge"),
        ("scan,charge_C\na,1\na,2\n", "line 3: a stands in it twice"),
        ("scan,charge_C\na,much\n", "line 2: charge_C = 'much' is no number"),
        ("scan,charge_C\na,inf\n", "is no number"),
        ("\udcff", "cannot be read"),
        ("", "scan and charge_C"),
    ],
)
def test_what_is_wrong_is_told_in_a_line(tmp_path, text, why):
    file = tmp_path / "charges.csv"
    file.write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(ValueError, match=why) as told:
        read_charges(file)
    assert str(file) in str(told.value)
    assert "\n" not in str(told.value)


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(ValueError, match="No such file"):
        read_charges(tmp_path / "none.csv")


def test_the_charge_is_counted_from_the_reference():
    given_ = GivenCharges("here", {"a": 1.0, "b": 3.0, "x": 5.0}, {"b": 3.5})
    found = given_at_scans(given_, ["a", "b", "c"], 1, -1)
    np.testing.assert_array_equal(found.charge_C, [2.0, 0.0, np.nan])
    np.testing.assert_array_equal(found.voltage_V, [np.nan, 3.5, np.nan])
    assert found.notes == ("x named there is no scan of the series",)
    with pytest.raises(ValueError, match="no charge for the reference scan c; x named"):
        given_at_scans(given_, ["a", "b", "c"], 2)


@pytest.mark.parametrize(
    ("table", "why"),
    [
        ({"log": "a.csv", "charges": "b.csv"}, "either a log or charges"),
        ({}, "name a log, charges"),
        ({"charges": {"a": float("nan")}}, "finite"),
        ({"charges": {"../a": 1.0}}, "cannot be a name"),
    ],
)
def test_wrong_configurations(table, why):
    with pytest.raises(ConfigError, match=why):
        parse_config({"output": "o", "acquisition": {"scans": ["a"]}, "electrochemistry": table})
