"""What a store may hold is declared once: a column without the unit it needs cannot be declared, nor written."""

import numpy as np
import pandas as pd
import pint
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xct_pipeline.correction.steps.stage import COUNTS
from xct_pipeline.registration.steps.local import STRAINS
from xct_pipeline.store import layout
from xct_pipeline.store.columns import SUFFIXES, UNITS, Column, Kind, Table, count, quantity, text
from xct_pipeline.store.files import StoreError
from xct_pipeline.store.store import Store
from xct_pipeline.store.tables import TABLES, units
from xct_pipeline.variation.areal_noise import COLUMNS
from xct_pipeline.variation.budget import TERMS


@pytest.mark.parametrize(
    ("column", "message"),
    [
        (("mass", "of it", Kind.QUANTITY, ""), "quantity in 'no unit'"),
        (("mass", "of it", Kind.QUANTITY, "stone"), "stone"),
        (("scan", "its name", Kind.TEXT, "mg"), "text and has no unit"),
        (("voxels", "in it", Kind.COUNT, "voxel"), "count and has no unit"),
        (("mass_mg", "of it", Kind.QUANTITY, "micrometre"), "its name says mg"),
        (("areal_mg_cm2", "of it", Kind.QUANTITY, "mg"), "its name says mg/cm2"),
        (("length_um", "of it", Kind.COUNT, ""), "as if it were in micrometre"),
        (("mass_mg", "", Kind.QUANTITY, "mg"), "without a meaning"),
    ],
)
def test_a_wrong_declaration_is_an_error_where_it_stands(column, message):
    with pytest.raises(ValueError, match=message):
        Column(*column)


@settings(deadline=None)
@given(st.sampled_from(sorted(SUFFIXES)), st.sampled_from(sorted(UNITS)), st.sampled_from(list(Kind)))
def test_a_suffix_and_a_unit_never_contradict_each_other(suffix, unit, kind):
    right = kind is Kind.QUANTITY and SUFFIXES[suffix] == unit
    if right:
        assert Column(f"any{suffix}", "thing", kind, unit).unit == unit
    else:
        with pytest.raises(ValueError, match=f"any{suffix}"):
            Column(f"any{suffix}", "thing", kind, unit if kind is Kind.QUANTITY else "")


def test_a_column_stands_once_in_a_table():
    with pytest.raises(ValueError, match="declares scan twice"):
        Table("t", "scan", (text("scan", "name"), count("voxels", "voxels"), text("scan", "again")))


def test_every_column_has_a_meaning_and_every_quantity_a_unit():
    for table in TABLES.values():
        for column in table.columns:
            assert (column.unit != "") == (column.kind is Kind.QUANTITY), (table.name, column.name)
            assert len(column.meaning) > 2
            assert units(table.name).get(column.name, "") == column.unit


def test_units_are_those_that_a_library_of_units_knows():
    registry = pint.UnitRegistry()
    for unit in UNITS - {"1", "voxel", "pixel", "detector column", "1/cm per voxel", "1/voxel"}:
        powers = "".join(f"**{c}" if c.isdigit() and k and unit[k - 1].isalpha() else c for k, c in enumerate(unit))
        assert registry.parse_expression(powers).units != registry.dimensionless, unit


def test_what_stages_count_and_name_is_declared():
    names = {name: {column.name for column in table.columns} for name, table in TABLES.items()}
    assert set(COUNTS) < names["reconstruction"]
    assert {f"sigma_{term}_mg" for term in TERMS} < names["mass_balance"]
    assert {f"strain_{pair}" for pair in STRAINS} < names["displacement"]
    assert set(COLUMNS) == names["areal_noise"]
    assert {c for name in ("voids", "objects") for c in names[name] if c.endswith("_um3")} == {
        "volume_um3",
        "volume_mean_um3",
        "volume_max_um3",
    }


def test_what_is_not_declared_cannot_be_written(tmp_path):
    store = Store(tmp_path / "s.zarr")
    with pytest.raises(ValueError, match="table mine is not declared"):
        store.write_table("mine", pd.DataFrame({"scan": ["a"]}))
    with pytest.raises(ValueError, match="mass_balance has no column weight"):
        store.write_table("mass_balance", pd.DataFrame({"scan": ["a"], "weight": [1.0]}))
    assert not list(store.path.rglob("*.csv"))
    with pytest.raises(StoreError, match="has no table"):
        store.read_table("mass_balance")


@settings(deadline=None)
@given(
    st.lists(
        st.one_of(
            st.from_regex(r"[A-Za-z0-9_.+-]{1,12}", fullmatch=True),
            st.sampled_from(["007", "1", "1e3", "NA", "nan", "null", "True", "-0", "inf", "None", "n/a"]),
        ),
        min_size=1,
        max_size=6,
        unique=True,
    )
)
def test_names_of_scans_come_back_as_they_were_written(tmp_path_factory, names):
    store = Store(tmp_path_factory.mktemp("names") / "s.zarr")
    values = np.where(np.arange(len(names)) % 2, np.nan, 0.5)
    problems = [None if k % 2 else "NA" for k in range(len(names))]
    store.write_table("registration", pd.DataFrame({"scan": names, "gain": values, "problem": problems}))
    table = store.read_table("registration")
    assert table["scan"].tolist() == names
    np.testing.assert_array_equal(table["gain"], values)
    assert table["problem"].isna().tolist() == [p is None for p in problems]


def test_columns_of_earlier_versions_are_read_under_their_names_of_today(tmp_path):
    Store(tmp_path / "s.zarr").begin()
    folder = tmp_path / "s.zarr" / "tables"
    folder.mkdir(parents=True)
    (folder / "reconstruction.csv").write_text("scan,tilt,voxel_size\na,0.1,5\n")
    (folder / "README.json").write_text('{"reconstruction.csv": {"scan": "", "tilt": "degree"}}')
    store = Store(tmp_path / "s.zarr")
    assert list(store.read_table("reconstruction")) == ["scan", "tilt_deg", "voxel_size_um"]
    store.write_table("cycler", pd.DataFrame({"time_s": [0.0]}))
    assert '"tilt": {\n   "unit": "degree"' in (folder / "README.json").read_text()


def test_a_path_is_found_again_in_its_declaration():
    assert layout.VOLUME(scan="a.b_1") == "scans/a.b_1/volume"
    assert layout.image_place("scans/a.b_1/volume") is layout.VOLUME
    assert layout.image_place("scans/a/b/volume") is None
    assert layout.image_place("variation/areal_consecutive").meaning == "the same against the scan before"
    assert quantity("x_um", "micrometre", "place").kind is Kind.QUANTITY
