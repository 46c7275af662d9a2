"""What may stand inside files that look right: objects, headers and packed data that lie about what they hold."""

from __future__ import annotations

import gzip
import struct
import unicodedata
import zipfile
from collections.abc import Callable
from pathlib import Path

import h5py
import hdf5plugin
import numpy as np
import pytest
import tifffile
from hostile import DETECTOR, GOOD, RANGE, Make, assert_harmless, configured, pipe, raw, scan_file, tiffs, with_dataset

DATA, KEY, ANGLES = "instrument/detector/data", "instrument/detector/image_key", "sample/rotation_angle"
VOLUME = 'output = "s.zarr"\n[[acquisition.volume]]\nname = "a"\nunit = "1/cm"\nvoxel_um = 1.0\ndata = "{data}"\n'
ECHEM = GOOD + '[electrochemistry]\nlog = "{log}"\n'
LAUGHS = "".join(f'<!ENTITY l{k} "{f"&l{k - 1};" * 10}">' for k in range(1, 10))


def opened(change: Callable[[h5py.File], object]) -> Make:
    """Check a scan that is changed after it was written."""

    def made(file: Path) -> None:
        scan_file(file)
        with h5py.File(file, "r+") as scan:
            change(scan)

    return raw(made)


def replaced_by(place: str, make: Callable[[h5py.Group, str], object]) -> Make:
    """Check a scan of which one dataset is removed and made anew."""

    def change(scan: h5py.File) -> None:
        del scan[f"entry/{place}"]
        parent, name = f"entry/{place}".rsplit("/", 1)
        make(scan[parent], name)

    return opened(change)


def of_type(place: str, dtype: object, shape: tuple[int, ...] = (12, 6, 8)) -> Make:
    return replaced_by(place, lambda group, name: group.create_dataset(name, shape, dtype))


def empty(place: str) -> Make:
    return replaced_by(place, lambda group, name: group.create_dataset(name, data=h5py.Empty("u2")))


def packed(chunk: bytes, **options: object) -> Make:
    """Check a scan whose first piece holds these bytes."""

    def make(group: h5py.Group, name: str) -> None:
        dataset = group.create_dataset(name, (12, 6, 8), "u2", chunks=(12, 6, 8), **options)
        dataset.id.write_direct_chunk((0, 0, 0), chunk)

    return replaced_by(DATA, make)


def cut_piece(dataset: h5py.Dataset) -> None:
    dataset.id.write_direct_chunk((0,), b"x")


def unknown_filter(group: h5py.Group, name: str) -> None:
    made = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    made.set_chunk((12, 6, 8))
    made.set_filter(255, h5py.h5z.FLAG_OPTIONAL, (1, 2, 3))
    space = h5py.h5s.create_simple((12, 6, 8))
    h5py.h5d.create(group.id, name.encode(), h5py.h5t.STD_U16LE, space, made)
    group[name].id.write_direct_chunk((0, 0, 0), b"x" * 100)


def far_sources(group: h5py.Group, name: str) -> None:
    """Frames from a file for each of very many numbers, none of which is there."""
    layout = h5py.VirtualLayout((12, 6, 8), "u2")
    for k in range(12):
        layout[k] = h5py.VirtualSource(f"../../gone_{k}.h5", "x", (6, 8))
    group.create_virtual_dataset(name, layout)


def of_itself(group: h5py.Group, name: str) -> None:
    layout = h5py.VirtualLayout((12, 6, 8), "u2")
    layout[:] = h5py.VirtualSource(".", f"/{DETECTOR}/data", (12, 6, 8))
    group.create_virtual_dataset(name, layout)


def ifd(*tags: tuple[int, int, int, int], big: bool = False) -> bytes:
    """Return a TIFF of one directory with these tags (code, type, count, value)."""
    if big:
        entries = b"".join(struct.pack("<HHQQ", *tag) for tag in tags)
        return b"II+\0\x08\0\0\0" + struct.pack("<QQ", 16, len(tags)) + entries + bytes(8)
    entries = b"".join(struct.pack("<HHII", *tag) for tag in tags)
    return b"II*\0" + struct.pack("<IH", 8, len(tags)) + entries + bytes(4)


def image(
    width: int, height: int, bits: int = 16, samples: int = 1, packing: int = 1, at: int = 8, n: int = 96
) -> bytes:
    tags = [(256, 4, 1, width), (257, 4, 1, height), (258, 3, 1, bits), (259, 3, 1, packing), (262, 3, 1, 1)]
    return ifd(*tags, (273, 4, 1, at), (277, 3, 1, samples), (278, 4, 1, height), (279, 4, 1, n))


def first_image(data: bytes) -> Make:
    return tiffs(RANGE, lambda folder: (folder / "0.tif").write_bytes(data))


def described(text: str, **options: object) -> Make:
    """Check TIFF files of which the first has a description."""
    return tiffs(
        RANGE,
        lambda folder: tifffile.imwrite(
            folder / "0.tif", np.ones((6, 8), "u2"), description=text, metadata=None, **options
        ),
    )


def volume(name: str, write: Callable[[Path], object], more: str = "") -> Make:
    """Check a volume of another program."""

    def make(folder: Path) -> list[object]:
        write(folder / name)
        (folder / "run.toml").write_text(VOLUME.format(data=name) + more)
        return ["check", folder / "run.toml"]

    return make


def npy(header: str, body: bytes = b"") -> Callable[[Path], object]:
    data = header.encode()
    return lambda file: file.write_bytes(b"\x93NUMPY\x02\x00" + struct.pack("<I", len(data)) + data + body)


def zarr_image(
    shape: tuple[int, ...], codecs: str = '{"name": "bytes", "configuration": {"endian": "little"}}'
) -> object:
    def write(folder: Path) -> None:
        (folder / "0").mkdir(parents=True)
        axes = ", ".join(f'{{"name": "{a}", "type": "space", "unit": "micrometer"}}' for a in "zyx")
        scale = '{"type": "scale", "scale": [1, 1, 1]}'
        datasets = f'[{{"path": "0", "coordinateTransformations": [{scale}]}}]'
        ome = f'{{"version": "0.5", "multiscales": [{{"axes": [{axes}], "datasets": {datasets}}}]}}'
        (folder / "zarr.json").write_text(f'{{"zarr_format": 3, "node_type": "group", "attributes": {{"ome": {ome}}}}}')
        (folder / "0/zarr.json").write_text(
            f'{{"zarr_format": 3, "node_type": "array", "shape": {list(shape)}, "data_type": "float32", '
            f'"chunk_grid": {{"name": "regular", "configuration": {{"chunk_shape": {list(shape)}}}}}, '
            f'"chunk_key_encoding": {{"name": "default", "configuration": {{"separator": "/"}}}}, '
            f'"fill_value": 0, "codecs": [{codecs}], "attributes": {{}}}}'
        )

    return write


def log(name: str, write: Callable[[Path], object]) -> Make:
    """Check a configuration with a file of a cycler."""

    def make(folder: Path) -> list[object]:
        arguments = configured(ECHEM.format(log=name))(folder)
        write(folder / name)
        return arguments

    return make


def workbook(inner: bytes) -> Callable[[Path], object]:
    """Write a workbook whose sheet unpacks to gigabytes."""

    def write(file: Path) -> None:
        with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
            names = ("[Content_Types].xml", "xl/workbook.xml", "xl/worksheets/sheet1.xml", "_rels/.rels")
            for name in names:
                archive.writestr(name, inner)

    return write


def gzipped(file: Path) -> None:
    with gzip.open(file, "wb", 9) as stream:
        for _ in range(1500):
            stream.write(bytes(2**20))


def two_forms(folder: Path) -> list[object]:
    """Two scans whose names are one name in two forms of Unicode."""
    for form in ("NFC", "NFD"):
        scan_file(folder / f"{unicodedata.normalize(form, 'é')}.nxs")
    return configured(GOOD.replace("scan.nxs", "*.nxs"))(folder)


CASES: dict[str, tuple[Make, str]] = {
    "frames of lists": (of_type(DATA, h5py.vlen_dtype("u2")), "expected counts"),
    "frames of words": (of_type(DATA, h5py.string_dtype()), "expected counts"),
    "frames of references": (of_type(DATA, h5py.ref_dtype), "expected counts"),
    "frames of regions": (of_type(DATA, h5py.regionref_dtype), "expected counts"),
    "frames of pairs": (of_type(DATA, np.dtype([("a", "u2"), ("b", "f4")])), "expected counts"),
    "frames of rows": (of_type(DATA, np.dtype(("u2", (3,)))), "scan.nxs"),
    "frames of bytes": (of_type(DATA, np.dtype("V7")), "expected counts"),
    "frames of nothing": (empty(DATA), "has shape None"),
    "keys of nothing": (empty(KEY), "is empty"),
    "angles of nothing": (empty(ANGLES), "is empty"),
    "keys of references": (of_type(KEY, h5py.ref_dtype, (12,)), "not numbers"),
    "angles of lists": (of_type(ANGLES, h5py.vlen_dtype("f8"), (12,)), "not numbers"),
    "angles of words": (of_type(ANGLES, h5py.string_dtype(), (12,)), "not numbers"),
    "keys beyond integers": (
        replaced_by(KEY, lambda g, n: g.create_dataset(n, data=np.full(12, 2**64 - 1, "u8"))),
        "image_key",
    ),
    "angles of huge exponents": (
        replaced_by(ANGLES, lambda g, n: g.create_dataset(n, data=np.linspace(-1e308, 1e308, 12))),
        "angle",
    ),
    "packed nonsense": (packed(b"nonsense" * 20, compression="gzip"), "scan.nxs"),
    "packed and cut": (
        packed(b"x\x9c", compression="gzip", shuffle=True, fletcher32=True),
        "shorter than its checksum",
    ),
    "keys that are cut": (
        replaced_by(KEY, lambda g, n: cut_piece(g.create_dataset(n, (12,), "u1", chunks=(12,), fletcher32=True))),
        "shorter than its checksum",
    ),
    **{
        f"packed with {name}": (packed(b"nonsense" * 20, **options), f"is packed with {name}")
        for name, options in {"bzip2": hdf5plugin.BZip2(), "SZ": hdf5plugin.SZ(), "SZ3": hdf5plugin.SZ3()}.items()
    },
    "packed in more than it says": (
        packed(gzip.zlib.compress(bytes(2**28), 9), compression="gzip"),
        "more than it can hold",
    ),
    "packed as nobody knows": (replaced_by(DATA, unknown_filter), "filter"),
    "sources that are gone": (replaced_by(DATA, far_sources), "gone_0.h5"),
    "sources that are itself": (replaced_by(DATA, of_itself), "scan.nxs"),
    "unit of a megabyte": (
        opened(lambda s: s[f"entry/{ANGLES}"].attrs.__setitem__("units", "m" * 60_000)),
        "is not known",
    ),
    "unit with an escape": (
        opened(lambda s: s[f"entry/{ANGLES}"].attrs.__setitem__("units", "\x1b[31mdeg")),
        "not known",
    ),
    "unit that is no text": (
        opened(lambda s: s[f"entry/{ANGLES}"].attrs.__setitem__("units", np.bytes_(b"\xff\xfe\x00"))),
        "not known",
    ),
    "frames of one pixel": (
        replaced_by(DATA, lambda g, n: g.create_dataset(n, data=np.ones((12, 1, 1), "u2"))),
        "scan",
    ),
    "frames without end, unlimited": (
        with_dataset(DATA, shape=(12, 6, 2**62), maxshape=(None, None, None), dtype="u1", chunks=(1, 1, 4096)),
        "scan.nxs",
    ),
    "an image of all pixels": (first_image(image(2**32 - 1, 2**32 - 1)), "0.tif"),
    "an image of no pixels": (first_image(image(0, 6)), "0.tif"),
    "an image of wide pixels": (first_image(image(8, 6, bits=65535)), "0.tif"),
    "an image of many colours": (first_image(image(8, 6, samples=65535)), "0.tif"),
    "an image that lies elsewhere": (first_image(image(8, 6, at=2**32 - 1)), "0.tif"),
    "an image of negative bytes": (first_image(image(8, 6, n=2**32 - 96)), "0.tif"),
    "an image packed as nobody knows": (first_image(image(8, 6, packing=65000)), "0.tif"),
    "an image packed as LZMA": (first_image(image(8, 6, packing=34925)), "0.tif"),
    "an image of many tags": (first_image(ifd(*[(65000, 4, 2**31, 8)] * 4000)), "0.tif"),
    "an image of tags without end": (first_image(b"II*\0\x08\0\0\0\xff\xff" + b"\1" * 40), "0.tif"),
    "a large TIFF of nothing": (first_image(ifd((256, 16, 2**60, 2**63), big=True)), "0.tif"),
    "images without end": (described(f"ImageJ=1.53\nimages={10**12}\nslices={10**12}\n"), "0.tif"),
    "images of a billion laughs": (
        described(f'<?xml version="1.0"?><!DOCTYPE OME [<!ENTITY l0 "ha">{LAUGHS}]><OME>&l9;</OME>'),
        "",
    ),
    "images in other files": (
        described(
            '<?xml version="1.0"?><OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06"><Image ID="Image:0">'
            '<Pixels ID="P:0" DimensionOrder="XYZCT" Type="uint16" SizeX="8" SizeY="6" SizeZ="9999999" SizeC="1" '
            'SizeT="9999999"><TiffData><UUID FileName="/dev/zero">urn:uuid:1</UUID></TiffData></Pixels></Image></OME>'
        ),
        "",
    ),
    "a volume of objects": (
        volume("a.npy", npy("{'descr': '|O', 'fortran_order': False, 'shape': (3, 3, 3), }\n")),
        "a.npy",
    ),
    "a volume without end": (
        volume("a.npy", npy("{'descr': '<f4', 'fortran_order': False, 'shape': (99999999, 99999999, 99999999), }\n")),
        "a.npy",
    ),
    "a volume of negative sides": (
        volume("a.npy", npy("{'descr': '<f4', 'fortran_order': False, 'shape': (-3, -3, 9), }\n", bytes(4096))),
        "a.npy",
    ),
    "a volume that is a program": (volume("a.npy", npy("__import__('os').system('touch /tmp/victim')\n")), "a.npy"),
    "a volume in lists": (volume("a.npy", npy("(" * 9_000 + ")" * 9_000 + "\n")), "a.npy"),
    "a volume of a header": (volume("a.npy", lambda f: f.write_bytes(b"\x93NUMPY\x02\x00\xff\xff\xff\xff{")), "a.npy"),
    "a volume of pairs": (
        volume("a.npy", npy("{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (3, 3, 3), }\n", bytes(108))),
        "a.npy",
    ),
    "raw numbers that are not there": (
        volume("a.raw", lambda f: f.write_bytes(bytes(64)), 'shape = [1000000, 1000000, 1000000]\ndtype = "float64"\n'),
        "a.raw",
    ),
    "raw numbers beyond": (
        volume(
            "a.raw",
            lambda f: f.write_bytes(bytes(64)),
            'shape = [4, 4, 4]\ndtype = "uint8"\nheader_bytes = 9223372036854775807\n',
        ),
        "",
    ),
    "raw numbers from a pipe": (
        volume("a.raw", lambda f: pipe(f.parent, f.name), 'shape = [4, 4, 4]\ndtype = "uint8"\n'),
        "a.raw",
    ),
    "a zarr in one piece": (volume("a.zarr", zarr_image((40_000, 40_000, 40_000))), "smaller chunks"),
    "a zarr of no voxels": (volume("a.zarr", zarr_image((0, 4, 4))), "a.zarr"),
    "a zarr of negative sides": (volume("a.zarr", zarr_image((-4, 4, 4))), "a.zarr"),
    "a zarr packed as nobody knows": (volume("a.zarr", zarr_image((4, 4, 4), '{"name": "../../evil"}')), "a.zarr"),
    "a workbook that unpacks": (log("log.xlsx", workbook(bytes(300 * 2**20))), "unpacks to"),
    "a workbook of laughs": (
        log("log.xlsx", workbook(f'<?xml version="1.0"?><!DOCTYPE x [<!ENTITY l0 "ha">{LAUGHS}]><x>&l9;</x>'.encode())),
        "log.xlsx",
    ),
    "a log that unpacks": (log("log.csv.gz", gzipped), "log.csv.gz"),
    "a log that is cut": (
        log("log.csv.gz", lambda f: f.write_bytes(gzip.compress(b"a,b\n1,2\n" * 999)[:40])),
        "log.csv",
    ),
    "a log of a binary file": (
        log("log.mpr", lambda f: f.write_bytes(b"BIO-LOGIC MODULAR FILE\x1a" + b"\xff" * 500)),
        "log.mpr",
    ),
    "a log of another": (log("log.nda", lambda f: f.write_bytes(b"NEWARE" + b"\xff" * 5000)), "log.nda"),
    "a log of one line": (log("log.csv", lambda f: f.write_text("time_s,voltage_V\n" + "1," * 10**7)), "log.csv"),
    "a log of open quotes": (
        log("log.csv", lambda f: f.write_text('time_s,voltage_V\n"' + "1,2\n" * 10**5)),
        "log.csv",
    ),
    "a log of huge numbers": (
        log("log.csv", lambda f: f.write_text("time_s,voltage_V\n" + "1e999999999,9e99999\n" * 99)),
        "log.csv",
    ),
    "names in two forms": (two_forms, "differ"),
    "numbers of huge exponents": (configured(GOOD + "energy_keV = 1e999999999999\n"), "energy_keV"),
    "a date out of time": (configured(GOOD + "energy_keV = 9999-99-99\n"), "not valid TOML"),
    "half a character": (configured(GOOD + 'x = "\\ud800"\n'), "not valid TOML"),
    "many tables": (configured(GOOD + "".join(f"[t{k}]\n" for k in range(50_000))), "more"),
    "many patterns": (configured(GOOD.replace('"scan.nxs"', ", ".join(['"**/*.nothing"'] * 2_000))), ""),
    "a pattern of brackets": (configured(GOOD.replace("scan.nxs", "[" * 5_000)), ""),
    "a pattern that backtracks": (configured(GOOD.replace("scan.nxs", "*a" * 40 + "b")), ""),
    "a scan in a scan": (configured(GOOD.replace("scan.nxs", "scan.nxs/inner.nxs")), "scan.nxs"),
    "an entry that leads out": (configured(GOOD.replace("scan.nxs", "scan.nxs::/../../victim")), "no such file"),
    "an entry without end": (configured(GOOD.replace("scan.nxs", "scan.nxs::" + "/a" * 100_000)), "scan.nxs"),
}


@pytest.mark.timeout(30)
@pytest.mark.parametrize("case", CASES)
def test_hostile(capsys, tmp_path, case):
    assert_harmless(capsys, tmp_path, *CASES[case])
