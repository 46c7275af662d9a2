"""Three small scans in the file layouts of several beamlines: the same counts, other files."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np
import tifffile
from cases import Raw

N = 61
DEGREES = np.linspace(0, 180, N)


@dataclass(frozen=True)
class Counts:
    """One scan."""

    projections: np.ndarray
    flats: np.ndarray
    darks: np.ndarray
    degrees: np.ndarray


def series(count: int = 3) -> list[Counts]:
    """Return scans of which each has counts of its own."""
    raw = Raw.make(DEGREES, width=48, center=23.6)
    stacks = [np.round(stack).astype(np.uint16) for stack in (raw.projections, raw.flats, raw.darks)]
    return [Counts(stacks[0] + k, stacks[1] + k, stacks[2] + k, DEGREES) for k in range(count)]


def detector(path: Path, data: np.ndarray, zero: float = 1e9, key: np.ndarray | None = None) -> Path:
    """Write frames as an areaDetector's HDF5 plugin does, with time stamps since 1990."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w") as file:
        group = file.create_group("entry/instrument/detector")
        group.attrs["NX_class"] = "NXdetector"
        group.create_dataset("data", data=data, chunks=(1, *data.shape[1:]))
        stamps = zero + 0.5 * np.arange(len(data))
        file["entry/instrument/NDAttributes/NDArrayTimeStamp"] = stamps
        file["entry/data/data"] = h5py.SoftLink("/entry/instrument/detector/data")
    return path


def values(path: Path, name: str, numbers: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w") as file:
        file[name] = numbers
    return path


def link(file: h5py.File, name: str, target: str, dataset: str = "entry/data/data") -> None:
    file[name] = h5py.ExternalLink(target, dataset)


def _nexus(path: Path, **links: tuple[str, str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w") as file:
        for name, (target, dataset) in links.items():
            link(file, f"entry/data/{name}", target, dataset)


DATA = "entry/data/data"


def hex_workflow(root: Path, scans: list[Counts]) -> None:
    for k, scan in enumerate(scans):
        zero = 1e9 + 1000 * k
        up = "../../../assets/det"
        if k == 0:
            detector(root / "assets/det/dark_scan_00041.h5", scan.darks, 1e9 - 200)
            detector(root / "assets/det/flat_scan_00041.h5", scan.flats, 1e9 - 100)
            where = root / "tomography/metadata/scan_00041/scan_00041.nxs"
            _nexus(where, dark=(f"{up}/dark_scan_00041.h5", DATA), flat=(f"{up}/flat_scan_00041.h5", DATA))
        detector(root / f"assets/det/proj_scan_{42 + k:05d}.h5", scan.projections, zero)
        values(root / f"assets/det/panda_scan_{42 + k:05d}.h5", "Angle", scan.degrees)
        name = f"scan_{42 + k:05d}"
        data, angle = (f"{up}/proj_{name}.h5", DATA), (f"{up}/panda_{name}.h5", "Angle")
        _nexus(root / f"tomography/metadata/{name}/{name}.nxs", data=data, rotation_angle=angle)


def hex_two_cameras(root: Path, scans: list[Counts]) -> None:
    detector(root / "assets/flat.h5", scans[0].flats)
    detector(root / "assets/dark.h5", scans[0].darks)
    _nexus(root / "scan_00001/scan_00001.nxs", flat=("../assets/flat.h5", DATA), dark=("../assets/dark.h5", DATA))
    for k in (0, 1):
        detector(root / f"assets/camera_{k}.h5", scans[k].projections)
    values(root / "assets/panda.h5", "Angle", DEGREES)
    links = {f"kinetix-det{2 * k + 1}": (f"../assets/camera_{k}.h5", DATA) for k in (0, 1)}
    _nexus(root / "scan_00002/scan_00002.nxs", **links, rotation_angle=("../assets/panda.h5", "Angle"))


def hex_averaged(root: Path, scans: list[Counts]) -> None:
    hex_workflow(root, scans[:1])
    for file in root.rglob("panda*.h5"):
        values(file, "Angle", np.repeat(DEGREES, 2) + np.tile([-0.1, 0.1], N))


def hex_scripts(root: Path, scans: list[Counts]) -> None:
    detector(root / "scan_00041/flat_00000.hdf", scans[0].flats)
    detector(root / "scan_00041/dark_00000.hdf", scans[0].darks)
    for k, scan in enumerate(scans):
        name = f"scan_{42 + k:05d}"
        detector(root / name / "proj_00000.hdf", scan.projections, 1e9 + 1000 * (k + 1))
        values(root / name / "panda.hdf", "Angle", scan.degrees)
        _nexus(root / name / f"{name}.nxs", data=("proj_00000.hdf", DATA), rotation_angle=("panda.hdf", "Angle"))


def hex_pairs(root: Path, scans: list[Counts]) -> None:
    detector(root / "dark_flat_00001/dark_flat.h5", np.concatenate([scans[0].darks, scans[0].flats]))
    for k, scan in enumerate(scans):
        detector(root / f"scan_{k + 1:05d}/proj.h5", scan.projections, 1e9 + 1000 * (k + 1))
        values(root / f"scan_{k + 1:05d}/panda.h5", "Angle", scan.degrees)


def fxi(root: Path, scans: list[Counts]) -> None:
    for k, scan in enumerate(scans):
        with h5py.File(root / f"fly_scan2_id_{9000 + k}.h5", "w") as file:
            file["img_tomo"], file["angle"] = scan.projections, scan.degrees
            for kind, stack in (("bkg", scan.flats), ("dark", scan.darks)):
                file[f"img_{kind}"], file[f"img_{kind}_avg"] = stack, stack.mean(0, keepdims=True)
            file["scan_time"], file["X_eng"], file["Pixel Size"] = 1.7e9 + 3600 * k, 8.5, "20.3nm"


def dx(root: Path, scans: list[Counts]) -> None:
    for k, scan in enumerate(scans):
        with h5py.File(root / f"scan_{k}.h5", "w") as file:
            file["exchange/data"], file["exchange/theta"] = scan.projections, scan.degrees
            file["exchange/data_white"], file["exchange/data_dark"] = scan.flats, scan.darks
            file["process/acquisition/start_date"] = f"2026-01-0{k + 1}T10:00:00+00:00"


def dx_pre_post(root: Path, scans: list[Counts]) -> None:
    for k, scan in enumerate(scans):
        with h5py.File(root / f"scan_{k}.h5", "w") as file:
            file["exchange/data"], file["exchange/theta"] = scan.projections, scan.degrees
            file["exchange/data_white_pre"], file["exchange/data_white_post"] = scan.flats[:3], scan.flats[3:]
            file["exchange/data_dark"] = scan.darks


def als_832(root: Path, scans: list[Counts]) -> None:
    for k, scan in enumerate(scans):
        with h5py.File(root / f"2026010{k}_sample.h5", "w") as file:
            group = file.create_group("sample")
            group.attrs["nangles"], group.attrs["angularrange"], group.attrs["pxsize"] = N, 180.0, 0.00065
            for i, image in enumerate(scan.projections):
                group[f"sample_0000_{i:04d}.tif"] = image[None]
            for kind, stack in (("bak", scan.flats), ("drk", scan.darks)):
                for i, image in enumerate(stack):
                    group[f"sample{kind}_{i:04d}.tif"] = image[None]


def i12(root: Path, scans: list[Counts]) -> None:
    detector(root / "projections.hdf", np.concatenate([scan.projections for scan in scans]))
    detector(root / "flats.hdf", scans[0].flats)
    detector(root / "darks.hdf", scans[0].darks)
    with h5py.File(root / "metadata.nxs", "w") as file:
        link(file, "entry1/tomo_entry/data/data", "projections.hdf")
        angles = np.concatenate([scan.degrees + 180 * k for k, scan in enumerate(scans)])
        file["entry1/tomo_entry/data/rotation_angle"] = angles
        file["entry1/information/number_projections"] = N


def i13(root: Path, scans: list[Counts]) -> None:
    for k, scan in enumerate(scans):
        stack = np.concatenate([scan.darks, scan.flats, scan.projections])
        detector(root / f"pco-{100 + k}.hdf", stack)
        other = len(scan.darks) + len(scan.flats)
        key = np.repeat([2, 1, 0], [len(scan.darks), len(scan.flats), N])
        with h5py.File(root / f"{100 + k}.nxs", "w") as file:
            entry = file.create_group("entry1/tomo_entry")
            entry["definition"] = "NXtomo"
            link(file, "entry1/tomo_entry/instrument/detector/data", f"pco-{100 + k}.hdf")
            entry["instrument/detector/image_key"] = key
            entry["sample/rotation_angle"] = np.r_[np.zeros(other), scan.degrees]
            file["entry1/start_time"] = f"2026-11-28T1{k}:00:00"


def nxtomo_entries(root: Path, scans: list[Counts]) -> None:
    with h5py.File(root / "series.nx", "w") as file:
        for k, scan in enumerate(scans):
            entry = file.create_group(f"entry{k:04d}")
            entry.attrs["NX_class"], entry["definition"] = "NXentry", "NXtomo"
            entry["instrument/detector/data"] = np.concatenate([scan.darks, scan.flats, scan.projections])
            entry["instrument/detector/image_key"] = np.repeat([2, 1, 0], [len(scan.darks), len(scan.flats), N])
            other = len(scan.darks) + len(scan.flats)
            entry["sample/rotation_angle"] = np.r_[np.zeros(other), scan.degrees]
            entry["start_time"] = f"2026-11-28T1{k}:00:00+01:00"


def petra(root: Path, scans: list[Counts]) -> None:
    for k, scan in enumerate(scans):
        folder = root / f"cell_{k}" / "tiff0000"
        folder.mkdir(parents=True)
        stack = np.concatenate([scan.darks, scan.flats, scan.projections])
        names = [f"cell_{i:06d}.tif" for i in range(len(stack))]
        for name, image in zip(names, stack, strict=True):
            tifffile.imwrite(folder / name, image)
        with h5py.File(root / f"cell_{k}" / f"cell_{k}_nexus.h5", "w") as file:
            data = file.create_group("entry/scan/data")
            other = len(scan.darks) + len(scan.flats)
            data["image_file/value"] = np.array([name.encode() for name in names])
            data["image_key/value"] = np.repeat([2, 1, 0], [len(scan.darks), len(scan.flats), N])
            data["s_rot/value"] = np.r_[np.zeros(other), scan.degrees]
            file["entry/hardware/beam_current/current/value"] = np.full(3, 100.0)
            file["entry/hardware/beam_current/current/time"] = np.array([0.0, 5000.0, 1e5])
            for name in ("image_file", "image_key", "s_rot"):
                data[f"{name}/time"] = 100.0 * np.arange(len(stack))
            file["entry/hardware/camera1/pixelsize"] = 0.00128


def images(root: Path, scans: list[Counts], write: Callable[[Path, np.ndarray], None], suffix: str) -> None:
    for k, scan in enumerate(scans):
        for kind, stack in (("projections", scan.projections), ("flat", scan.flats), ("dark", scan.darks)):
            folder = root / f"scan_{k:02d}" / kind
            folder.mkdir(parents=True)
            for i, image in enumerate(stack):
                write(folder / f"img_{i:04d}{suffix}", image)
        np.savetxt(root / f"scan_{k:02d}" / "angles.txt", scan.degrees)


def tiff_folders(root: Path, scans: list[Counts]) -> None:
    images(root, scans, lambda path, image: tifffile.imwrite(path, image, datetime="2026:01:02 03:04:05"), ".tif")


def tiff_names(root: Path, scans: list[Counts]) -> None:
    for k, scan in enumerate(scans):
        for i, image in enumerate(scan.projections):
            tifffile.imwrite(root / f"cell{k}_{i:04d}.tif", image)
    for kind, stack in (("ff", scans[0].flats), ("df", scans[0].darks)):
        for i, image in enumerate(stack):
            tifffile.imwrite(root / f"{kind}_{i:04d}.tif", image)
    np.savetxt(root / "theta.txt", DEGREES)


def edf_folders(root: Path, scans: list[Counts]) -> None:
    import fabio

    images(root, scans, lambda path, image: fabio.edfimage.EdfImage(data=image).write(str(path)), ".edf")


def unknown(root: Path, scans: list[Counts]) -> None:
    """A layout that no recipe knows."""
    for k, scan in enumerate(scans):
        with h5py.File(root / f"run{k:03d}.hdf5", "w") as file:
            file["acq/camera/frames"], file["acq/stage/theta_deg"] = scan.projections, scan.degrees
            file["acq/camera/open_beam"], file["acq/camera/dark_field"] = scan.flats, scan.darks
            file["acq/start_time"] = f"2026-01-0{k + 1}T00:00:00Z"


def swinging(root: Path, scans: list[Counts]) -> None:
    """A stage that goes to and fro: every second scan runs backwards."""
    stacks = [scan.projections[:: -1 if k % 2 else 1] for k, scan in enumerate(scans)]
    angles = [scan.degrees[:: -1 if k % 2 else 1] for k, scan in enumerate(scans)]
    with h5py.File(root / "swing.h5", "w") as file:
        file["exchange/data"], file["exchange/theta"] = np.concatenate(stacks), np.concatenate(angles)
        file["exchange/data_white"], file["exchange/data_dark"] = scans[0].flats, scans[0].darks


LAYOUTS: dict[str, Callable[[Path, list[Counts]], None]] = {
    writer.__name__: writer
    for writer in (
        *(hex_workflow, hex_two_cameras, hex_averaged, hex_scripts, hex_pairs, fxi, dx, dx_pre_post, als_832, i12),
        *(i13, nxtomo_entries, petra, tiff_folders, tiff_names, edf_folders, unknown, swinging),
    )
}
FIRST_ONLY = (
    "hex_workflow",
    "hex_two_cameras",
    "hex_averaged",
    "hex_scripts",
    "hex_pairs",
    "i12",
    "tiff_names",
    "swinging",
)
"""Layouts in which the flats and darks of the first scan serve for all."""
TIMED = (
    "hex_workflow",
    "hex_scripts",
    "hex_pairs",
    "fxi",
    "dx",
    "i12",
    "i13",
    "nxtomo_entries",
    "petra",
    "tiff_folders",
    "unknown",
)
