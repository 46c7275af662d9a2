"""Stores behind ``https://`` or ``s3://``, for reading: zarr's own stores over fsspec, without markers and locks.

Chunks are checked by their checksums as on a disk; whether a run is still writing is not known.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from xct_pipeline.inputs import clean
from xct_pipeline.outputs import written_whole
from xct_pipeline.store import layout
from xct_pipeline.store.files import RefusedError, StoreError

SCHEMES = ("http", "https", "s3", "gs", "gcs", "abfs", "az")
SILENT_S = 30.0  # without a byte, after which a server is given up
RETRIES = 2  # of what an object server did not answer
EXTRA = 'it needs fsspec and what speaks this protocol: pip install "xct-pipeline[remote]"'


def is_remote(path: str | os.PathLike[str]) -> bool:
    """Tell whether a path is an address of a store elsewhere."""
    scheme, mark, _ = os.fspath(path).partition("://")
    return bool(mark) and scheme.lower() in SCHEMES


def options(url: str) -> dict[str, Any]:
    """Return options of fsspec with which a server that does not answer is not waited for without end."""
    scheme = url.partition("://")[0].lower()
    if scheme == "s3":
        silent = {"connect_timeout": SILENT_S, "read_timeout": SILENT_S, "retries": {"max_attempts": RETRIES}}
        return {"config_kwargs": silent}
    if not scheme.startswith("http"):
        return {}
    import aiohttp

    return {"client_kwargs": {"timeout": aiohttp.ClientTimeout(sock_connect=SILENT_S, sock_read=SILENT_S)}}


@contextmanager
def reaching(url: str, verb: Literal["read", "written"] = "read") -> Iterator[None]:
    """Turn whatever goes wrong on the way into one line."""
    try:
        yield
    except (StoreError, RefusedError):
        raise
    except ImportError as error:
        raise StoreError(f"{url}: {EXTRA} ({error})") from None
    except Exception as error:
        reason = " ".join(clean(str(error)).split())[:200] or type(error).__name__
        right = {"read": "read", "written": "write"}[verb]
        raise StoreError(
            f"{url}: cannot be {verb} ({reason}); check the address and the rights to {right} it"
        ) from None


def remote_attributes(url: str) -> dict[str, Any]:
    """Return the attributes of a group.

    Raises
    ------
    StoreError
        There is none at that address, or it cannot be reached.
    """
    with reaching(url):
        import zarr

        return dict(zarr.open_group(url, mode="r", storage_options=options(url)).attrs.asdict())


def remote_array(url: str) -> Any:
    """Return an array of zarr.

    Raises
    ------
    StoreError
        There is none at that address, or it cannot be reached.
    """
    with reaching(url):
        import zarr

        return zarr.open_array(url, mode="r", storage_options=options(url))


def fetch_report(url: str, folder: Path) -> Path:
    """Copy the report of a store elsewhere into a folder, as ``<store>_report.html``; return the file.

    Raises
    ------
    StoreError
        There is none, or it cannot be reached.
    """
    place = f"{url.rstrip('/')}/{layout.REPORT}"
    with reaching(place):
        import fsspec

        with fsspec.open(place, "rb", **options(place)) as stream:
            data = stream.read()
    stem = url.rstrip("/").rsplit("/", 1)[-1].partition(".")[0]
    file = folder / f"{stem}_{layout.REPORT}"
    with written_whole(file) as part:
        part.write_bytes(data)
    return file


def remote_facts(url: str) -> dict[str, Any]:
    """Return what a store elsewhere holds: scans, images with shape and unit, versions.

    Raises
    ------
    StoreError
        It is none of ours, or it cannot be reached.
    """
    url = url.rstrip("/")
    xct = remote_attributes(url).get("xct", {})
    if "order" not in xct:
        raise StoreError(f"{url}: no store of xct")
    images = {}
    for path in [*remote_attributes(f"{url}/OME").get("ome", {}).get("series", []), *xct.get("derived", [])]:
        own = remote_attributes(f"{url}/{path}").get("xct", {})
        identity = own.get("identity", {})
        images[path] = {
            "shape": identity.get("shape"),
            "axes": "".join(identity.get("axes") or ()),
            "unit": own.get("unit"),
            "voxel_um": identity.get("voxel_um"),
            "levels": (own.get("layout") or [None, None])[1],
        }
    return {
        "store": url,
        "order": xct["order"],
        "times_s": xct.get("times_s", {}),
        "warnings": [": ".join(part for part in entry if part) for entry in xct.get("warnings", [])],
        "images": images,
        "versions": xct.get("versions", {}),
    }
