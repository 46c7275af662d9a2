"""More of what might harm, kind by kind: names, values, files of other sorts, and what a command is given."""

from __future__ import annotations

import json
import os
from pathlib import Path

import h5py
import numpy as np
import pytest
import tifffile
from hostile import (
    DETECTOR,
    GOOD,
    RANGE,
    TIFF,
    Make,
    assert_harmless,
    configured,
    pipe,
    raw,
    replaced,
    scan_file,
    tiffs,
    with_dataset,
)

NAMES = ("a:b", "a|b", "a\\tb", "...", " a", "a ", "a.", "-rf", "lpt1.txt", "x" * 101, "a\\u202eb", "\\u200b", "a%00b")
EDF = b"{\nDim_1 = 999999999 ;\nDim_2 = 999999999 ;\nDataType = UnsignedShort ;\n}\n"
UNITS = ("m**9**9**9", "1e400 deg", "deg^(9^9)", "(" * 9_000, "9" * 9_000 + " deg", "deg deg", "{0.__class__}", "10**9")
ECHEM = '[electrochemistry]\nlog = "LOG"\ntime = "time_s"\nvoltage = "voltage_V"\n'


def written(name: str, data: bytes) -> Make:
    """Tell what is in a file of some bytes."""

    def make(folder: Path) -> list[object]:
        (folder / name).write_bytes(data)
        return ["info", folder / name]

    return make


def logged(make_log: object) -> Make:
    """Check a configuration with a cycler's log."""

    def make(folder: Path) -> list[object]:
        arguments = configured(GOOD + ECHEM.replace("LOG", "log.csv"))(folder)
        make_log(folder / "log.csv")  # type: ignore[operator]
        return arguments

    return make


def beside(*arguments: str) -> Make:
    """Give a command the good scan, a configuration, somebody's zarr group and somebody's folder."""

    def make(folder: Path) -> list[object]:
        configured(GOOD)(folder)
        (folder / "theirs.zarr").mkdir()
        document = {"zarr_format": 3, "node_type": "group", "attributes": {"xct": {"scans": 3}, "ome": 7}}
        (folder / "theirs.zarr/zarr.json").write_text(json.dumps(document))
        (folder / "empty").mkdir()
        return [a.replace("@", f"{folder}/") for a in arguments]

    return make


def attribute(value: object) -> Make:
    """Check a scan whose unit of angles is something else."""

    def change(file: Path) -> None:
        scan_file(file)
        with h5py.File(file, "r+") as opened:
            opened["entry/sample/rotation_angle"].attrs["units"] = value

    return raw(change)


def values(name: str, array: object) -> Make:
    return raw(lambda file: scan_file(file, **{name.replace("/", "__"): array}))


def frames_at(file: str, place: str) -> Make:
    return replaced("instrument__detector__data", lambda _: h5py.ExternalLink(file, place))


def chunked_bomb(file: Path) -> None:
    """Frames that say they are gigabytes and are kilobytes of zeros that were compressed."""
    scan_file(file, instrument__detector__data=None)
    with h5py.File(file, "r+") as opened:
        shape = (12, 20_000, 20_000)
        data = opened.create_dataset(f"{DETECTOR}/data", shape, "u2", chunks=(1, 20_000, 20_000), compression="gzip")
        data.id.write_direct_chunk((0, 0, 0), b"x\x9c" + b"\0" * 100)


def circle_of_folders(folder: Path) -> list[object]:
    inner = folder / "a"
    for _ in range(12):
        inner.mkdir()
        (inner / "up").symlink_to(folder)
        (inner / "up2").symlink_to(folder)
        inner /= "b"
    return configured(GOOD.replace("scan.nxs", "**/*.nothing"))(folder)


def text_of_angles(text: str | bytes) -> Make:
    """Check TIFF files with angles from a file."""
    data = text if isinstance(text, bytes) else text.encode()
    return tiffs('{ file = "a.txt" }', lambda folder: (folder / "a.txt").write_bytes(data))


DATA = "instrument/detector/data"
KEY = "instrument/detector/image_key"
CASES: dict[str, tuple[Make, str]] = {
    **{
        f"{what} {name[:12]}": (configured(text.replace("NAME", name)), "cannot be a name")
        for name in NAMES
        for what, text in {
            "tiff": 'output = "s.zarr"\n' + TIFF.format(name="NAME", angles=RANGE),
            "material": GOOD + '[segmentation]\nnames = ["gas", "NAME", "ceramic"]\n',
        }.items()
    },
    "forms alike": (
        configured(
            'output = "s"\n' + TIFF.format(name="\u00e9", angles=RANGE) + TIFF.format(name="e\u0301", angles=RANGE)
        ),
        "differ by more than case",
    ),
    **{f"unit {unit[:12]}": (attribute(unit.encode().decode("unicode_escape", "replace")), "") for unit in UNITS},
    "unit is a number": (attribute(7), ""),
    "one frame": (values(DATA, np.ones((6, 8), "u2")), "scan.nxs"),
    "frames in four dimensions": (values(DATA, np.ones((12, 6, 8, 2), "u2")), "scan.nxs"),
    "frames are a number": (values(DATA, np.uint16(3)), "scan.nxs"),
    "frames are yes and no": (values(DATA, np.ones((12, 6, 8), bool)), "scan.nxs"),
    "keys are short": (values(KEY, np.zeros(5, int)), "scan.nxs"),
    "keys are text": (values(KEY, np.array([b"0"] * 12)), "scan.nxs"),
    "keys are strange": (values(KEY, np.full(12, -7)), "scan.nxs"),
    "keys are no numbers": (values(KEY, np.full(12, np.nan)), "scan.nxs"),
    "angles in two dimensions": (values("sample/rotation_angle", np.zeros((12, 2))), "scan.nxs"),
    "angles are text": (values("sample/rotation_angle", np.array([b"a"] * 12)), "scan.nxs"),
    "angles are no numbers": (values("sample/rotation_angle", np.full(12, np.nan)), "scan.nxs"),
    "angles are boundless": (values("sample/rotation_angle", np.full(12, 1e308)), "scan.nxs"),
    "no darks, all flats": (values(KEY, np.ones(12, int)), "scan.nxs"),
    "columns without end": (with_dataset(DATA, shape=(12, 6, 2**40), dtype="u2", chunks=(1, 6, 8)), "scan.nxs"),
    "a bomb of zeros": (raw(chunked_bomb), "scan.nxs"),
    "frames behind a folder": (
        replaced("instrument__detector__data", lambda f: h5py.ExternalLink(".", "/x")),
        "scan.nxs",
    ),
    "frames behind themselves": (frames_at("scan.nxs", f"/{DETECTOR}/data"), "scan.nxs"),
    "frames behind a memory": (frames_at("/proc/self/mem", "/x"), "/proc/self/mem"),
    "a cut scan": (raw(lambda f: (scan_file(f), os.truncate(f, 3000))), "scan.nxs"),
    "an empty scan": (raw(lambda f: f.touch()), "scan.nxs"),
    "a scan of zeros": (raw(lambda f: f.write_bytes(bytes(10**6))), "scan.nxs"),
    "angles backwards": (tiffs("{ start = nan, stop = 180, count = 9 }"), "angles"),
    "no angles": (tiffs("{ start = 0, stop = 180, count = 0 }"), "angles"),
    "fewer angles than none": (tiffs("{ start = 0, stop = 180, count = -9 }"), "angles"),
    "angle file is memory": (tiffs('{ file = "/proc/self/mem" }'), "/proc/self/mem"),
    "angle file is random": (tiffs('{ file = "/dev/urandom" }'), "not a file"),
    "angle file is bytes": (
        tiffs('{ file = "a.txt" }', lambda f: (f / "a.txt").write_bytes(bytes(range(256)) * 99)),
        "a.txt",
    ),
    "angle file is one line": (text_of_angles("1 " * 10**6), "a.txt"),
    "angle file is boundless": (text_of_angles("inf\n" * 9), "not numbers"),
    "tiff of floats in colour": (
        tiffs(RANGE, lambda f: tifffile.imwrite(f / "0.tif", np.ones((6, 8, 3), "u2"), photometric="rgb")),
        "0.tif",
    ),
    "tiff of another size": (tiffs(RANGE, lambda f: tifffile.imwrite(f / "3.tif", np.ones((7, 8), "u2"))), "3.tif"),
    "tiff is cut": (tiffs(RANGE, lambda f: os.truncate(f / "5.tif", 20)), "5.tif"),
    "tiff is empty": (tiffs(RANGE, lambda f: os.truncate(f / "0.tif", 0)), "0.tif"),
    **{
        f"value {line[:30]}": (configured(GOOD + line + "\n"), words)
        for line, words in [
            ("energy_keV = 1979-05-27", "energy_keV"),
            ("energy_keV = [1, 2]", "energy_keV"),
            ("energy_keV = '1e9'", "energy_keV"),
            ("energy_keV = true", "energy_keV"),
            ("pixel_size_um = 0.0", "pixel_size_um"),
            ("pixel_size_um = 1e308", "pixel_size_um"),
            ("binning = 0", "binning"),
            ("binning = 1.5", "binning"),
            ("distance_mm = nan", "distance_mm"),
            ("exclude = 5", "exclude"),
            ("__proto__ = 1", "unknown key"),
            ("scans = 1", "not valid TOML"),
            ("[reconstruction]", "not valid TOML"),
        ]
    },
    "scans are none": (configured(GOOD.replace('["scan.nxs"]', "[]")), "scans"),
    "scans are numbers": (configured(GOOD.replace('["scan.nxs"]', "[1]")), "scans"),
    "scans are nested": (configured(GOOD.replace('["scan.nxs"]', '[["scan.nxs"]]')), "scans"),
    "scans are all that there is": (configured(GOOD.replace("scan.nxs", "/proc/self/**/*")), ""),
    "scans go round": (circle_of_folders, "no file matches"),
    "scan is the memory": (configured(GOOD.replace("scan.nxs", "/proc/self/mem")), "/proc/self/mem"),
    "center is boundless": (configured(GOOD.replace("3.5", "1e308")), "center"),
    "center is none": (configured(GOOD.replace("3.5", "nan")), "center"),
    "not UTF-8": (lambda f: ["check", _bytes(f / "run.toml", b'output = "\xff\xfe"\n')], "run.toml"),
    "UTF-16": (lambda f: ["check", _bytes(f / "run.toml", GOOD.encode("utf-16"))], "run.toml"),
    "strings without end": (configured(GOOD + 'x = "' + "y" * 100_000), "not valid TOML"),
    "output is the root": (configured(GOOD.replace("store.zarr", "/")), "not a store"),
    "log is a pipe": (logged(lambda f: pipe(f.parent, f.name)), "log.csv"),
    "log is a device": (logged(lambda f: f.symlink_to("/dev/zero")), "log.csv"),
    "log is a folder": (logged(lambda f: f.mkdir()), "log.csv"),
    "log is bytes": (logged(lambda f: f.write_bytes(bytes(range(256)) * 99)), "log.csv"),
    "log is empty": (logged(lambda f: f.touch()), "log.csv"),
    "log has many columns": (
        logged(lambda f: f.write_text(",".join(f"c{k}" for k in range(30_000)) + "\n")),
        "log.csv",
    ),
    "log is large": (logged(lambda f: (f.touch(), os.truncate(f, 3 * 10**9))), "log.csv"),
    "no memory": (beside("run", "@run.toml", "--memory", "0"), "--memory"),
    "memory without end": (beside("run", "@run.toml", "--memory", "1e400GB"), "--memory"),
    "memory is no number": (beside("run", "@run.toml", "--memory", "nan"), "--memory"),
    "no workers": (beside("run", "@run.toml", "--workers", "0"), "workers"),
    "fewer workers than none": (beside("run", "@run.toml", "--workers", "-3"), "workers"),
    "no rows": (beside("run", "@run.toml", "--rows", "5:5"), "--rows"),
    "rows beyond": (beside("run", "@run.toml", "--rows", f"0:{'9' * 400}"), "rows"),
    "no stage": (beside("run", "@run.toml", "--until", "../../victim"), "until"),
    "verify theirs": (beside("verify", "@theirs.zarr"), "theirs.zarr"),
    "repair theirs": (beside("verify", "@theirs.zarr", "--repair"), "theirs.zarr"),
    "forget theirs": (beside("forget", "@theirs.zarr", "scan"), "theirs.zarr"),
    "forget out": (beside("forget", "@empty", "../../victim"), "empty"),
    "report of theirs": (beside("report", "@theirs.zarr"), ""),
    "export of a folder": (beside("export", "@empty"), "empty"),
    "export of a scan": (beside("export", "@scan.nxs"), "scan.nxs"),
    "export to nowhere": (beside("export", "@theirs.zarr", "-o", "/dev/null/x"), ""),
    "export as nothing": (beside("export", "@theirs.zarr", "--format", "exe"), "exe"),
    "cite a scan": (beside("cite", "@scan.nxs"), "scan.nxs"),
    "cite a device": (beside("cite", "/dev/zero"), "/dev/zero"),
    "verify a device": (beside("verify", "/dev/zero"), "/dev/zero"),
    "verify nothing": (beside("verify", "@nothing"), "nothing"),
    "info of memory": (beside("info", "/proc/self/mem"), "/proc/self/mem"),
    "info of a store of 7": (beside("info", "@theirs.zarr"), ""),
    "simulate nothing": (beside("simulate", "@new", "--width", "0"), "width"),
    "simulate without end": (beside("simulate", "@new", "--width", "1000000000"), ""),
    "simulate many": (beside("simulate", "@new", "--scans", "1000000000"), ""),
    "simulate below a file": (beside("simulate", "@scan.nxs/new"), "scan.nxs"),
    "init over a folder": (beside("init", "@scan.nxs", "-o", "@empty"), "empty"),
    "init over what is there": (beside("init", "@scan.nxs", "-o", "@run.toml"), "run.toml"),
    "init of everything": (beside("init", "@run.toml"), "run.toml"),
    "text called a scan": (written("scan.h5", b"hello"), "scan.h5"),
    "a TIFF of nothing": (written("a.tif", b"II*\0\x08\0\0\0\xff\xff"), "a.tif"),
    "a TIFF that goes round": (written("a.tif", b"II*\0\x08\0\0\0\0\0\x08\0\0\0"), "a.tif"),
    "an EDF without end": (written("a.edf", EDF), "a.edf"),
    "an image of no kind": (written("a.png", b"\x89PNG\r\n\x1a\n"), "a.png"),
}


def _bytes(file: Path, data: bytes) -> Path:
    file.write_bytes(data)
    return file


@pytest.mark.timeout(60)
@pytest.mark.parametrize("case", CASES)
def test_hostile(capsys, tmp_path, case):
    assert_harmless(capsys, tmp_path, *CASES[case])
