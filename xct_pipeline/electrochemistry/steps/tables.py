"""What is kept of logs, spectra, voltammograms and cycles: tables with their units."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import numpy as np

from xct_pipeline.electrochemistry.drt import Relaxation
from xct_pipeline.electrochemistry.log import CyclerLog
from xct_pipeline.electrochemistry.spectrum import Spectrum
from xct_pipeline.electrochemistry.sweeps import cycles_of, sweeps_of
from xct_pipeline.store.store import Store

if TYPE_CHECKING:
    import pandas as pd

LOG_ROWS = 5000
"""Rows of a log that are kept, thinned evenly."""


def write_log(store: Store, record: CyclerLog) -> None:
    """Write table ``cycler``: charge, voltage and current against the log's time, thinned."""
    store.write_table("cycler", log_table(record))


def log_table(record: CyclerLog) -> pd.DataFrame:
    """Return charge, voltage and current against the log's time, thinned."""
    import pandas as pd

    thin = max(1, len(record.time_s) // LOG_ROWS)
    columns = {"time_s": record.time_s[::thin], "charge_C": record.charge_C[::thin]}
    for name, values in (("voltage_V", record.voltage_V), ("current_A", record.current_A)):
        if values is not None:
            columns[name] = values[::thin]
    return pd.DataFrame(columns)


@dataclass(frozen=True)
class Taken:
    """A spectrum and when it was taken, on the log's time axis.

    Attributes
    ----------
    spectrum : Spectrum
    found : Relaxation
    time_s : float
        NaN where it is not known.
    scan : str
        Of the series, "" where it belongs to none.
    """

    spectrum: Spectrum
    found: Relaxation
    time_s: float
    scan: str = ""


def write_spectra(store: Store, taken: Sequence[Taken]) -> None:
    """Write tables ``impedance``, ``drt`` and ``drt_peaks``."""
    for name, table in spectra_tables(taken).items():
        store.write_table(name, table)


def spectra_tables(taken: Sequence[Taken]) -> dict[str, pd.DataFrame]:
    """Return tables ``impedance``, ``drt`` and ``drt_peaks``."""
    import pandas as pd

    impedance, drt, peaks = [], [], []
    for entry in taken:
        same = {"spectrum": entry.spectrum.name, "scan": entry.scan, "time_s": entry.time_s}
        z, found = entry.spectrum.impedance_ohm, entry.found
        impedance.append(
            pd.DataFrame(
                {
                    **same,
                    "frequency_Hz": entry.spectrum.frequency_Hz,
                    "real_ohm": z.real,
                    "minus_imaginary_ohm": -z.imag,
                }
            )
        )
        drt.append(pd.DataFrame({**same, "tau_s": found.tau_s, "distribution_ohm": found.distribution_ohm}))
        peaks += [same | row for row in _peak_rows(found)]
    return {
        "impedance": pd.concat(impedance, ignore_index=True),
        "drt": pd.concat(drt, ignore_index=True),
        "drt_peaks": pd.DataFrame(peaks),
    }


def _peak_rows(found: Relaxation) -> list[dict[str, object]]:
    """Return a row per peak, and one numbered 0 for the whole spectrum."""
    whole: dict[str, object] = {
        "peak": 0,
        "resistance_ohm": found.polarisation_resistance_ohm,
        "resistance_sigma_ohm": found.polarisation_sigma_ohm,
        "series_resistance_ohm": found.series_resistance_ohm,
        "inductance_H": found.inductance_H,
        "kk_residual": found.test.residual,
        "kk_violated": found.test.violated,
        "regularisation": found.strength,
        "regularisation_rule": found.rule,
    }
    rows: list[dict[str, object]] = [whole]
    for k, peak in enumerate(found.peaks, 1):
        rows.append(
            {
                "peak": k,
                "tau_s": peak.tau_s,
                "tau_sigma_s": peak.tau_sigma_s,
                "resistance_ohm": peak.resistance_ohm,
                "resistance_sigma_ohm": peak.resistance_sigma_ohm,
                "exponent": peak.exponent,
                "kind": peak.kind,
                "resolved": peak.resolved,
            }
        )
    return rows


def write_voltammetry(store: Store, log: CyclerLog) -> None:
    """Write table ``voltammetry``: current against voltage, by cycle."""
    store.write_table("voltammetry", voltammetry_table(log))


def voltammetry_table(log: CyclerLog) -> pd.DataFrame:
    """Return current against voltage, by cycle.

    Raises
    ------
    ValueError
        The log has no voltage or no current, or the voltage does not sweep.
    """
    import pandas as pd

    if log.voltage_V is None or log.current_A is None:
        raise ValueError("voltammetry needs a voltage and a current")
    keep = np.isfinite(log.voltage_V) & np.isfinite(log.current_A)
    voltage, current, time_s = log.voltage_V[keep], log.current_A[keep], log.time_s[keep]
    table = pd.DataFrame({"cycle": sweeps_of(voltage), "time_s": time_s, "voltage_V": voltage, "current_A": current})
    return table.iloc[:: max(1, len(table) // (4 * LOG_ROWS))]


def write_cycling(store: Store, log: CyclerLog, mass_mg: float | None) -> None:
    """Write table ``cycling``: capacities, efficiency and overpotential of each cycle."""
    store.write_table("cycling", cycling_table(log, mass_mg))


def cycling_table(log: CyclerLog, mass_mg: float | None = None) -> pd.DataFrame:
    """Return capacities, efficiency and overpotential of each cycle; per gram where a mass is given."""
    import pandas as pd

    table = pd.DataFrame([asdict(cycle) for cycle in cycles_of(log)])
    if mass_mg is not None:
        for way in ("charge", "discharge"):
            table[f"{way}_mAh_g"] = table[f"{way}_C"] / 3.6 / (mass_mg * 1e-3)
    return table
