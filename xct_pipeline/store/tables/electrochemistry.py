"""Tables of the log, spectra and sweeps."""

from __future__ import annotations

from xct_pipeline.store.columns import Table, flag, index, quantity, text
from xct_pipeline.store.tables.shared import CHARGE, VOLTAGE

_LOG_TIME = quantity("time_s", "s", "since the start of the log")

_CURRENT = quantity("current_A", "A", "of the cell, positive in the direction of the charge")

_CYCLE = index("cycle", "number of the cycle, from 1")

_SPECTRUM = (
    text("spectrum", "name of the spectrum"),
    text("scan", "name of the scan that it was taken with, empty for none"),
    quantity("time_s", "s", "when it was taken, on the time axis of the log"),
)

ELECTROCHEMISTRY: tuple[Table, ...] = (
    Table("cycler", "time", (_LOG_TIME, CHARGE, VOLTAGE, _CURRENT)),
    Table(
        "impedance",
        "spectrum and frequency",
        (
            *_SPECTRUM,
            quantity("frequency_Hz", "Hz", "of the excitation"),
            quantity("real_ohm", "ohm", "real part of the impedance"),
            quantity("minus_imaginary_ohm", "ohm", "imaginary part of the impedance, sign turned"),
        ),
    ),
    Table(
        "drt",
        "spectrum and relaxation time",
        (
            *_SPECTRUM,
            quantity("tau_s", "s", "relaxation time"),
            quantity("distribution_ohm", "ohm", "polarisation resistance for each unit of ln tau"),
        ),
    ),
    Table(
        "drt_peaks",
        "spectrum and peak; peak 0 is the whole spectrum",
        (
            *_SPECTRUM,
            index("peak", "number of the peak from short to long times, 0 for the whole spectrum"),
            quantity("tau_s", "s", "relaxation time of the peak"),
            quantity("tau_sigma_s", "s", "its standard error"),
            quantity("resistance_ohm", "ohm", "polarisation resistance of the peak, or of all"),
            quantity("resistance_sigma_ohm", "ohm", "its standard error"),
            quantity("exponent", "1", "of the constant phase element that fits the peak, 1 for a capacitor"),
            text("kind", "arc, or diffusion: a row of peaks, of which the time is the longest"),
            flag("resolved", "whether its time lies within those that the frequencies see"),
            quantity("series_resistance_ohm", "ohm", "at infinite frequency"),
            quantity("inductance_H", "H", "of leads and cell"),
            quantity("kk_residual", "1", "what the Kramers-Kronig relations leave unexplained, share of the modulus"),
            flag("kk_violated", "whether that is more than noise can be"),
            quantity("regularisation", "1", "strength of the regularisation"),
            text("regularisation_rule", "how its strength was found"),
        ),
    ),
    Table("voltammetry", "time", (_CYCLE, _LOG_TIME, VOLTAGE, _CURRENT)),
    Table(
        "cycling",
        "cycle",
        (
            _CYCLE,
            quantity("start_s", "s", "its start on the time axis of the log"),
            quantity("end_s", "s", "its end"),
            quantity("charge_C", "C", "charge that went in"),
            quantity("discharge_C", "C", "charge that came out"),
            quantity("efficiency", "1", "coulombic: what came back of what was put in first"),
            quantity("overpotential_V", "V", "half the difference of the mean voltages of both directions"),
            quantity("charge_mAh_g", "mAh/g", "charge that went in, per mass of active material"),
            quantity("discharge_mAh_g", "mAh/g", "charge that came out, per mass of active material"),
        ),
    ),
)
