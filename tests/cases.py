"""Small scans of a disc with an insert and a void, and what beamlines do to them: the inputs of ``test_cases``."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import tifffile

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
    exposures: dict[str, float] = field(default_factory=dict)
    pixel_height: float | None = None
    energy: float | None = None
    start: str = ""
    center: float = CENTER

    @classmethod
    def make(
        cls,
        degrees: np.ndarray | None = None,
        light: float = 20000.0,
        dark: float = 200.0,
        seed: int = 7,
        rows: int = ROWS,
        **shape: Any,
    ) -> Raw:
        """Return a sound scan with Poisson noise."""
        rng = np.random.default_rng(seed)
        degrees = np.linspace(0, 180, 121) if degrees is None else degrees
        t = transmission(np.radians(degrees), **shape)
        width = t.shape[1]
        gain = light * (1 + 0.05 * np.sin(np.arange(width) / 9))
        counts = rng.poisson(dark + gain * np.repeat(t[:, None], rows, 1)).astype(float)
        flats = rng.poisson(np.broadcast_to(dark + gain, (6, rows, width))).astype(float)
        darks = rng.poisson(dark, (4, rows, width)).astype(float)
        return cls(degrees, counts, flats, darks, center=shape.get("center", CENTER))

    def write(self, folder: Path, form: str = "nxtomo", name: str = "scan") -> str:
        """Write ``nxtomo``, ``dxchange`` or ``tiff``; return the lines of ``[acquisition]`` that name it."""
        match form:
            case "nxtomo":
                self._nxtomo(folder / f"{name}.nxs")
                return f'scans = ["{name}.nxs"]\nenergy_keV = 30.0\n'
            case "dxchange":
                self._dxchange(folder / f"{name}.h5")
                return f'scans = ["{name}.h5"]\nenergy_keV = 30.0\n'
        return self._tiff(folder, name)

    def _stored(self, frames: np.ndarray) -> np.ndarray:
        return np.round(frames).astype(self.dtype) if np.dtype(self.dtype).kind in "ui" else frames.astype(self.dtype)

    def _nxtomo(self, path: Path) -> None:
        """Darks, half of the flats, projections, the other flats."""
        blocks = ((self.darks, 2), (self.flats[:3], 1), (self.projections, 0), (self.flats[3:], 1))
        data = np.concatenate([block for block, _ in blocks])
        key = np.concatenate([np.full(len(block), kind) for block, kind in blocks])
        angles = np.zeros(len(key))
        angles[key == 0] = self.angles
        with h5py.File(path, "w") as file:
            entry = file.create_group("entry")
            entry["definition"] = "NXtomo"
            if self.start:
                entry["start_time"] = self.start
            detector = entry.create_group("instrument/detector")
            detector["data"] = self._stored(data)
            detector["image_key"] = key
            if self.exposures:
                times = [self.exposures[{0: "projections", 1: "flats", 2: "darks"}[kind]] for kind in key]
                detector["count_time"] = np.array(times)
            for name, values in self.extra.items():
                detector[name] = values
            for axis, size in zip("xy", (self.pixel, self.pixel_height or self.pixel), strict=True):
                detector[f"{axis}_pixel_size"] = size
                detector[f"{axis}_pixel_size"].attrs["units"] = self.pixel_unit
            if self.energy:
                entry["instrument/beam/incident_energy"] = self.energy
                entry["instrument/beam/incident_energy"].attrs["units"] = "keV"
            entry["sample/rotation_angle"] = angles
            if self.unit:
                entry["sample/rotation_angle"].attrs["units"] = self.unit

    def _dxchange(self, path: Path) -> None:
        with h5py.File(path, "w") as file:
            group = file.create_group("exchange")
            for name, frames in (("data", self.projections), ("data_white", self.flats), ("data_dark", self.darks)):
                group[name] = self._stored(frames)
            group["theta"] = self.angles
            if self.unit:
                group["theta"].attrs["units"] = self.unit
            file["process/acquisition/flat_fields/flat_field_mode"] = "Both"
            detector = file.create_group("measurement/instrument/detector")
            for axis, size in zip("xy", (self.pixel, self.pixel_height or self.pixel), strict=True):
                detector[f"pixel_size_{axis}"] = size
                detector[f"pixel_size_{axis}"].attrs["units"] = self.pixel_unit
            for name, values in self.extra.items():
                detector[name] = values
            if self.exposures:
                detector["exposure_time"] = self.exposures["projections"]
                detector["exposure_time_flat"] = self.exposures["flats"]

    def _tiff(self, folder: Path, name: str) -> str:
        kinds = {"projections": self.projections, "flats": self.flats[:3], "flats_after": self.flats[3:]}
        for kind, frames in {**kinds, "darks": self.darks}.items():
            exposure = self.exposures.get(kind.split("_")[0])
            tags = [] if exposure is None else [(33434, "2I", 1, (round(1e6 * exposure), 1000000), False)]
            tifffile.imwrite(
                folder / f"{name}_{kind}.tif", self._stored(frames), extratags=tags, photometric="minisblack"
            )
        np.savetxt(folder / f"{name}_angles.txt", self.angles)
        files = "\n".join(f'{kind} = "{name}_{kind}.tif"' for kind in (*kinds, "darks"))
        return (
            f'[[acquisition.tiff]]\nname = "{name}"\n{files}\nangles = {{ file = "{name}_angles.txt" }}\n'
            "pixel_size_um = 10.0\nenergy_keV = 30.0\n[acquisition]\n"
        )


@dataclass(frozen=True)
class Case:
    """One kind of fault: how a scan is spoilt, what is told, and whether the values are right all the same."""

    kind: str
    spoil: Callable[[Raw], Raw | None]
    told: str
    right: bool = True
    settings: str = ""
    form: str = "nxtomo"
    within: float = 0.015


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
    raw.exposures = {"projections": 0.1, "flats": 0.2, "darks": 0.1}


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


def _three_quarters(raw: Raw) -> Raw:
    return Raw.make(np.arange(0, 270, 1.5))


def _both_ends(raw: Raw) -> Raw:
    return Raw.make(np.linspace(0, 360, 91))


def _stuck(raw: Raw) -> Raw:
    return Raw.make(np.concatenate([np.linspace(0, 45, 31), np.full(40, 45.0), np.linspace(46.5, 180, 90)]))


def _golden(raw: Raw) -> Raw:
    return Raw.make(np.arange(149) * 111.246117975 % 180)


def _wrapped(raw: Raw) -> Raw:
    return Raw.make((37.0 - 1.5 * np.arange(121)) % 360)


def _two_turns(raw: Raw) -> Raw:
    return Raw.make(np.arange(0, 720, 3.0))


def _lost_angles(raw: Raw) -> None:
    raw.angles = raw.angles.copy()
    raw.angles[[50, 90]] = 0.0


def _angles_nan(raw: Raw) -> None:
    raw.angles = raw.angles.copy()
    raw.angles[[50, 90]] = np.nan


def _radians_without_unit(raw: Raw) -> None:
    raw.angles, raw.unit = np.radians(raw.angles), ""


def _dim(raw: Raw) -> None:
    raw.projections[40:60] = raw.darks[0] + 0.4 * (raw.projections[40:60] - raw.darks[0])


def _dim_without_air(raw: Raw) -> Raw:
    narrow = Raw.make(width=56, center=27.7)
    _dim(narrow)
    return narrow


def _wrapped_counts(raw: Raw) -> Raw:
    bright = Raw.make(light=45000.0)
    for kind in ("projections", "flats", "darks"):
        setattr(bright, kind, np.round(getattr(bright, kind)).astype("u2").view("i2"))
    bright.dtype = "i2"
    return bright


def _negative_gap(raw: Raw) -> None:
    raw.dtype = "i4"
    for frames in (raw.flats, raw.projections):
        frames[:, :, 30:34] = -1
    raw.darks[:, :, 30:34] = 0


def _nan_block(raw: Raw) -> None:
    raw.dtype = "f4"
    raw.projections[60:80, 2:, 45:50] = np.nan


def _torn(raw: Raw) -> None:
    raw.projections[[30, 31], 2:] = raw.projections[[90, 91], 2:]


def _blocks_swapped(raw: Raw) -> None:
    there = raw.projections.copy()
    raw.projections[30:45], raw.projections[70:85] = there[70:85], there[30:45]


def _wobble(raw: Raw) -> Raw:
    shifts = np.random.default_rng(5).normal(0, 1.5, 121)
    degrees = np.linspace(0, 180, 121)
    moved = [transmission(np.radians([a]), center=CENTER + d)[0] for a, d in zip(degrees, shifts, strict=True)]
    light = np.median(raw.flats - raw.darks[0], axis=0)
    raw.projections = raw.darks[0] + light * np.array(moved)[:, None]
    return raw


def _flat_among_projections(raw: Raw) -> None:
    raw.projections[0] = raw.flats[0]


def _sample_in_all_flats(raw: Raw) -> None:
    raw.flats[:] = raw.projections[0]


def _edge_in_all_flats(raw: Raw) -> None:
    edge = transmission(np.zeros(1), center=CENTER + 62)[0]
    raw.flats = raw.darks[0] + (raw.flats - raw.darks[0]) * edge


def _one_row(raw: Raw) -> Raw:
    return Raw.make(rows=1)


def _odd_width(raw: Raw) -> Raw:
    return Raw.make(width=95)


def _tall_pixels(raw: Raw) -> None:
    raw.pixel_height = 2.5 * raw.pixel


def _too_narrow(raw: Raw) -> Raw:
    return Raw.make(width=26, center=12.4)


def _empty_beam(raw: Raw) -> None:
    raw.projections[:] = np.random.default_rng(3).poisson(raw.flats[:1], raw.projections.shape)


def _eight_bits(raw: Raw) -> Raw:
    few = Raw.make(light=200.0, dark=5.0)
    few.dtype = "u1"
    for frames in (few.flats, few.projections, few.darks):
        np.clip(frames, 0, 254, out=frames)
    return few


def _no_flats(raw: Raw) -> None:
    """Counts as they are, called transmission."""


def _logarithm_taken(raw: Raw) -> None:
    raw.dtype = "f4"
    raw.projections = -np.log((raw.projections - 200) / (raw.flats[0] - 200))


def _normalised(raw: Raw) -> None:
    raw.dtype = "f4"
    raw.projections = (raw.projections - 200) / (raw.flats.mean(axis=0) - 200)


WITHOUT = 'flats = "none"\ndarks = "none"'
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
    Case("three quarters of a turn", _three_quarters, ""),
    Case("a turn with both ends", _both_ends, ""),
    Case("a stage that stood still", _stuck, ""),
    Case("angles by the golden section", _golden, ""),
    Case("backwards, through zero", _wrapped, ""),
    Case("two turns", _two_turns, "the stage turns 1.99 times"),
    Case("angles lost, written as 0", _lost_angles, "projections 50 and 90 show another .* wrong angles"),
    Case("angles that are no numbers", _angles_nan, "2 angles are not numbers", right=False),
    Case("radians without a unit", _radians_without_unit, "states no unit: 3.142 in all, taken as radians"),
    Case("the same in Data Exchange", _radians_without_unit, "states no unit: 3.142 in all", form="dxchange"),
    Case("beam at 40 % for a while", _dim, ""),
    Case("the same without air in view", _dim_without_air, "the light changes at once, to 40 %", right=False),
    Case("counts beyond the type", _wrapped_counts, "flats are no brighter than the darks", right=False),
    Case("gap of the detector, -1", _negative_gap, "16 pixels hold no value"),
    Case("a block of NaN", _nan_block, "projections 60 to 79 .* not a number in up to 2.6 %"),
    Case("torn frames", _torn, "projections 30 and 31 show another mass or place"),
    Case("blocks of frames swapped", _blocks_swapped, "30 of 121 projections do not belong", right=False),
    Case("a stage that wobbles", _wobble, "shifted at random by 1.[345] columns"),
    Case("a flat among the projections", _flat_among_projections, "projection 0 shows another mass"),
    Case("sample in all flats", _sample_in_all_flats, "as bright as the flats: the sample was in", right=False),
    Case("its edge in all flats", _edge_in_all_flats, "part of the sample was in the flats", right=False),
    Case("one row", _one_row, ""),
    Case("an odd number of columns", _odd_width, ""),
    Case("pixels that are not square", _tall_pixels, "10 um wide and 25 um high", right=False),
    Case("the same in Data Exchange (y)", _tall_pixels, "10 um wide and 25 um high", right=False, form="dxchange"),
    Case("26 columns", _too_narrow, "at least 3 and 32", right=False, settings="center = auto"),
    Case("nothing in the beam", _empty_beam, "was a sample in the beam", right=False),
    Case("200 counts in a byte", _eight_bits, "", within=0.05),
    Case("exposures in Data Exchange", _exposure, "flats were exposed for 0.2 s", form="dxchange"),
    Case("exposures in tags of TIFF", _exposure, "flats were exposed for 0.2 s", form="tiff"),
    Case("pixel_mask in Data Exchange", _mask, "4 pixels hold no value", form="dxchange"),
    Case("counts called transmission", _no_flats, "these are counts", right=False, settings=WITHOUT, form="tiff"),
    Case("logarithm taken already", _logarithm_taken, "line integrals already", False, WITHOUT, "tiff"),
    Case("normalised already", _normalised, "", settings=WITHOUT, form="tiff"),
)
