"""Formulas, masses of atoms and the attenuation of elements, from xraydb's tables without loading xraydb.

That loads sqlalchemy and half of scipy, half a second of every command. Its tables are one SQLite file, of which a few
rows are read here and evaluated to the same bits. Where they are laid out otherwise, xraydb itself is asked.

References
----------
W. T. Elam, B. D. Ravel, J. R. Sieber, Radiat. Phys. Chem. 63 (2002) 121.
"""

from __future__ import annotations

import contextlib
import functools
import json
import re
import sqlite3
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

TOKEN = re.compile(r"(?P<atom>[A-Z][a-z]*)|(?P<count>\d+\.?\d*(?:[eE][-+]?\d+)?)|(?P<bracket>[()])")
MASS = "SELECT molar_mass FROM elements WHERE element = ?"
PHOTO = "SELECT log_energy, log_photoabsorption, log_photoabsorption_spline FROM photoabsorption WHERE element = ?"
SCATTERED = "SELECT log_energy, log_{0}_scatter, log_{0}_scatter_spline FROM scattering WHERE element = ?"
CURVES = (PHOTO, SCATTERED.format("coherent"), SCATTERED.format("incoherent"))
"""Of the parts that leave a parallel beam, in the order in which they are summed."""


def atoms(formula: str) -> dict[str, float]:
    """Count the atoms of a formula with groups in brackets and decimal counts, in the order of their first mention.

    Raises
    ------
    ValueError
        It does not parse. Whether its symbols are those of elements is not looked at.
    """
    tokens = _tokens(formula)
    found: list[tuple[str, float]] = []
    weights, count = [1.0], 1.0  # read from its end: the count of a group is known before what is in it
    for kind, text in reversed(tokens):
        if kind == "count":
            count = float(text)
            continue
        if text == "(":
            weights.pop()
        elif text == ")":
            weights.append(weights[-1] * count)
        else:
            found.append(("H" if text == "D" else text, weights[-1] * count))
        count = 1.0
    total: dict[str, float] = {}
    for symbol, number in reversed(found):
        total[symbol] = total.get(symbol, 0.0) + number
    return total


def _tokens(formula: str) -> list[tuple[str, str]]:
    """Return kinds and texts of the symbols, counts and brackets of a formula."""
    text = re.sub(r"(?<!\d)\.", "0.", formula.replace(" ", ""))
    tokens: list[tuple[str, str]] = []
    place = depth = 0
    while place < len(text):
        match = TOKEN.match(text, place)
        if match is None:
            raise ValueError(f"unrecognized element or number: {text[place:]!r}")
        kind, token = str(match.lastgroup), match.group()
        depth += {"(": 1, ")": -1}.get(token, 0)
        counted = tokens and (tokens[-1][0] == "atom" or tokens[-1][1] == ")")
        if depth < 0 or (kind == "count" and not counted):
            raise ValueError(f"unexpected {token!r}")
        tokens.append((kind, token))
        place = match.end()
    if depth:
        raise ValueError("a bracket is not closed")
    return tokens


def is_element(symbol: str) -> bool:
    """Tell whether the tables name an element, as far as they can be read."""
    return _row(MASS, symbol) is not None


@functools.cache
def atomic_mass(symbol: str) -> float:
    """Return the mass of a mole of atoms of an element, g.

    Raises
    ------
    ValueError
        There is no such element.
    """
    row = _row(MASS, symbol)
    if row is None:
        import xraydb

        return float(xraydb.atomic_mass(symbol))
    return float(row[0])


def mass_attenuation(symbol: str, energy_eV: float) -> float:
    """Return the total attenuation of an element at 0.1 to 800 keV, cm2/g.

    Raises
    ------
    ValueError, IndexError
        It is not tabulated.
    """
    curves = _curves(symbol)
    if not curves:
        import xraydb

        return float(xraydb.mu_elam(symbol, energy_eV))
    place = np.log(np.array([energy_eV]))
    return float(sum(np.exp(_interpolated(curve, place[0])) for curve in curves))


@functools.cache
def _curves(symbol: str) -> list[npt.NDArray[np.float64]]:
    """Return energies, values and second derivatives of each part of an element, all logarithms; [] if not there."""
    rows = [_row(query, symbol) for query in CURVES]
    return [] if None in rows else [np.array([json.loads(text) for text in row]) for row in rows if row]


def _interpolated(curve: Any, at: Any) -> Any:
    """Return the value of a cubic spline between the points beside a place; as xraydb does, none at it is one."""
    x, y, second = curve
    below, above = np.flatnonzero(x < at), np.flatnonzero(x > at)  # near an edge some tables do not rise
    low, high = below[-1] if len(below) else 0, above[0] if len(above) else len(x) - 1
    step = x[high] - x[low]
    if not step > 0:
        raise ValueError("outside of the tables")
    a, b = (x[high] - at) / step, (at - x[low]) / step
    bent = (a * a - 1) * a * second[low] + (b * b - 1) * b * second[high]
    return a * y[low] + b * y[high] + (step * step / 6) * bent


def _row(query: str, symbol: str) -> tuple[Any, ...] | None:
    """Return what a query of the tables finds for an element, None where they do not have it or are not there."""
    package = find_spec("xraydb")
    if package is None or package.origin is None:
        return None
    file = Path(package.origin).with_name("xraydb.sqlite").as_uri()
    with contextlib.suppress(sqlite3.Error), contextlib.closing(sqlite3.connect(f"{file}?mode=ro", uri=True)) as tables:
        found = tables.execute(query, (symbol,)).fetchone()
        return None if found is None or None in found else tuple(found)
    return None
