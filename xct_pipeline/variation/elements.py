"""Mass and attenuation of elements, read from the tables that come with xraydb.

To import xraydb loads an SQL toolkit and SciPy's splines, half a second that every command would spend on a handful of
numbers. The tables are read as they lie in its file; the interpolation is Elam's, as xraydb has it, to the last bit.
"""

from __future__ import annotations

import contextlib
import functools
import importlib.util
import json
import re
import sqlite3
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

_PLAIN = re.compile(r"(?:[A-Z][a-z]?(?:\d+(?:\.\d+)?)?)+")
_ATOMS = re.compile(r"([A-Z][a-z]?)(\d+(?:\.\d+)?)?")


def count_atoms(formula: str) -> dict[str, float]:
    """Count the atoms of a formula; ValueError where it does not parse."""
    if _PLAIN.fullmatch(formula):
        atoms: dict[str, float] = {}
        for symbol, count in _ATOMS.findall(formula):
            atoms[symbol] = atoms.get(symbol, 0.0) + (float(count) if count else 1.0)
        if all(_rows("elements", "molar_mass", symbol) for symbol in atoms):
            return atoms
    import xraydb  # for groups in parentheses, and the words for what is wrong

    return dict(xraydb.chemparse(formula))


def atomic_mass(symbol: str) -> float:
    """Return the molar mass of an element, g/mol; KeyError for a symbol that is none."""
    (mass,) = _row("elements", "molar_mass", symbol)
    return float(mass)


def attenuation(symbol: str, energy_eV: float) -> float:
    """Return the total mass attenuation of an element: photoabsorption, coherent and incoherent scattering.

    Parameters
    ----------
    symbol : str
    energy_eV : float
        From 100 to 800,000 eV.

    Returns
    -------
    float
        cm2/g.

    Raises
    ------
    KeyError
        The element is not in the tables.

    References
    ----------
    W. T. Elam, B. D. Ravel, J. R. Sieber, Radiat. Phys. Chem. 63 (2002) 121.
    """
    total = _interpolated("photoabsorption", "photoabsorption", symbol, energy_eV)
    total += _interpolated("scattering", "coherent_scatter", symbol, energy_eV)
    total += _interpolated("scattering", "incoherent_scatter", symbol, energy_eV)
    return float(total)


def _interpolated(table: str, quantity: str, symbol: str, energy_eV: float) -> Any:
    """Interpolate a quantity by its cubic spline in the logarithms."""
    x, y, bend = _curve(table, quantity, symbol)
    at = np.log(1.0 * np.array([energy_eV]))
    low, high = np.where(x < at)[0], np.where(x > at)[0]
    i, j = low[-1:] if len(low) else [0], high[:1] if len(high) else [len(x) - 1]
    step = x[j] - x[i]
    a, b = (x[j] - at) / step, (at - x[i]) / step
    value = a * y[i] + b * y[j] + (step * step / 6) * ((a * a - 1) * a * bend[i] + (b * b - 1) * b * bend[j])
    return np.exp(value)[0]


@functools.cache
def _curve(table: str, quantity: str, symbol: str) -> tuple[npt.NDArray[np.float64], ...]:
    row = _row(table, f"log_energy, log_{quantity}, log_{quantity}_spline", symbol)
    return tuple(np.array(json.loads(text)) for text in row)


def _row(table: str, columns: str, symbol: str) -> tuple[Any, ...]:
    rows = _rows(table, columns, symbol)
    if not rows:
        raise KeyError(symbol)
    return rows[0]


@functools.cache
def _rows(table: str, columns: str, symbol: str) -> list[tuple[Any, ...]]:
    found = importlib.util.find_spec("xraydb")
    assert found is not None
    assert found.origin is not None
    file = Path(found.origin).with_name("xraydb.sqlite").resolve()
    with contextlib.closing(sqlite3.connect(f"{file.as_uri()}?mode=ro", uri=True)) as tables:
        return tables.execute(f"SELECT {columns} FROM {table} WHERE element = ?", (symbol,)).fetchall()
