"""Files of electrochemistry without any scan: what they are, what they hold, and what was taken for granted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from xct_pipeline.electrochemistry.drt import Relaxation, relaxation
from xct_pipeline.electrochemistry.impedance import holds_spectra, read_spectra
from xct_pipeline.electrochemistry.log import CyclerLog, read_log
from xct_pipeline.electrochemistry.options import LogOptions
from xct_pipeline.electrochemistry.spectrum import Spectrum


@dataclass(frozen=True)
class Found:
    """What files hold.

    Attributes
    ----------
    logs : tuple of (Path, CyclerLog)
    spectra : tuple of (Path, Spectrum, Relaxation)
    """

    logs: tuple[tuple[Path, CyclerLog], ...]
    spectra: tuple[tuple[Path, Spectrum, Relaxation], ...]

    def lines(self) -> list[str]:
        """Return a line or two per log and spectrum."""
        lines = []
        for path, log in self.logs:
            start = "start unknown" if log.start is None else f"start {log.start.isoformat(sep=' ')}"
            end, low, high = log.charge_C[-1], log.charge_C.min(), log.charge_C.max()
            lines.append(
                f"{path}: {len(log.time_s)} rows over {log.time_s[-1] - log.time_s[0]:g} s, {start}; charge {end:.6g} "
                f"C at the end ({low:.6g} to {high:.6g})"
            )
            lines += [f"  {note}" for note in log.notes]
        for _, spectrum, found in self.spectra:
            peaks = ", ".join(
                f"{p.resistance_ohm:.4g} +- {p.resistance_sigma_ohm:.2g} ohm at {p.tau_s:.3g} s" for p in found.peaks
            )
            lines.append(
                f"{spectrum.name}: series {found.series_resistance_ohm:.4g} ohm, polarisation "
                f"{found.polarisation_resistance_ohm:.4g} +- {found.polarisation_sigma_ohm:.2g} ohm; "
                f"{peaks or 'no peak'}{_blocked(found)}"
            )
            lines += [f"  {note}" for note in found.notes]
        return lines


def _blocked(found: Relaxation) -> str:
    return (
        "" if np.isinf(found.capacitance_F) else f"; not closed: a capacitance of {found.capacitance_F:.3g} F in series"
    )


def read_files(
    files: Sequence[Path], options: LogOptions, area_cm2: float | None = None, turned: bool = False
) -> Found:
    """Read logs and spectra.

    Raises
    ------
    ValueError
        What is wrong with a file.
    """
    logs, spectra = [], []
    for path in files:
        if not path.is_file():
            raise ValueError(f"the file {path} does not exist")
        if holds_spectra(path):
            for spectrum in read_spectra(path, area_cm2=area_cm2, turned=turned):
                spectra.append((path, spectrum, relaxation(spectrum)))
        else:
            logs.append((path, read_log(path, options=options)))
    return Found(tuple(logs), tuple(spectra))


def facts_of(found: Found) -> dict[str, Any]:
    """Return everything as plain values."""
    return {
        "logs": [log_facts(path, log) for path, log in found.logs],
        "spectra": [
            {"file": str(path), "spectrum": spectrum.name, **spectrum_facts(spectrum, result)}
            for path, spectrum, result in found.spectra
        ],
    }


def log_facts(path: Path, log: CyclerLog) -> dict[str, Any]:
    """Return a log's extent and charge."""
    return {
        "file": str(path),
        "rows": len(log.time_s),
        "duration_s": float(log.time_s[-1] - log.time_s[0]),
        "charge_C": float(log.charge_C[-1]),
        "charge_lowest_C": float(log.charge_C.min()),
        "charge_highest_C": float(log.charge_C.max()),
        "start": None if log.start is None else log.start.isoformat(),
        "gaps_s": [list(gap) for gap in log.gaps_s],
        "warnings": list(log.notes),
    }


def spectrum_facts(spectrum: Spectrum, found: Relaxation) -> dict[str, Any]:
    """Return what a spectrum says."""
    return {
        "frequencies": len(spectrum.frequency_Hz),
        "time_s": None if np.isnan(spectrum.time_s) else spectrum.time_s,
        "series_resistance_ohm": found.series_resistance_ohm,
        "series_resistance_sigma_ohm": found.series_sigma_ohm,
        "polarisation_resistance_ohm": found.polarisation_resistance_ohm,
        "polarisation_resistance_sigma_ohm": found.polarisation_sigma_ohm,
        "inductance_H": found.inductance_H,
        "capacitance_F": None if np.isinf(found.capacitance_F) else found.capacitance_F,
        "kk_residual": found.test.residual,
        "kk_violated": found.test.violated,
        "regularisation": found.strength,
        "regularisation_rule": found.rule,
        "peaks": [
            {
                "tau_s": peak.tau_s,
                "tau_sigma_s": peak.tau_sigma_s,
                "resistance_ohm": peak.resistance_ohm,
                "resistance_sigma_ohm": peak.resistance_sigma_ohm,
                "exponent": peak.exponent,
                "kind": peak.kind,
                "resolved": peak.resolved,
            }
            for peak in found.peaks
        ],
        "warnings": list(found.notes),
    }
