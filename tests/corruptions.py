"""What may go wrong with a scan, drawn: its kind, place, size, and the format of the file."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from cases import Raw
from hypothesis import strategies as st

Draw = Callable[[st.SearchStrategy], object]
N = 121


@dataclass(frozen=True)
class Corruption:
    """One kind: how it is drawn into a scan, and the words that name it."""

    name: str
    spoil: Callable[[Raw, Draw], Raw | None]
    named: str


def _frames(draw: Draw, most: int) -> np.ndarray:
    """A run of projections, or single ones."""
    count = draw(st.integers(1, most))
    if draw(st.booleans()):
        first = draw(st.integers(0, N - count))
        return np.arange(first, first + count)
    return np.array(sorted(draw(st.sets(st.integers(0, N - 1), min_size=count, max_size=count))))


def _columns(draw: Draw, most: int) -> slice:
    width = draw(st.integers(1, most))
    first = draw(st.integers(0, 96 - width))
    return slice(first, first + width)


def _lit_dark(raw: Raw, draw: Draw) -> None:
    light = draw(st.floats(0.005, 1.0))
    source = draw(st.sampled_from(["flats", "projections"]))
    raw.darks[draw(st.integers(0, 3))] += light * (getattr(raw, source)[0] - 200)


def _no_beam(raw: Raw, draw: Draw) -> None:
    where = _frames(draw, 8)
    raw.projections[where] = 200 + draw(st.floats(0, 0.01)) * (raw.projections[where] - 200)


def _dimmed(raw: Raw, draw: Draw) -> None:
    where = _frames(draw, 40)
    raw.projections[where] = 200 + draw(st.floats(0.1, 0.95)) * (raw.projections[where] - 200)


def _empty(raw: Raw, draw: Draw) -> None:
    raw.projections[_frames(draw, 6)] = 0


def _partly_empty(raw: Raw, draw: Draw) -> None:
    first = draw(st.integers(0, 3))
    raw.projections[_frames(draw, 30), first : first + draw(st.integers(1, 4))] = 0


def _nan_frames(raw: Raw, draw: Draw) -> None:
    raw.dtype = "f4"
    raw.projections[_frames(draw, 6)] = np.nan


def _nan_block(raw: Raw, draw: Draw) -> None:
    raw.dtype = "f4"
    raw.projections[_frames(draw, 30), :, _columns(draw, 12)] = draw(st.sampled_from([np.nan, np.inf]))


def _flats_exposed(raw: Raw, draw: Draw) -> None:
    factor = draw(st.floats(0.4, 2.5))
    raw.flats = 200 + factor * (raw.flats - 200)
    if draw(st.booleans()):
        raw.exposures = {"projections": 0.1, "flats": round(0.1 * factor, 6), "darks": 0.1}
        raw.flats = 200 + round(0.1 * factor, 6) / (0.1 * factor) * (raw.flats - 200)


def _one_group_exposed(raw: Raw, draw: Draw) -> None:
    raw.flats[3:] = 200 + draw(st.floats(0.4, 2.5)) * (raw.flats[3:] - 200)


def _flat_hits(raw: Raw, draw: Draw) -> None:
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    where = rng.choice(raw.flats[0].size, draw(st.integers(1, 40)), replace=False)
    raw.flats[draw(st.integers(0, 5))].reshape(-1)[where] = draw(st.sampled_from([40000, 60000, 65535]))


def _dark_hits(raw: Raw, draw: Draw) -> None:
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    where = rng.choice(raw.darks[0].size, draw(st.integers(1, 40)), replace=False)
    raw.darks[draw(st.integers(0, 3))].reshape(-1)[where] = draw(st.sampled_from([4000, 60000]))


def _saturated(raw: Raw, draw: Draw) -> None:
    limit = draw(st.floats(12000, 22000))
    for frames in (raw.flats, raw.projections):
        np.minimum(frames, round(limit), out=frames)


def _dark_flat(raw: Raw, draw: Draw) -> None:
    raw.flats[draw(st.integers(0, 5))] = raw.darks[0]


def _sample_in_flats(raw: Raw, draw: Draw) -> None:
    where = sorted(draw(st.sets(st.integers(0, 5), min_size=1, max_size=5)))
    raw.flats[where] = raw.projections[draw(st.integers(0, N - 1))]


def _sample_in_every_flat(raw: Raw, draw: Draw) -> None:
    raw.flats[:] = raw.projections[draw(st.integers(0, N - 1))]


def _unit(raw: Raw, draw: Draw) -> None:
    what = draw(st.sampled_from(["angles", "unit", "no unit"]))
    if what == "unit":
        raw.unit = "rad"
        return
    raw.angles = np.radians(raw.angles)
    raw.unit = "" if what == "no unit" else raw.unit


def _hole(raw: Raw, draw: Draw) -> None:
    first, width = draw(st.floats(0, 130)), draw(st.floats(3, 40))
    kept = (raw.angles < first) | (raw.angles > first + width)
    raw.angles, raw.projections = raw.angles[kept], raw.projections[kept]


def _lost_angles(raw: Raw, draw: Draw) -> None:
    raw.angles = raw.angles.copy()
    raw.angles[_frames(draw, 6)] = draw(st.sampled_from([0.0, -1.0, 360.0, np.nan]))


def _repeated(raw: Raw, draw: Draw) -> None:
    where = _frames(draw, 12)
    raw.projections[where] = raw.projections[where[0]]


def _swapped(raw: Raw, draw: Draw) -> None:
    width = draw(st.integers(1, 20))
    first = draw(st.integers(0, N - 2 * width))
    second = draw(st.integers(first + width, N - width))
    there = raw.projections.copy()
    raw.projections[first : first + width] = there[second : second + width]
    raw.projections[second : second + width] = there[first : first + width]


def _shifted(raw: Raw, draw: Draw) -> None:
    where = _frames(draw, 8)
    raw.projections[where] = np.roll(raw.projections[where], draw(st.integers(-30, 30)), axis=2)


def _gap(raw: Raw, draw: Draw) -> None:
    kind, value = draw(st.sampled_from([("u4", 2**32 - 1), ("i4", -1), ("f4", np.nan), ("u2", 0), ("u2", 65535)]))
    columns = _columns(draw, 10)
    raw.dtype = kind
    for frames in (raw.projections, raw.flats, raw.darks):
        frames[:, :, columns] = value


def _dead_pixels(raw: Raw, draw: Draw) -> None:
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    where = rng.choice(raw.darks[0].size, draw(st.integers(1, 12)), replace=False)
    value = draw(st.sampled_from([0, 65535, 5000]))
    for frames in (raw.projections, raw.flats, raw.darks):
        frames.reshape(len(frames), -1)[:, where] = value


def _flat_among(raw: Raw, draw: Draw) -> None:
    raw.projections[_frames(draw, 3)] = raw.flats[0]


def _stood_still(raw: Raw, draw: Draw) -> None:
    first, count = draw(st.integers(20, 60)), draw(st.integers(36, 44))
    lag = np.concatenate([raw.angles[:first], np.full(count, raw.angles[first]), raw.angles[first:]])[:N]
    raw.projections = Raw.make(lag).projections


def _another_range(raw: Raw, draw: Draw) -> None:
    raw.angles = raw.angles * draw(st.sampled_from([0.25, 0.5, 1.5, 2.0, 2.5]))


def _drifting(raw: Raw, draw: Draw) -> None:
    way = draw(st.floats(5, 9)) * np.linspace(0, 1, N)
    for frame, shift in zip(raw.projections, way, strict=True):
        whole, part = int(np.floor(shift)), shift - np.floor(shift)
        frame[:] = (1 - part) * np.roll(frame, whole, axis=1) + part * np.roll(frame, whole + 1, axis=1)


def _clipped(raw: Raw, draw: Draw) -> None:
    np.minimum(raw.projections, round(draw(st.floats(12000, 18000))), out=raw.projections)


def _dark_rows(raw: Raw, draw: Draw) -> None:
    rows = sorted(draw(st.sets(st.integers(0, 3), min_size=1, max_size=2)))
    for frames in (raw.projections, raw.flats):
        frames[:, rows] = raw.darks[0][rows]


def _digits_lost(raw: Raw, draw: Draw) -> None:
    step = draw(st.sampled_from([256, 512, 1000]))
    for frames in (raw.projections, raw.flats, raw.darks):
        frames[:] = np.round(frames / step) * step


def _another_scale(raw: Raw, draw: Draw) -> None:
    raw.projections = raw.projections * draw(st.sampled_from([0.0625, 0.25, 0.5, 2.0, 3.0]))


def _rings(raw: Raw, draw: Draw) -> None:
    """Dirt that came after the flats, but for where it may be the sample: at walls, the axis, and images about it."""
    for first, last in draw(st.sets(st.sampled_from([(4, 11), (28, 35), (57, 62)]), min_size=1)):
        width = draw(st.integers(1, 3))
        columns = slice(left := draw(st.integers(first, last - width)), left + width)
        raw.projections[:, :, columns] = 200 + np.exp(draw(st.floats(0.15, 0.4)) * draw(st.sampled_from([-1, 1]))) * (
            raw.projections[:, :, columns] - 200
        )


CORRUPTIONS = (
    Corruption("a lit dark", _lit_dark, "darks? .*light"),
    Corruption("no beam", _no_beam, "no beam"),
    Corruption("a dimmed beam", _dimmed, "light changes|beam"),
    Corruption("empty frames", _empty, "empty, all zero"),
    Corruption("rows not read", _partly_empty, "zero"),
    Corruption("frames of NaN", _nan_frames, "no numbers"),
    Corruption("blocks of NaN", _nan_block, "not a number|no numbers|not finite|hold no value"),
    Corruption("flats of another exposure", _flats_exposed, "expos"),
    Corruption("flats before and after of other exposures", _one_group_exposed, "expos"),
    Corruption("hits on a flat", _flat_hits, "flats? .*(saturated|hits|pile)"),
    Corruption("hits on a dark", _dark_hits, "darks? "),
    Corruption("saturation", _saturated, "saturated|full"),
    Corruption("a flat without beam", _dark_flat, "no beam"),
    Corruption("sample in some flats", _sample_in_flats, "flats? .*sample"),
    Corruption("sample in all flats", _sample_in_every_flat, "flats.*sample"),
    Corruption("wrong unit", _unit, "half a turn|radians"),
    Corruption("missing angles", _hole, "angles cover"),
    Corruption("lost angles", _lost_angles, "wrong angles|not numbers|angles|place"),
    Corruption("repeated frames", _repeated, "same|repeat|place|jumps"),
    Corruption("swapped frames", _swapped, "order|wrong angles|place|jumps"),
    Corruption("shifted frames", _shifted, "shifted|jumps"),
    Corruption("gap of the detector", _gap, "no value|gap of the detector"),
    Corruption("dead pixels", _dead_pixels, "no value|saturated|zero"),
    Corruption("a stage that stood still", _stood_still, "circle|jumps|place|order|repeat"),
    Corruption("angles of another range", _another_range, "circle|angles cover|place"),
    Corruption("a sample that drifts", _drifting, "circle|beyond the detector|no margin"),
    Corruption("clipped projections", _clipped, "clipped|saturated"),
    Corruption("rows without light", _dark_rows, "rows? .* light"),
    Corruption("lost digits", _digits_lost, "steps of"),
    Corruption("projections of another scale", _another_scale, "expos"),
    Corruption("rings", _rings, "rings:"),
    Corruption("a flat among projections", _flat_among, "not projections|mass"),
)
