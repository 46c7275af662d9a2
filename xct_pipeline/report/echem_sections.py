"""The panels of electrochemistry, for the page of a store and for one without any scan."""

from __future__ import annotations

from xct_pipeline.report import echem, verdicts
from xct_pipeline.report.markup import chart, table
from xct_pipeline.report.panel import Panel, Section

ELECTROCHEMISTRY = Section(
    "electrochemistry",
    "Electrochemistry",
    (
        Panel(
            "Log",
            "Voltage and charge against the log's time; dotted lines are the middles of the scans on the same clock.",
            chart(echem.timeline),
        ),
        Panel(
            "Resistance against contact and mass",
            "Each point is a scan: the resistance of a peak of the relaxation times against the share of the ceramic "
            "in contact, and against the mass that left. Error bars are one standard deviation; the rank correlation "
            "(Spearman) asks only whether one rises with the other.",
            chart(echem.relation),
            verdicts.related,
        ),
        Panel(
            "Spreading",
            "Share of the ceramic's surface that liquid, carbon and gas touch, on the axis of the voltage: how far a "
            "liquid spreads, and where it withdraws. Below, the same of the whole surface of each partner "
            "(carbon cloth, housing) that segmentation.interface.partners names.",
            chart(echem.spreading),
        ),
        Panel("Impedance", "Spectra from dark to bright with time.", chart(echem.spectra)),
        Panel(
            "Relaxation times",
            "Resistance per unit of ln τ against time, by regularisation without negative parts; circles are the peaks "
            "fitted to the spectra themselves. Above, on the same axis, voltage and change of mass.",
            chart(echem.waterfall),
            verdicts.resistances,
        ),
        Panel("Peaks", "Row 0 of each spectrum is the whole of it.", table("drt_peaks")),
        Panel("Voltammetry", "Current against voltage, by cycle.", chart(echem.voltammograms)),
        Panel("Cycling", "Capacity, coulombic efficiency and overpotential of each cycle.", chart(echem.cycles)),
    ),
)
