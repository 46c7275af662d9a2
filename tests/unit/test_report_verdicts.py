"""What panels conclude is computed from the numbers of their store, and follows them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from xct_pipeline.report import charts, echem
from xct_pipeline.report.colours import label_colours
from xct_pipeline.report.conclusions import mass_says
from xct_pipeline.report.contents import Contents, open_level, read_contents
from xct_pipeline.report.figures import label_image
from xct_pipeline.report.page import draw_panel, facts, told_facts
from xct_pipeline.report.panel import Panel
from xct_pipeline.report.sections import SECTIONS
from xct_pipeline.store.files import read_attributes
from xct_pipeline.store.layout import MATERIALS
from xct_pipeline.store.series import Series
from xct_pipeline.store.store import Store
from xct_pipeline.variation.steps.told import found
from xct_pipeline.viewer.found import mass_found

PANELS = {panel.title: panel for section in SECTIONS for panel in section.panels}
CONCLUDING = {title for title, panel in PANELS.items() if panel.concludes is not Panel.concludes}


def says(title: str, contents: Contents) -> list[str]:
    return PANELS[title].says(contents)


def test_panels_that_conclude_say_something_of_a_finished_store(small_series: Path) -> None:
    contents = read_contents(small_series)
    assert len(CONCLUDING) == 16
    for title in CONCLUDING:
        for sentence in says(title, contents):
            assert sentence.endswith("."), sentence
            assert "nan" not in sentence, sentence
            assert "_mg" not in sentence, sentence
    assert {title for title in CONCLUDING if not says(title, contents)} == set()
    balance = Store(small_series).read_table("mass_balance")
    assert draw_panel(PANELS["Maps beside the voltage profile"], contents)["said"][0].startswith("By scan_11, ")
    largest = balance.loc[balance["mass_change_consecutive_mg"].abs().idxmax()]
    (step,) = says("Between consecutive scans", contents)
    assert f"the one to {largest['scan']}: " in step
    size = abs(largest["mass_change_consecutive_mg"]) / largest["sigma_consecutive_mg"]
    assert f"({size:.1f} σ" in step
    last = balance.iloc[-1]
    terms = {c: last[c] ** 2 for c in balance.columns if c.startswith("sigma_") and c.split("_")[1] in TERMS}
    budget, columns = says("What the error consists of", contents)
    assert f" is {100 * max(terms.values()) / sum(terms.values()):.0f} % of the variance" in budget
    rings = contents.table("noise", "scan", "column_error").set_index("scan").loc[str(last["scan"])]
    assert columns.startswith("Columns of the detector are off by ")
    assert f"{100 * rings['column_error']:.1f}"[:3] in columns
    assert columns.endswith(f": their rings are {rings['rings']}.")
    (volume,) = says("Volume of each material", contents)
    sizes = contents.table("labels", "scan", "name", "volume_mm3").pivot(index="name", columns="scan")["volume_mm3"]
    share = (sizes["scan_11"] / sizes["scan_1"] - 1).replace(np.inf, np.nan)
    assert f"is {share.abs().idxmax()}: " in volume
    assert f"({100 * share[share.abs().idxmax()]:+.1f} %)".replace("-", "\N{MINUS SIGN}") in volume
    (related,) = says("Resistance against contact and mass", contents)
    assert related.startswith("A full rank correlation of 11 scans, ±1, comes by chance in 5e-06 %")


def test_materials_have_the_colours_of_the_store(small_series: Path) -> None:
    contents = read_contents(small_series)
    told = read_attributes(small_series / MATERIALS)["ome"]["image-label"]
    names = {entry["label-value"]: entry["name"] for entry in told["properties"]}
    colours = {names[entry["label-value"]]: tuple(entry["rgba"][:3]) for entry in told["colors"]}
    labels = open_level(contents, MATERIALS, 64, contents.reference)
    assert label_colours(labels) == {value: colours[name] for value, name in names.items()}
    for chart in (charts.label_volumes(contents), charts.contact(contents), echem.spreading(contents)):
        drawn = {t["name"].split(",")[0]: t["line"]["color"] for t in chart.data if t["name"] != "voltage"}
        assert drawn == {name: "#{:02x}{:02x}{:02x}".format(*colours[name]) for name in drawn}
        assert len(drawn) > 1
    picture, _ = label_image(np.array([[1, 2]], np.uint8), labels)
    assert [tuple((255 * pixel).round()) for pixel in picture[0]] == [colours[names[1]], colours[names[2]]]


TERMS = ("noise", "rings", "registration", "calibration", "linearity", "table", "energy", "pixel", "closure")

BY_TABLE = [
    ("reconstruction", "resolution_voxel", np.nan, "Noise and resolution", "At no period does a voxel hold half a bit"),
    ("reconstruction", "resolution_voxel", 2.0, "Noise and resolution", "half a bit down to periods of "),
    ("mass_balance", "sigma_mg", 100.0, "Maps beside the voltage profile", "below the decision limit"),
    ("mass_balance", "sigma_consecutive_mg", 100.0, "Between consecutive scans", "below the decision limit"),
    ("mass_routes", "sigma_difference_mg", 0.01, "Routes to the mass", "an error is larger than stated"),
    ("mass_routes", "sigma_difference_mg", 100.0, "Routes to the mass", "they agree"),
    ("grey_scale", "sigma_cupping", 1e-6, "Grey values of what is uniform", "a change of mass may be off by"),
    ("grey_scale", "sigma_cupping", 100.0, "Grey values of what is uniform", "No scan shows cupping"),
    ("depth_profile", "sigma_density_g_cm3", 100.0, "Depth", "below the decision limit"),
    ("radial_profile", "sigma_density_g_cm3", 100.0, "Radius", "below the decision limit"),
    ("reconstruction", "center_agreement", 0.01, "Centre of rotation", "they agree"),
    ("reconstruction", "center_agreement", 100.0, "Centre of rotation", "they disagree there"),
    ("registration", "gain_sigma", 1e-6, "Residuals", "differ from the reference's in 10 of 10 scans"),
    ("registration", "gain_sigma", 1e6, "Residuals", "are the reference's"),
]


@pytest.mark.parametrize(("table", "column", "factor", "panel", "words"), BY_TABLE)
def test_a_conclusion_follows_its_table(
    small_series_copy: Path, table: str, column: str, factor: float, panel: str, words: str
) -> None:
    store = Store(small_series_copy)
    rows = store.read_table(table)
    rows[column] = rows[column] * factor
    store.write_table(table, rows)
    assert words in " ".join(says(panel, read_contents(small_series_copy)))
    rows[column] = np.nan
    store.write_table(table, rows)
    assert "nan" not in " ".join(says(panel, read_contents(small_series_copy)))
    (small_series_copy / "tables" / f"{table}.csv").unlink()
    assert says(panel, read_contents(small_series_copy)) == []


def test_routes_that_are_drawn_are_compared_and_no_others(small_series_copy: Path) -> None:
    """Rows beside those of the region hold what the region does not."""
    store = Store(small_series_copy)
    rows = store.read_table("mass_routes")
    rows["sigma_difference_mg"] = 1.0
    rows["difference_mg"] = rows["route"].map({"volume": np.nan, "rows": 0.5, "all rows": 9.0})
    store.write_table("mass_routes", rows)
    last = str(rows["scan"].iloc[-1])
    told = [f"{last}: sum over the region and its detector rows differ by 0.5 joint \N{GREEK SMALL LETTER SIGMA}"]
    assert says("Routes to the mass", read_contents(small_series_copy)) == [f"{told[0]}: they agree."]
    rows["truncated_rows"] = 3
    store.write_table("mass_routes", rows)
    assert says("Routes to the mass", read_contents(small_series_copy)) == []


def test_of_a_series_whose_last_scan_failed_the_last_mass_is_told(small_series_copy: Path) -> None:
    store = Store(small_series_copy)
    rows = store.read_table("mass_balance")
    before, last = rows["scan"].iloc[-2:]
    rows.loc[rows["scan"] == last, [name for name in rows.columns if name != "scan"]] = np.nan
    store.write_table("mass_balance", rows)
    contents = read_contents(small_series_copy)
    told = [
        found(store, "Na"),
        mass_found(Series.open(small_series_copy)),
        *mass_says(contents),
        *says("What the error consists of", contents)[:1],
        *(f"{name} {value}" for name, value in facts(contents) if "mass change" in name),
    ]
    assert len(told) == 5
    for sentence in told:
        assert str(before) in sentence, sentence
        assert str(last) not in sentence
        assert "nan" not in sentence.replace(str(before), "")
    rows[["mass_change_mg", "sigma_mg"]] = np.nan
    store.write_table("mass_balance", rows)
    contents = read_contents(small_series_copy)
    assert (mass_found(Series.open(small_series_copy)), mass_says(contents)) == ("", [])
    assert not [name for name, _ in facts(contents) if "mass change" in name]


def test_rings_that_are_not_known_are_told(small_series_copy: Path) -> None:
    store = Store(small_series_copy)
    rows = store.read_table("noise")
    rows["column_error"], rows["rings"] = np.nan, "axis not known: registration.axis"
    store.write_table("noise", rows)
    told = says("What the error consists of", read_contents(small_series_copy))
    assert told[1:] == ["Rings about the axis are not in the errors: axis not known: registration.axis."]
    (small_series_copy / "tables" / "noise.csv").unlink()
    assert len(says("What the error consists of", read_contents(small_series_copy))) == 1


def test_frames_that_were_left_out_are_counted(small_series_copy: Path) -> None:
    store = Store(small_series_copy)
    rows = store.read_table("frames")
    assert says("Frames", read_contents(small_series_copy)) == ["All frames belong."]
    rows["left_out"] = rows["left_out"].astype(object)
    rows.loc[0, ["first", "last", "left_out", "finding"]] = [3, 5, True, "are empty"]
    rows.loc[1, ["first", "last", "left_out", "finding"]] = [0, 0, False, "are darker"]
    store.write_table("frames", rows)
    assert says("Frames", read_contents(small_series_copy)) == ["3 frames left out; 1 told and kept."]


def test_the_head_tells_what_the_files_tell_where_the_configuration_does_not(small_series_copy: Path) -> None:
    told = dict(told_facts(read_contents(small_series_copy)))
    assert told == {"sample": "simulated Na | NASICON | NaK cell", "date": "2025-01-01"}
    store = Store(small_series_copy)
    kept = store.attributes()["facts"]
    kept["scan_2"] |= {"sample": "another", "start": "2025-01-03T08:00:00+00:00"}
    store.update({"facts": kept})
    assert dict(told_facts(read_contents(small_series_copy))) == {"date": "2025-01-01 to 2025-01-03"}
