"""Small scans of a disc with an insert and a void, and what beamlines do to them: the inputs of ``test_cases``."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import h5py
import numpy as np

PIXEL_CM = 1e-3
DISCS = ((0.0, 0.0, 30.0, 10.0), (9.0, 5.0, 7.0, 12.0), (-10.0, 4.0, 6.0, -10.0))  # x, y, radius, 1/cm on top
WIDTH, ROWS, CENTER = 96, 4, 49.3


def transmission(angles: np.ndarray, width: int = WIDTH, center: float = CENTER) -> np.ndarray:
    """Return (angle, column), averaged over each pixel."""
    total = np.zeros((len(angles), width))
    for shift in (-0.4, -0.2, 0.0, 0.2, 0.4):
        u = np.arange(width) + shift - center
        p = np.zeros_like(total)
        for x, y, radius, mu in DISCS:
            s = (x * np.cos(angles) + y * np.sin(angles))[:, None]
            p += 2 * mu * PIXEL_CM * np.sqrt(np.clip(radius**2 - (u - s) ** 2, 0, None))
        total += np.exp(-p) / 5
    return total


@dataclass
class Raw:
    """A scan in memory that a case spoils."""

    angles: np.ndarray
    projections: np.ndarray
    flats: np.ndarray
    darks: np.ndarray
    unit: str = "degree"
    pixel: float = 1e-5
    pixel_unit: str = "m"
    dtype: str = "u2"
    extra: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def make(cls, degrees: np.ndarray | None = None, light: float = 20000.0, dark: float = 200.0, **shape: Any) -> Raw:
        """Return a sound scan with Poisson noise."""
        rng = np.random.default_rng(7)
        degrees = np.linspace(0, 180, 121) if degrees is None else degrees
        t = transmission(np.radians(degrees), **shape)
        width = t.shape[1]
        gain = light * (1 + 0.05 * np.sin(np.arange(width) / 9))
        counts = rng.poisson(dark + gain * np.repeat(t[:, None], ROWS, 1)).astype(float)
        flats = rng.poisson(np.broadcast_to(dark + gain, (6, ROWS, width))).astype(float)
        return cls(degrees, counts, flats, rng.poisson(dark, (4, ROWS, width)).astype(float))

    def write(self, path: Path) -> None:
        """Write NXtomo: darks, half of the flats, projections, the other flats."""
        blocks = ((self.darks, 2), (self.flats[:3], 1), (self.projections, 0), (self.flats[3:], 1))
        data = np.concatenate([block for block, _ in blocks])
        key = np.concatenate([np.full(len(block), kind) for block, kind in blocks])
        angles = np.zeros(len(key))
        angles[key == 0] = self.angles
        with h5py.File(path, "w") as file:
            entry = file.create_group("entry")
            entry["definition"] = "NXtomo"
            detector = entry.create_group("instrument/detector")
            integer = np.dtype(self.dtype).kind in "ui"
            detector["data"] = np.round(data).astype(self.dtype) if integer else data.astype(self.dtype)
            detector["image_key"] = key
            for name, values in self.extra.items():
                detector[name] = values
            for axis in "xy":
                detector[f"{axis}_pixel_size"] = self.pixel
                detector[f"{axis}_pixel_size"].attrs["units"] = self.pixel_unit
            entry["sample/rotation_angle"] = angles
            entry["sample/rotation_angle"].attrs["units"] = self.unit


@dataclass(frozen=True)
class Case:
    """One kind of fault: how a scan is spoilt, what is told, and whether the values are right all the same."""

    kind: str
    spoil: Callable[[Raw], Raw | None]
    told: str
    right: bool = True
    settings: str = ""


def _dump(raw: Raw) -> None:
    raw.projections[60:68] = raw.darks[0]


def _late(raw: Raw) -> None:
    raw.projections[:2] = raw.darks[0]


def _empty(raw: Raw) -> None:
    raw.projections[[30, 90]] = 0


def _nan(raw: Raw) -> None:
    raw.dtype = "f4"
    raw.projections[[40, 70]] = np.nan


def _lit(raw: Raw) -> None:
    raw.darks[1] = raw.projections[0]


def _sample_in_flats(raw: Raw) -> None:
    raw.flats[:3] = raw.projections[0]


def _hits(raw: Raw) -> None:
    raw.flats[1, 1, ::9] = 60000


def _dark_flat(raw: Raw) -> None:
    raw.flats[4] = raw.darks[0]


def _exposure(raw: Raw) -> None:
    raw.flats = raw.darks[0] + 2 * (raw.flats - raw.darks[0])
    times = np.full(len(raw.darks) + len(raw.flats) + len(raw.projections), 0.1)
    times[4:7] = times[-3:] = 0.2
    raw.extra["count_time"] = times


def _twelve_bits(raw: Raw) -> None:
    for frames in (raw.flats, raw.projections):
        np.minimum(frames, 4095, out=frames)


def _gap(raw: Raw) -> None:
    raw.dtype = "u4"
    for frames in (raw.flats, raw.projections, raw.darks):
        frames[:, :, 30:34] = 2**32 - 1


def _wide_gap(raw: Raw) -> None:
    raw.dtype = "u4"
    for frames in (raw.flats, raw.projections, raw.darks):
        frames[:, :, 20:32] = 2**32 - 1


def _mask(raw: Raw) -> None:
    raw.extra["pixel_mask"] = np.zeros((ROWS, WIDTH), "u4")
    raw.extra["pixel_mask"][:, 40] = 1
    raw.projections[:, :, 40] = 7


def _hole(raw: Raw) -> Raw:
    degrees = np.linspace(0, 180, 241)
    return Raw.make(degrees[(degrees < 80) | (degrees > 89.4)])


def _wide_hole(raw: Raw) -> Raw:
    degrees = np.linspace(0, 180, 241)
    return Raw.make(degrees[(degrees < 80) | (degrees > 100)])


def _radians_called_degrees(raw: Raw) -> None:
    raw.angles = np.radians(raw.angles)


def _degrees_called_radians(raw: Raw) -> None:
    raw.unit = "rad"


def _pixels_in_px(raw: Raw) -> None:
    raw.pixel, raw.pixel_unit = 10.0, "px"


def _swapped(raw: Raw) -> None:
    raw.projections[[30, 70]] = raw.projections[[70, 30]] * 0 + np.roll(raw.projections[[70, 30]], 3, axis=2)


def _line_lost(raw: Raw) -> None:
    raw.projections[50:60, 2] = 0


def _swings(raw: Raw) -> Raw:
    there = np.linspace(0, 180, 91)
    return Raw.make(np.concatenate([there, there[::-1], there]))


CASES = (
    Case("sound", lambda raw: None, ""),
    Case("beam dump, 7 % of the projections", _dump, "projections 60 to 67 .* no beam", right=False),
    Case("late shutter", _late, "projections 0 and 1 .* no beam: left out"),
    Case("empty frames", _empty, "projections 30 and 90 are empty, all zero: left out"),
    Case("frames of NaN", _nan, "projections 40 and 70 hold no numbers: left out"),
    Case("shifted frames", _swapped, "another mass or place of the sample"),
    Case("rows not read", _line_lost, "zero in up to 25 % of their pixels: filled"),
    Case("a dark with light", _lit, "dark 1 holds .* the beam was on: left out"),
    Case("sample in half of the flats", _sample_in_flats, "flats 0 to 2 are darker .* the sample was in the beam"),
    Case("a flat without beam", _dark_flat, "flat 4 holds .* no beam: left out"),
    Case("hits on a flat", _hits, ""),
    Case("flats exposed twice as long", _exposure, "flats were exposed for 0.2 s"),
    Case("12 bits in 16", _twelve_bits, "counts pile up at 4095", right=False),
    Case("narrow gap of the detector", _gap, "16 pixels hold no value .* a gap of 4 columns at 30"),
    Case("wide gap of the detector", _wide_gap, "too wide to interpolate", right=False),
    Case("pixel_mask", _mask, "4 pixels hold no value"),
    Case("hole of 9 degrees", _hole, ""),
    Case("hole of 20 degrees", _wide_hole, "details may be off by 11 %"),
    Case("radians called degrees", _radians_called_degrees, "as radians it is half a turn", right=False),
    Case("the same, unit set", _radians_called_degrees, "", settings='angle_unit = "radian"'),
    Case("degrees called radians", _degrees_called_radians, "as degrees it is half a turn", right=False),
    Case("pixel size in px", _pixels_in_px, "unit 'px' is no length", right=False),
    Case("swinging scan", _swings, "3 times through half a turn"),
    Case("left out by hand", _late, "left out as .* 2 projections", settings="exclude.scan.projections = [[0, 2]]"),
)
