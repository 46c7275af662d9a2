"""What is kept of logs, spectra, voltammograms and cycles: tables with their units."""

from __future__ import annotations

import pandas as pd

from xct_pipeline.electrochemistry.log import CyclerLog
from xct_pipeline.store.store import Store

LOG_ROWS = 5000
"""Rows of a log that are kept, thinned evenly."""

LOG_UNITS = {"time_s": "s", "charge_C": "C", "voltage_V": "V", "current_A": "A"}


def write_log(store: Store, record: CyclerLog) -> None:
    """Write table ``cycler``: charge, voltage and current against the log's time, thinned."""
    thin = max(1, len(record.time_s) // LOG_ROWS)
    columns = {"time_s": record.time_s[::thin], "charge_C": record.charge_C[::thin]}
    for name, values in (("voltage_V", record.voltage_V), ("current_A", record.current_A)):
        if values is not None:
            columns[name] = values[::thin]
    store.write_table("cycler", pd.DataFrame(columns), LOG_UNITS)
