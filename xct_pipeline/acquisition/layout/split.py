"""One file, several scans: where a rotation that goes on, or swings, is cut into half turns."""

from __future__ import annotations

from itertools import pairwise
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt

Angles = npt.NDArray[np.float64]
How = Literal["rotation", "turn", "angles"]


class Part(NamedTuple):
    """Projections [first, stop) that make one scan; `problem` says why they do not."""

    first: int
    stop: int
    problem: str | None = None


def split(angles: Angles, how: How | int) -> list[Part]:
    """Cut the projections of one file into scans.

    Parameters
    ----------
    angles : numpy.ndarray
        Radians in order of time: going on and on (also modulo a turn), swinging to and fro, or jumping back.
    how : {'rotation', 'turn', 'angles'} or int
        Half turns, turns, so many projections each; or as the angles tell: every stretch in one direction is a scan
        where it is no longer than a turn, else its half turns are.

    Returns
    -------
    list of Part
        In order of time. Of two frames at the end of a half turn each half has one; one frame there begins the next.
    """
    n = len(angles)
    if isinstance(how, int):
        parts = [Part(k, min(k + how, n)) for k in range(0, n, how)]
        return [_short(p, f"{p.stop - p.first} of {how} projections") if p.stop - p.first < how else p for p in parts]
    found: list[Part] = []
    for first, stop in stretches(angles):
        path = np.unwrap(angles[first:stop])
        found += [Part(first + a, first + b, problem) for a, b, problem in _cut(path, how)]
    return found


def _short(part: Part, what: str) -> Part:
    return part._replace(problem=f"the rotation was cut short: {what}")


def stretches(angles: Angles) -> list[tuple[int, int]]:
    """Return the stretches [first, stop) in which the stage turns in one direction without a jump."""
    path = np.unwrap(angles)
    steps = np.diff(path)
    usual = float(np.median(np.abs(steps))) if len(steps) else 0.0
    jumps = np.flatnonzero(np.abs(steps) > max(8 * usual, np.radians(10))) + 1
    bounds = [0, *jumps.tolist(), len(path)]
    found = []
    for begin, end in pairwise(bounds):
        found += [(begin + a, begin + b) for a, b in _one_way(path[begin:end], usual)]
    return found


def _one_way(path: Angles, usual: float) -> list[tuple[int, int]]:
    """Cut a path where it turns round, by more than jitter; the frame at the turning point ends the way there."""
    found: list[tuple[int, int]] = []
    enough = max(3 * usual, np.radians(2))
    first = far = 0
    direction = 0.0
    for k in range(1, len(path)):
        if direction == 0.0:
            if abs(path[k] - path[first]) > enough:
                direction, far = float(np.sign(path[k] - path[first])), k
        elif direction * (path[k] - path[far]) > 0:
            far = k
        elif direction * (path[far] - path[k]) > enough:
            found.append((first, far + 1))
            first, far, direction = far + 1, k, -direction
    return [*found, (first, len(path))]


def _cut(path: Angles, how: How) -> list[tuple[int, int, str | None]]:
    """Cut a stretch in one direction into parts of a half turn or a turn; a rest is cut short."""
    way = np.abs(path - path[0])
    step = float(np.median(np.abs(np.diff(path)))) if len(path) > 1 else 0.0
    length = way[-1]
    whole = 2 * np.pi if how == "turn" else np.pi
    if how == "angles" and length <= 2 * np.pi * 1.02:
        whole = max(length, np.pi)
    cuts = [0]
    for k in range(1, int((length + step / 2) // whole) + 1):
        at = np.flatnonzero(np.abs(way - k * whole) < step / 2)
        if len(at) > 1:
            cuts.append(int(at[0]) + 1)
        elif len(at) == 1 and at[0] < len(path) - 1:
            cuts.append(int(at[0]))
        elif len(at) == 0 and (way > k * whole).any():
            cuts.append(int(np.argmax(way > k * whole)))
    cuts = sorted({cut for cut in cuts if cut < len(path)})
    parts: list[tuple[int, int, str | None]] = []
    for first, stop in zip(cuts, [*cuts[1:], len(path)], strict=True):
        turned = abs(path[stop - 1] - path[first])
        problem = None
        if turned < whole - 1.75 * step - 1e-9:
            what = f"{stop - first} projections over {np.degrees(turned):.4g} of {np.degrees(whole):.4g} degrees"
            problem = f"the rotation was cut short: {what}"
        parts.append((first, stop, problem))
    return parts
