"""Images of a store for the tools people already use; the formats stand in `xct_pipeline.store.formats`."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from xct_pipeline.names import check_scan_name, shown
from xct_pipeline.outputs import written_whole
from xct_pipeline.store import layout
from xct_pipeline.store.derived import open_array
from xct_pipeline.store.files import RefusedError, StoreError, read_attributes
from xct_pipeline.store.formats import FORMATS, Exported, Format
from xct_pipeline.store.image import SPATIAL
from xct_pipeline.store.series import Series

VOLUMES, ALL = "volumes", "all"
SHORT = {"labels": layout.MATERIALS, "changes": layout.ATTENUATION}
"""Names of images beside the last part of their paths."""


def export_store(
    store: Path,
    format: str = "tiff",
    output: Path | None = None,
    scans: Sequence[str] | None = None,
    images: Sequence[str] = (VOLUMES,),
) -> Iterator[Path]:
    """Write images of a store in a format of other tools, one after the other; yield what was written.

    Each file (or folder) is written under another name and renamed when it is whole. No more than a shard of the store
    is held in memory.

    Parameters
    ----------
    store : Path
    format : str
        One of `FORMATS`.
    output : Path, optional
        Folder; ``<store>_export`` by default.
    scans : sequence of str, optional
        Names; all by default.
    images : sequence of str
        ``volumes`` (each scan in its own frame), ``registered``, ``labels``, ``density``, ``areal`` ... (the last part
        of an image's path), its whole path, or ``all``.

    Raises
    ------
    StoreError
        No such store, image or scan, or a scan whose name no file may have.
    RefusedError
        There is not enough space.
    ValueError
        Unknown format.
    """
    if format not in FORMATS:
        raise ValueError(f"--format {format}: choose one of {', '.join(FORMATS)}")
    series = Series.open(store)
    for name in series.scans:
        _require_name(store, name)
    groups = [group for name in images for group in _images_of(series, name, scans)]
    folder = output or store.with_name(f"{store.stem}_export")
    _require_space(folder, sum(item.nbytes for group in groups for item in group))
    for group in groups:
        yield from _write(FORMATS[format], folder, group)


def _write(form: Format, folder: Path, group: Sequence[Exported]) -> Iterator[Path]:
    """Write the scans of one image."""
    folder.mkdir(parents=True, exist_ok=True)
    stem = group[0].image.rsplit("/", 1)[-1]
    if form.together and group[0].t is not None:
        target = folder / f"{stem}{form.suffix}"
        with whole(target) as begun:
            form.write(begun, group)
        yield target
        return
    written = []
    for item in group:
        target = folder / f"{item.name}{form.suffix}"
        with whole(target) as begun:
            form.write(begun, [item])
        written.append((target.name, item))
        yield target
    if form.index is not None:
        target = folder / f"{stem}{form.index_suffix}"
        with whole(target) as begun:
            form.index(begun, written)
        yield target


@contextlib.contextmanager
def whole(target: Path) -> Iterator[Path]:
    """Give a name to write a file or folder under, which takes the place of `target` once it is whole.

    Raises
    ------
    StoreError
        A folder is there already that holds what no export wrote.
    """
    if target.is_dir():
        strange = next((f for f in target.iterdir() if not f.name.startswith(target.name)), None)
        if strange is not None:
            raise StoreError(f"{target} holds {strange.name}, which no export wrote; choose another --output")
    with written_whole(target) as begun:
        yield begun


def exportable(series: Series) -> dict[str, str]:
    """Return the images of a store that can be exported, by their short names; volumes of scans are left out."""
    found: dict[str, str] = {}
    for place in layout.IMAGES:
        if place.path.startswith(f"{layout.SCANS}/"):
            continue
        if "{" not in place.path:
            paths = [place.path] if series.has(place.path) else []
        else:
            paths = [f"{layout.LABELS}/{name}" for name in series.labels if place.matches(f"{layout.LABELS}/{name}")]
        found |= {path.rsplit("/", 1)[-1]: path for path in paths}
    return found


def _images_of(series: Series, name: str, scans: Sequence[str] | None) -> list[list[Exported]]:
    """Return what a name stands for: a list of images, each a list of scans."""
    there = exportable(series)
    if name == ALL:
        own = [_volumes(series, scans)] if series.volumes else []
        return own + [_along_t(series, path, scans) for path in there.values()]
    if name == VOLUMES:
        return [_volumes(series, scans)]
    path = SHORT.get(name, there.get(name, name))
    if path not in there.values():
        known = ", ".join([VOLUMES, *there])
        raise StoreError(f"{series.store.path} has no image {name}; it has: {known}")
    return [_along_t(series, path, scans)]


def _volumes(series: Series, scans: Sequence[str] | None) -> list[Exported]:
    missing = [name for name in scans or () if name not in series.volumes]
    if missing or not series.volumes:
        there = ", ".join(series.volumes)
        raise StoreError(
            f"{series.store.path} has no volume of {', '.join(map(shown, missing)) or 'any scan'}; it has: {there}"
        )
    return [_exported(series, series.volumes[name], name, None, name) for name in scans or series.volumes]


def _along_t(series: Series, path: str, scans: Sequence[str] | None) -> list[Exported]:
    names = series.along(path)
    missing = [name for name in scans or () if name not in names]
    if missing:
        raise StoreError(f"image {path} of {series.store.path} has no {missing[0]}; it has: {', '.join(names)}")
    stem = path.rsplit("/", 1)[-1]
    return [_exported(series, path, name, names.index(name), f"{stem}_{name}") for name in scans or names]


def _exported(series: Series, path: str, scan: str, t: int | None, name: str) -> Exported:
    folder = series.store.path / path
    xct = read_attributes(folder).get("xct", {})
    identity = xct.get("identity") or {}
    axes = "".join(axis for axis in identity["axes"] if axis in SPATIAL)
    step = 1.0 if identity["voxel_um"] is None else float(identity["voxel_um"])
    origin = tuple(float(o) * step for o in identity["origin"]) or (0.0,) * len(axes)
    times = dict(zip(series.scans, series.times_s, strict=True))
    time = times.get(scan)
    known = time is not None and time == time
    return Exported(
        name,
        open_array(folder / "0"),
        t,
        axes,
        str(xct.get("unit", "")),
        identity["voxel_um"],
        origin,
        scan,
        time if known else None,
        path,
        _about(series, path, scan),
    )


def _about(series: Series, path: str, scan: str) -> dict[str, Any]:
    facts = series.facts.get(scan, {})
    written = (series.store.path / path / "zarr.json").stat().st_mtime
    return {
        "program": "xct-pipeline",
        "version": series.versions.get("xct-pipeline", ""),
        "files": series.files.get(scan, []),
        "config": series.config,
        "date": datetime.fromtimestamp(written, UTC).isoformat(timespec="seconds"),
        "start": facts.get("start"),
        "sample": facts.get("sample"),
        "store": series.store.path.name,
    }


def _require_space(folder: Path, nbytes: int) -> None:
    """Refuse what the disk has no room for."""
    from dask.utils import format_bytes  # here because a report needs none of dask

    there = next(parent for parent in (folder, *folder.absolute().parents) if parent.exists())
    free = shutil.disk_usage(there).free
    if nbytes > free:
        raise RefusedError(
            f"{folder}: {format_bytes(nbytes)} are needed and {format_bytes(free)} are free; choose another --output, "
            "or some scans with --scan"
        )


def _require_name(store: Path, name: str) -> None:
    """Refuse a scan's name of which no file may be made: an old store, or one that was tampered with, may hold it."""
    try:
        check_scan_name(name)
    except ValueError as error:
        raise StoreError(f"{store}: {error}; rename the raw file and run again into another store") from None
