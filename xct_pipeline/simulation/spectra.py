"""Impedance spectra of the simulated cell: the resistance of its interface follows the contact with the ceramic.

A conductor in contact over a share ``c`` of its area passes the same current through less of it, so the resistance of
the interface is that of full contact over ``c``; the time constant stays, as the capacitance shrinks with the contact.
The ceramic's grains and its bulk do not change.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from xct_pipeline.outputs import written_whole
from xct_pipeline.simulation.cell import ANODE_RADIUS, CERAMIC_TOP, CHANGE_BOTTOM, Cell, Change, sodium_bodies
from xct_pipeline.simulation.phantom import rasterize

Array = npt.NDArray[np.float64]

FREQUENCIES_HZ = np.logspace(6, -1, 57)
SERIES_OHM, INDUCTANCE_H = 20.0, 5e-7
CERAMIC = (30.0, 2e-6, 0.93)
"""Resistance (ohm), time constant (s) and exponent of the grain boundaries."""
INTERFACE = (25.0, 4e-3, 0.88)
"""The same of the interface in full contact."""
NOISE = 0.002
CONTACT_ABOVE = 8.0
"""Rows above the ceramic, in the layout, at which contact is counted; as far above voids that begin lower."""


def contact_of(cell: Cell, changes: Sequence[Change]) -> float:
    """Return the share of the anode's disc just above where stripping begins that has not lost half of its sodium."""
    row = round((CERAMIC_TOP + CONTACT_ABOVE + cell.change_bottom - CHANGE_BOTTOM) * float(cell.stretch[0]))
    lost = rasterize(sodium_bodies(list(changes)), cell.shape)[row]
    y, x = np.indices(lost.shape)
    middle = (np.array(lost.shape) - 1) / 2
    disc = np.hypot(y - middle[0], x - middle[1]) < ANODE_RADIUS * float(cell.stretch[1])
    return float(np.mean(lost[disc] > -0.5 * cell.materials.anode_density))


def impedance_ohm(contact: float) -> npt.NDArray[np.complex128]:
    """Return the impedance at all frequencies for a share of contact, without noise."""
    w = 2 * np.pi * FREQUENCIES_HZ
    ceramic, interface = (r / (1 + (1j * w * tau) ** a) for r, tau, a in (CERAMIC, INTERFACE))
    return np.asarray(SERIES_OHM + 1j * w * INDUCTANCE_H + ceramic + interface / contact)


def write_spectrum(path: Path, contact: float, rng: np.random.Generator) -> None:
    """Write a spectrum with noise in proportion to its modulus."""
    z = impedance_ohm(contact)
    z = z + NOISE * np.abs(z) * (rng.normal(size=z.size) + 1j * rng.normal(size=z.size))
    table = np.column_stack([FREQUENCIES_HZ, z.real, -z.imag])
    with written_whole(path) as part:
        np.savetxt(part, table, "%.12g", ",", header="freq/Hz,Re(Z)/Ohm,-Im(Z)/Ohm", comments="")
