"""Table `contacts` of what a run wrote, held against the table of heights and the simulated cell."""

from __future__ import annotations

import numpy as np
from scipy.stats import spearmanr
from small_series import SCANS, SETTINGS

from xct_pipeline.simulation import spectra
from xct_pipeline.simulation.beamline import generator
from xct_pipeline.simulation.cell import LAYOUT_ROWS, build_cell, changes_at
from xct_pipeline.store.store import Store

OFFSETS = (2.0, 8.0)


def simulated_contact(offset, monkeypatch):
    """Share of the anode's disc whose sodium is there, so many voxels above the ceramic, by scan."""
    cell = build_cell(
        SETTINGS.rows,
        SETTINGS.columns,
        pixel_size_um=SETTINGS.pixel_size_um,
        energy_keV=SETTINGS.energy_keV,
        rng=generator(0, 0),
    )
    monkeypatch.setattr(spectra, "CONTACT_ABOVE", offset * LAYOUT_ROWS / SETTINGS.rows)
    last = len(SCANS) - 1
    return np.array([spectra.contact_of(cell, changes_at(cell, SETTINGS.stripped * k / last)) for k in range(last + 1)])


def of_ceramic(small_series, name):
    table = Store(small_series).read_table(name)
    found = table[(table["material"] == "anode") & (table["scan"].astype(str).isin(SCANS))]
    return {offset: found[found["offset_voxels"] == offset].set_index("scan").loc[list(SCANS)] for offset in OFFSETS}


def test_contacts_share_out_the_ceramic_in_every_scan(small_series):
    table = Store(small_series).read_table("contacts")
    assert set(table["scan"].astype(str)) == set(SCANS)
    assert set(table["partner"]) == {"ceramic"}
    np.testing.assert_allclose(table.groupby(["scan", "offset_voxels"])["fraction"].sum(), 1)


def test_both_tables_find_the_same_area_under_the_metal(small_series):
    """One from heights over columns, the other from crossings of the surface."""
    heights, crossings = of_ceramic(small_series, "interface"), of_ceramic(small_series, "contacts")
    np.testing.assert_allclose(crossings[2.0]["area_um2"], heights[2.0]["area_um2"], rtol=0.12)


def test_contact_and_resistance_follow_the_simulated_contact(small_series, monkeypatch):
    peaks = Store(small_series).read_table("drt_peaks")
    slowest = peaks[peaks["peak"] > 0].sort_values("tau_s").groupby("scan")["resistance_ohm"].last()
    truth = simulated_contact(8.0, monkeypatch)
    area = of_ceramic(small_series, "contacts")[8.0]["area_um2"].to_numpy()
    # up there nothing has left in the first five
    np.testing.assert_allclose(area / area[:5].mean(), truth / truth[0], atol=0.15)
    assert np.abs(area / area[:5].mean() - truth / truth[0]).mean() < 0.05
    for offset in OFFSETS:
        areas = of_ceramic(small_series, "contacts")[offset]["area_um2"]
        assert spearmanr(areas, slowest.loc[list(SCANS)]).statistic < -0.8
