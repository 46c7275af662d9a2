"""Input that was made to harm, or might have been: one message, exit code 1 or 2, soon, in little memory, no trace."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
import tifffile
from command import xct
from hostile import (
    DETECTOR,
    GOOD,
    RANGE,
    TIFF,
    assert_harmless,
    configured,
    external,
    external_twice,
    pipe,
    piped,
    raw,
    replaced,
    scan_file,
    tiffs,
    virtual,
    with_dataset,
    with_virtual,
)

from xct_pipeline.store.store import Store

HOSTILE = ("../../victim", "/tmp/victim", "", ".", "..", "a/b", "a\\\\b", "a\\nb", "\\u001b[31m", "[/b]", "[x]", "CON")
UNFIT = ("../../victim", "/tmp/victim", "a\nb", "\x1b", "noise")


def with_raw_bytes(file: Path) -> None:
    scan_file(file, instrument__detector__data=None)
    pipe(file.parent, "raw.bin")
    with h5py.File(file, "r+") as opened:
        opened.create_dataset(f"{DETECTOR}/data", shape=(12, 6, 8), dtype="u2", external=[("raw.bin", 0, 1152)])


def deep(file: Path) -> None:
    with h5py.File(file, "w") as opened:
        opened.create_group("/".join(["g"] * 3000))


def sparse(folder: Path) -> None:
    with (folder / "angles.txt").open("wb") as file:
        file.truncate(3 * 10**9)


def bomb(folder: Path) -> None:
    """An image that says it is 60000 x 60000 and holds a few bytes."""
    tifffile.imwrite(folder / "0.tif", np.zeros((600, 600), "u2"), compression="zlib", rowsperstrip=600)
    with tifffile.TiffFile(folder / "0.tif", mode="r+") as file:
        for tag in ("ImageWidth", "ImageLength", "RowsPerStrip"):
            file.pages[0].tags[tag].overwrite(60_000)


def store_with(name: str) -> Callable[[Path], list[object]]:
    """Export a store whose attributes name a scan so."""

    def make(folder: Path) -> list[object]:
        store = folder / "old.zarr"
        (store / ".xct").mkdir(parents=True)
        attributes = {"xct": {"scans": {name: ["x.nxs"]}}}
        (store / "zarr.json").write_text(json.dumps({"zarr_format": 3, "node_type": "group", "attributes": attributes}))
        return ["export", store]

    return make


def command(*arguments: str) -> Callable[[Path], list[object]]:
    """Give a pipe to a command."""

    def make(folder: Path) -> list[object]:
        return [a if a != "PIPE" else pipe(folder, "pipe.nxs") for a in arguments]

    return make


def config_pipe(folder: Path) -> list[object]:
    return ["check", pipe(folder, "run.toml")]


def scan_is_a_pipe(folder: Path) -> list[object]:
    (folder / "run.toml").write_text(GOOD)
    pipe(folder, "scan.nxs")
    return ["run", folder / "run.toml"]


def output_is_a_pipe(folder: Path) -> list[object]:
    pipe(folder, "store.zarr")
    return ["run", *configured(GOOD)(folder)[1:]]


def output_is(name: str, make: Callable[[Path], object] = str) -> Callable[[Path], list[object]]:
    """Run into a place where something else is."""

    def command(folder: Path) -> list[object]:
        make(folder)
        return ["run", *configured(GOOD.replace("store.zarr", name))(folder)[1:]]

    return command


def forged(folder: Path) -> None:
    """Somebody else's zarr group that bears what looks like the mark of a store."""
    (folder / "s.zarr/.xct").mkdir(parents=True)
    (folder / "s.zarr/.xct/store.json").write_text('{"made_by": "xct-pipeline", "format": 2, "scans": {}}')
    (folder / "s.zarr/zarr.json").write_text('{"zarr_format": 3, "node_type": "group", "attributes": {"theirs": 1}}')
    (folder / "s.zarr/scans/scan/volume").mkdir(parents=True)
    (folder / "s.zarr/scans/scan/volume/precious").write_text("here")


def state_beside(name: str) -> Callable[[Path], None]:
    """Somebody's file beside an empty folder called as that of a store's state is."""

    def make(folder: Path) -> None:
        (folder / "s.zarr/.xct").mkdir(parents=True)
        (folder / "s.zarr" / name).write_text("here")

    return make


def linked(target: str) -> Callable[[Path], None]:
    def make(folder: Path) -> None:
        (folder / "theirs").mkdir()
        (folder / "theirs/precious").write_text("here")
        (folder / "s.zarr").symlink_to(folder / target)

    return make


CASES: dict[str, tuple[Callable[[Path], list[object]], str]] = {
    **{
        f"{what} {k}": (configured(text.replace("NAME", name)), "cannot be a name")
        for k, name in enumerate(HOSTILE)
        for what, text in {
            "tiff": 'output = "s.zarr"\n' + TIFF.format(name="NAME", angles=RANGE),
            "material": GOOD + '[segmentation]\nnames = ["gas", "NAME", "ceramic"]\n',
            "region": GOOD + '[variation.regions."NAME"]\nlabel = "gas"\n',
            "fragment": GOOD + '[registration.fragments."NAME"]\nlabel = "gas"\n',
        }.items()
    },
    **{f"export {k}": (store_with(name), "cannot be") for k, name in enumerate(UNFIT)},
    "materials alike": (configured(GOOD + '[segmentation]\nnames = ["Gas", "gas", "x"]\n'), "differ by more than case"),
    "regions alike": (
        configured(GOOD + '[variation.regions.a]\nlabel = "x"\n[variation.regions.A]\nlabel = "x"\n'),
        "differ by more than case",
    ),
    "scans alike": (
        configured('output = "s"\n' + TIFF.format(name="a", angles=RANGE) + TIFF.format(name="A", angles=RANGE)),
        "differ by more than case",
    ),
    **{
        f"{key} {value}": (configured(f"{GOOD}{key} = {value}\n"), f"acquisition.{key}")
        for key, value in [
            *(("energy_keV", v) for v in ("1e9", "0", "-1", "1e-300", "nan", "inf")),
            *(("pixel_size_um", v) for v in ("1e-300", "1e9", "-inf")),
            ("distance_mm", "1e300"),
            ("binning", "1000000000"),
        ]
    },
    "count of angles": (tiffs("{ start = 0, stop = 180, count = 1000000000000 }"), "angles"),
    "angles without end": (tiffs("{ start = 0, stop = 1e300, count = 9 }"), "angles"),
    "angle file is a device": (tiffs('{ file = "/dev/zero" }'), "/dev/zero: not a file"),
    "angle file is a pipe": (tiffs('{ file = "pipe.h5" }', pipe), "not a file"),
    "angle file is a folder": (tiffs('{ file = "." }'), "not a file"),
    "angle file is gone": (tiffs('{ file = "gone.txt" }'), "gone.txt"),
    "angle file is large": (tiffs('{ file = "angles.txt" }', sparse), "3000000000 bytes"),
    "angle file of nobody": (tiffs('{ file = "~nosuchuser/a" }'), "no such user"),
    "tiff is a pipe": (tiffs(RANGE, piped), "0.tif"),
    "tiff is text": (tiffs(RANGE, lambda folder: (folder / "0.tif").write_text("II*\0 no")), "0.tif"),
    "tiff is a bomb": (tiffs(RANGE, bomb), "0.tif"),
    "output is empty": (configured(GOOD.replace("store.zarr", "")), "output"),
    "output of nobody": (configured(GOOD.replace("store.zarr", "~nosuchuser/s")), "no such user"),
    "output has a zero": (configured(GOOD.replace("store.zarr", "a\\u0000b")), "zero character"),
    "output is too long": (configured(GOOD.replace("store.zarr", "x" * 5000)), "too long"),
    "output is a pipe": (output_is_a_pipe, "is a file"),
    "output is a device": (configured(GOOD.replace("store.zarr", "/dev/null")), "is a file"),
    "output is here": (output_is("."), "not a store"),
    "output is above": (output_is(".."), "not a store"),
    "output is the configuration": (output_is("run.toml"), "is a file"),
    "output is a scan": (output_is("scan.nxs"), "is a file"),
    "output below a scan": (output_is("scan.nxs/a/b.zarr"), "below the file"),
    "output in a store": (output_is("s.zarr/inner.zarr", lambda f: Store(f / "s.zarr").begin()), "inside the store"),
    "output in a store's state": (output_is("s.zarr/.xct", lambda f: Store(f / "s.zarr").begin()), "inside the store"),
    "output is theirs by a link": (output_is("s.zarr", linked("theirs")), "not a store"),
    "output is a link to nothing": (output_is("s.zarr", linked("gone")), "leads nowhere"),
    "output is a circle": (output_is("s.zarr", linked("s.zarr")), "no folder can be there"),
    "output has a forged mark": (output_is("s.zarr", forged), "not a store"),
    "output has a state": (output_is("s.zarr", state_beside("data.bin")), "not a store"),
    "output looks left over": (output_is("s.zarr", state_beside("1.partial")), "not a store"),
    "output looks torn": (output_is("s.zarr", state_beside(".zarr.json.abcdef")), "not a store"),
    "lists in lists": (configured(GOOD + f"x = {'[' * 5000}{']' * 5000}\n"), "deep"),
    "tables in tables": (configured(f"{GOOD}{'.'.join('a' * 3000)} = 1\n"), "deep"),
    "inline tables": (configured(GOOD + f"x = {'{a=' * 3000}1{'}' * 3000}\n"), "deep"),
    "digits": (configured(GOOD + f"binning = {'9' * 10_000}\n"), "not valid TOML"),
    "large configuration": (configured(GOOD + "#" * 5_000_000), "bytes"),
    "zeros": (configured(GOOD + "\0" * 100), "not valid TOML"),
    "escape in a key": (configured(GOOD + '"\\u001b[31m" = 1\n'), "unknown key"),
    "many unknown keys": (configured(GOOD + "".join(f"k{k} = 1\n" for k in range(20_000))), "and 19990 more"),
    "many missing scans": (
        configured(GOOD.replace('"scan.nxs"', ", ".join(f'"gone_{k}.nxs"' for k in range(5_000)))),
        "and 4990 more",
    ),
    "configuration is a pipe": (config_pipe, "not a file"),
    "configuration is a device": (command("check", "/dev/zero"), "not a file"),
    "configuration is a folder": (command("check", "/"), "is a folder"),
    "scan is a pipe": (scan_is_a_pipe, "not a file"),
    "scan is a device": (configured(GOOD.replace("scan.nxs", "/dev/zero")), "not a file"),
    "scan of nobody": (configured(GOOD.replace("scan.nxs", "~nosuchuser/a.nxs")), "no such user"),
    "scan has a zero": (configured(GOOD.replace("scan.nxs", "a\\u0000")), "zero character"),
    "scan is too long": (configured(GOOD.replace("scan.nxs", "x" * 300)), "too long"),
    "scan without a name": (configured(GOOD.replace("scan.nxs", "")), "a folder"),
    "scan with an escape": (configured(GOOD.replace("scan.nxs", "\\u001b[31mred.nxs")), "no file matches"),
    "info of a pipe": (command("info", "PIPE"), "not a file"),
    "info of a device": (command("info", "/dev/zero"), "not a file"),
    "init of a pipe": (command("init", "PIPE"), "not a file"),
    "init of a device": (command("init", "/dev/zero"), "not a file"),
    "flats are a pipe": (configured(GOOD + 'flats = ["run.fifo"]\n'), "run.fifo"),
    "frames behind a pipe": (replaced("instrument__detector__data", external), "pipe.h5"),
    "frames behind two links": (replaced("instrument__detector__data", external_twice), "not a file"),
    "frames behind a device": (
        replaced("instrument__detector__data", lambda folder: h5py.ExternalLink("/dev/zero", "/x")),
        "/dev/zero",
    ),
    "keys behind a pipe": (replaced("instrument__detector__image_key", external), "not a file"),
    "angles behind a pipe": (replaced("sample__rotation_angle", external), "not a file"),
    "sources are a pipe": (with_virtual(virtual), "pipe.h5"),
    "bytes are a pipe": (raw(with_raw_bytes), "raw.bin"),
    "unit is a sum": (raw(lambda f: scan_file(f, **{"sample/rotation_angle@": "deg**(9**9**9)"})), "not known"),
    "unit is long": (raw(lambda f: scan_file(f, **{"sample/rotation_angle@": "m" * 60_000})), "not known"),
    "no columns": (with_dataset("instrument/detector/data", shape=(12, 6, 0), dtype="u2"), "empty"),
    "no frames": (with_dataset("instrument/detector/data", shape=(0, 6, 8), dtype="u2"), "empty"),
    "frames without end": (
        with_dataset("instrument/detector/data", shape=(2**40, 6, 8), dtype="u2", chunks=(1, 6, 8)),
        "damaged",
    ),
    "rows without end": (
        with_dataset("instrument/detector/data", shape=(12, 2**40, 8), dtype="u2", chunks=(1, 6, 8)),
        "damaged",
    ),
    "pieces of gigabytes": (
        with_dataset("instrument/detector/data", shape=(12, 40_000, 40_000), dtype="u2", chunks=(1, 40_000, 40_000)),
        "h5repack",
    ),
    "never written": (
        with_dataset("instrument/detector/data", shape=(9_000_000, 600, 800), dtype="u2", chunks=(9, 600, 800)),
        "values for 9000000 frames",
    ),
    "keys without end": (
        with_dataset("instrument/detector/image_key", shape=(2**40,), dtype="u1", chunks=(4096,)),
        "far more",
    ),
    "angles without an end": (
        with_dataset("sample/rotation_angle", shape=(2**40,), dtype="f8", chunks=(4096,)),
        "far more",
    ),
    "complex frames": (with_dataset("instrument/detector/data", shape=(12, 6, 8), dtype="c8"), "expected counts"),
    "frames of text": (with_dataset("instrument/detector/data", shape=(12, 6, 8), dtype="S4"), "expected counts"),
    "groups in groups": (raw(deep), "no tomography scan"),
    "frames are a circle": (
        replaced("instrument__detector__data", lambda folder: h5py.SoftLink("/entry/instrument/detector/data")),
        "scan.nxs",
    ),
    "frames are a folder": (replaced("instrument__detector__data", lambda folder: h5py.SoftLink("/entry")), "scan.nxs"),
}  # fmt: skip


@pytest.mark.timeout(60)
@pytest.mark.parametrize("case", CASES)
def test_hostile(capsys, tmp_path, case):
    assert_harmless(capsys, tmp_path, *CASES[case])


def test_half_floats_are_read_as_floats(capsys, tmp_path):
    scan_file(tmp_path / "scan.nxs")
    with h5py.File(tmp_path / "scan.nxs", "r+") as file:
        data = file[f"{DETECTOR}/data"][...]
        del file[f"{DETECTOR}/data"]
        file[f"{DETECTOR}/data"] = data.astype("f2")
    ended = xct(capsys, "info", tmp_path / "scan.nxs", "--json")
    assert ended.json["dtype"] == "float32"


@pytest.mark.parametrize(
    "name", ["a [b] c", "[x]", "[/b]x", "a*b", "a?", "scan (1)", "\x1b[31mred", "name\nbreak", "q'\"q"]
)
def test_every_file_name_can_be_worked_on(capsys, tmp_path, name):
    name = name.replace("/", "")
    folder = tmp_path / "data [1]"
    folder.mkdir()
    wide = np.repeat([1000, 100], [2, 10])[:, None, None] + np.arange(240).reshape(6, 40) % 7  # a centre can be found
    wide[2:4] = 10
    scan_file(folder / f"{name}.nxs", instrument__detector__data=wide.astype("u2"))
    assert xct(capsys, "init", folder / f"{name}.nxs", "-o", folder / "run.toml").code == 0
    ended = xct(capsys, "check", folder / "run.toml")
    assert ended.code == 0, ended.err
    assert "its name is" in ended.out
    assert "\x1b" not in ended.out
    facts = xct(capsys, "check", folder / "run.toml", "--json").json
    assert not set(facts["scans"][0]["name"]) & set("[]*?()\x1b\n'\"/")
