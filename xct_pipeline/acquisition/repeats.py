"""Frames that were written more than once: counts fluctuate, so that no two frames of a camera are equal."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from xct_pipeline.acquisition.levels import Finding, Shares

Floats = npt.NDArray[np.floating[Any]]
MOST_APART, MOST_IN_A_ROW = 0.2, 0.9  # shares of a scan from which on nothing fluctuates in it
SAME_ANGLE = 1e-4  # radians


def repeated(shares: Shares, angles: Floats, known_bad: set[int]) -> list[Finding]:
    """Find projections that hold the counts of another one, at another angle: one frame that was written again.

    Parameters
    ----------
    shares : Shares
    angles : (angle,)
        Radians.
    known_bad : set of int
        Empty frames are alike.
    """
    order = [k for k in np.argsort(shares.checksum, kind="stable").tolist() if k not in known_bad]
    first: dict[float, int] = {}
    found = []
    for k in order:  # within equal ones in the order of the frames
        at = first.setdefault(float(shares.checksum[k]), k)
        if abs(np.angle(np.exp(1j * (angles[k] - angles[at])))) > SAME_ANGLE:
            found.append(k)
    in_a_row = all(k > 0 and shares.checksum[k] == shares.checksum[k - 1] for k in found)
    most = MOST_IN_A_ROW if in_a_row else MOST_APART
    # where most are alike nothing fluctuates: a simulation without noise, of what looks alike from all sides
    if not found or len(found) > most * (len(angles) - 1):
        return []
    text = "repeat another one count by count: one frame was written several times"
    return [Finding("projections", tuple(sorted(found)), text, True, float(len(found)))]
