"""The report's panels of electrochemistry follow their tables."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from xct_pipeline.electrochemistry.drt import relaxation
from xct_pipeline.electrochemistry.spectrum import spectrum_of
from xct_pipeline.electrochemistry.steps.tables import Taken, spectra_tables
from xct_pipeline.report import echem
from xct_pipeline.report.contents import AbsentError, Contents
from xct_pipeline.report.echem_page import OfFiles
from xct_pipeline.simulation.spectra import FREQUENCIES_HZ, impedance_ohm
from xct_pipeline.store.series import Series
from xct_pipeline.store.store import Store

SCANS = ("scan_00", "scan_01", "scan_02", "scan_03")
CONTACT = (1.0, 0.8, 0.6, 0.5)
TIMES = (0.0, 4000.0, 8000.0, 12000.0)


def contents(**changed: pd.DataFrame) -> Contents:
    taken = []
    for name, contact, t in zip(SCANS, CONTACT, TIMES, strict=True):
        spectrum = spectrum_of(f"{name}.csv", FREQUENCIES_HZ, impedance_ohm(contact))
        taken.append(Taken(spectrum, relaxation(spectrum), t, name))
    time_s = np.linspace(0, 13000, 200)
    voltage = 3 + 0.1 * np.sin(time_s / 1000)
    tables = {
        **spectra_tables(taken),
        "cycler": pd.DataFrame({"time_s": time_s, "charge_C": time_s * 1e-3, "voltage_V": voltage}),
        "mass_balance": pd.DataFrame(
            {"scan": SCANS, "time_s": TIMES, "mass_change_mg": [0, -1, -2, -3.0], "sigma_mg": [0, 0.1, 0.1, 0.1]}
        ),
        "interface": pd.DataFrame(
            {"scan": SCANS, "material": "anode", "fraction": CONTACT, "offset_voxels": [2.0] * 4}
        ),
        "voltammetry": pd.DataFrame({"cycle": 1, "voltage_V": voltage, "current_A": voltage - 3}),
        "cycling": pd.DataFrame({"cycle": [1, 2], "charge_C": [3.6, 3.5], "discharge_C": [3.5, 3.4]}),
    }
    return OfScans(Series(Store(Path("none")), {}, SCANS), {**tables, **changed})


class OfScans(OfFiles):
    """Tables of scans whose times are known."""

    @property
    def times_s(self) -> tuple[float, ...]:
        return TIMES


def test_relation_of_resistance_and_contact_is_recovered():
    text = echem.relation(contents()).to_json()
    assert "rank correlation -1.00 (4 scans)" in text  # against contact
    assert "rank correlation +1.00 (4 scans)" in text  # against mass lost
    peaks = echem.related_peaks(contents())
    slow = peaks[peaks["group"] == 2].sort_values("scan")
    np.testing.assert_allclose(slow["resistance_ohm"] * CONTACT, 25, rtol=0.01)


@pytest.mark.parametrize(
    ("draw", "table", "column"),
    [
        (echem.timeline, "cycler", "voltage_V"),
        (echem.timeline, "mass_balance", "time_s"),
        (echem.spectra, "impedance", "real_ohm"),
        (echem.waterfall, "drt", "distribution_ohm"),
        (echem.waterfall, "drt_peaks", "tau_s"),
        (echem.waterfall, "mass_balance", "mass_change_mg"),
        (echem.relation, "interface", "fraction"),
        (echem.spreading, "interface", "fraction"),
        (echem.spreading, "cycler", "voltage_V"),
        (echem.spreading, "mass_balance", "time_s"),
        (echem.relation, "drt_peaks", "resistance_ohm"),
        (echem.voltammograms, "voltammetry", "current_A"),
        (echem.cycles, "cycling", "charge_C"),
    ],
)
def test_a_panel_follows_its_table(draw, table, column):
    before = contents()
    rows = before.tables[table].copy()
    rows[column] = rows[column] * 0.6 + 0.01
    assert draw(before).to_json() != draw(contents(**{table: rows})).to_json()


def test_spreading_on_carbon_is_drawn_beside_that_on_the_ceramic():
    partner = pd.DataFrame(
        {
            "scan": [*SCANS, *SCANS],
            "material": ["liquid"] * 4 + ["gas"] * 4,
            "partner": "carbon",
            "offset_voxels": 2.0,
            "fraction": [0.9, 0.7, 0.4, 0.2, 0.1, 0.3, 0.6, 0.8],
        }
    )
    both = contents(contacts=partner)
    drawn = echem.spreading(both)
    curves = {trace["name"]: list(trace["y"]) for trace in drawn.data}
    assert curves["liquid"] == [0.9, 0.7, 0.4, 0.2]
    assert curves["anode"] == list(CONTACT)
    assert "share of all carbon in contact" in drawn.to_json()
    assert "share of all carbon in contact with liquid" in echem.relation(both).to_json()
    partner["material"] = ["anode"] * 4 + ["gas"] * 4
    partner["fraction"] = 1 - partner["fraction"]  # gas touches most of it now
    same = echem.relation(contents(contacts=partner)).to_json()
    assert "share of all carbon in contact with anode" in same
    assert "share of all carbon in contact with gas" not in same
    del both.tables["interface"]
    assert "share of the ceramic" not in echem.spreading(both).to_json()
    assert "share of all carbon in contact" not in echem.spreading(contents()).to_json()


def test_panels_without_data_say_so():
    empty = OfFiles(Series(Store(Path("none")), {}, ()), {})
    for draw in (
        echem.timeline,
        echem.spectra,
        echem.waterfall,
        echem.relation,
        echem.spreading,
        echem.voltammograms,
        echem.cycles,
    ):
        with pytest.raises(AbsentError, match="no table"):
            draw(empty)
