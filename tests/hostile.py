"""What is made to harm, or might have been, and what it must not do: used by the tests of hostile input."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import tifffile
from command import Ended, xct

Make = Callable[[Path], list[object]]
SECONDS, BYTES, LINES = 10.0, 10**9, 14
DETECTOR = "entry/instrument/detector"
TIFF = '[[acquisition.tiff]]\nname = "{name}"\nprojections = "*.tif"\nangles = {angles}\n'
RANGE = "{ start = 0, stop = 180, count = 9 }"
GOOD = 'output = "store.zarr"\n[reconstruction]\ncenter = 3.5\n[acquisition]\nscans = ["scan.nxs"]\n'


def scan_file(file: Path, **changed: object) -> None:
    """Write a small scan: 12 frames of 6 x 8, the first two flats and darks; some datasets replaced, or left out."""
    rng = np.random.default_rng(0)
    key = np.array([1, 1, 2, 2, *[0] * 8])
    level = np.array([100, 1000, 10])[np.where(key == 0, 0, key)]
    values = {
        "definition": "NXtomo",
        f"{DETECTOR}/data".removeprefix("entry/"): (level[:, None, None] + rng.integers(0, 5, (12, 6, 8))).astype("u2"),
        f"{DETECTOR}/image_key".removeprefix("entry/"): key,
        "sample/rotation_angle": np.linspace(0, 180, 12),
        **{name.replace("__", "/"): value for name, value in changed.items()},
    }
    units = {name.split("@")[0]: value for name, value in values.items() if "@" in name}
    with h5py.File(file, "w") as opened:
        entry = opened.create_group("entry")
        for name, value in values.items():
            if "@" not in name and value is not None:
                entry[name] = value
        if isinstance(values["sample/rotation_angle"], np.ndarray):
            entry["sample/rotation_angle"].attrs["units"] = "degree"
        for name, unit in units.items():
            entry[name].attrs["units"] = unit


def configured(text: str) -> Callable[[Path], list[object]]:
    """Check a configuration beside a good scan."""

    def make(folder: Path) -> list[object]:
        scan_file(folder / "scan.nxs")
        (folder / "run.toml").write_bytes(text.encode())
        return ["check", folder / "run.toml"]

    return make


def raw(change: Callable[[Path], None]) -> Callable[[Path], list[object]]:
    """Check a good configuration of a scan that `change` writes."""

    def make(folder: Path) -> list[object]:
        (folder / "run.toml").write_text(GOOD)
        change(folder / "scan.nxs")
        return ["check", folder / "run.toml"]

    return make


def tiffs(angles: str, change: Callable[[Path], object] = str) -> Callable[[Path], list[object]]:
    """Check a configuration of TIFF files with some angles."""

    def make(folder: Path) -> list[object]:
        for k in range(9):
            tifffile.imwrite(folder / f"{k}.tif", np.ones((6, 8), "u2"))
        change(folder)
        (folder / "run.toml").write_text('output = "s.zarr"\n' + TIFF.format(name="a", angles=angles))
        return ["check", folder / "run.toml"]

    return make


def replaced(name: str, link: Callable[[Path], object]) -> Callable[[Path], list[object]]:
    """Check a scan of which one dataset is something else."""
    return raw(lambda file: scan_file(file, **{name: link(file.parent)}))


def pipe(folder: Path, name: str = "pipe.h5") -> Path:
    os.mkfifo(folder / name)
    return folder / name


def piped(folder: Path) -> None:
    (folder / "0.tif").unlink()
    pipe(folder, "0.tif")


def external(folder: Path) -> h5py.ExternalLink:
    return h5py.ExternalLink(pipe(folder).name, "/x")


def external_twice(folder: Path) -> h5py.ExternalLink:
    pipe(folder)
    with h5py.File(folder / "between.h5", "w") as file:
        file["soft"] = h5py.SoftLink("/hard/x")
        file["hard"] = h5py.ExternalLink("pipe.h5", "/")
    return h5py.ExternalLink("between.h5", "/soft")


def virtual(folder: Path) -> h5py.VirtualLayout:
    pipe(folder)
    layout = h5py.VirtualLayout((12, 6, 8), "u2")
    layout[:] = h5py.VirtualSource("pipe.h5", "x", (12, 6, 8))
    return layout


def with_dataset(name: str, **options: object) -> Callable[[Path], list[object]]:
    """Check a scan of which one dataset is made with these options of HDF5."""

    def change(file: Path) -> None:
        scan_file(file, **{name.replace("/", "__"): None})
        with h5py.File(file, "r+") as opened:
            opened.create_dataset(f"entry/{name}", **options)

    return raw(change)


def with_virtual(folder_change: Callable[[Path], h5py.VirtualLayout]) -> Callable[[Path], list[object]]:
    def change(file: Path) -> None:
        scan_file(file, instrument__detector__data=None)
        layout = folder_change(file.parent)
        with h5py.File(file, "r+") as opened:
            opened.create_virtual_dataset(f"{DETECTOR}/data", layout)

    return raw(change)


def seen(folder: Path) -> dict[str, tuple[int, int]]:
    """Return size and time of everything below a folder."""
    found = ((str(f.relative_to(folder)), f.lstat()) for f in folder.rglob("*"))
    return {name: (stat.st_size, stat.st_mtime_ns) for name, stat in found}


def peak() -> int:
    """Return the most memory that this process has held since it was last asked, in bytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))


def forget_peak() -> bool:
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return False
    return True


def assert_harmless(capsys: Any, outer: Path, make: Make, words: str) -> Ended:
    """One message with these words, exit code 1 or 2, soon, in little memory, and nothing of `outer` touched."""
    folder = outer / "outer" / "inner"
    folder.mkdir(parents=True)
    (outer / "victim").mkdir()
    (outer / "victim" / "precious").write_text("here")
    arguments = make(folder)
    before, measured = seen(outer), forget_peak()
    held, started = peak() if measured else 0, time.process_time()
    ended = xct(capsys, *arguments)
    assert time.process_time() - started < SECONDS
    assert not measured or peak() - held < BYTES
    assert ended.code in (1, 2), ended.out + ended.err
    assert words in ended.err, ended.out + ended.err
    assert len(ended.err.strip().splitlines()) <= LINES
    assert ended.err.count("xct: ") == 1
    assert not set(ended.out + ended.err) & {"\x1b", "\0", "\r"}
    assert seen(outer) == before  # not even the store is begun
    return ended
