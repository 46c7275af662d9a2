"""What previews keep from one call to the next without a store: estimates, and slabs of rows that are slow to read."""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from xct_pipeline.boxes import Region
from xct_pipeline.config import Config
from xct_pipeline.engine.blocks import Array, Source
from xct_pipeline.outputs import user_cache
from xct_pipeline.store import provenance
from xct_pipeline.store.store import Store

log = logging.getLogger("xct")

KEPT_BYTES = 4e9  # of slabs; the ones that were not used for longest go first


def cache_folder() -> Path:
    """Return the folder of what previews keep; it may be deleted any time."""
    return user_cache() / "previews"


def estimates_of(config: Config) -> Store | None:
    """Return where the estimates of a configuration are cached: its store where a run has begun it, else apart.

    None where nothing can be written.
    """
    store = Store(config.store_path)
    if store.state.is_dir():
        return store
    apart = Store(cache_folder() / provenance.fingerprint(str(config.store_path))[:16])
    try:
        apart.state.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        log.debug("previews keep nothing: %s", error)
        return None
    return apart


@dataclass(frozen=True)
class KeptRows:
    """A source whose regions are kept in files.

    Parameters
    ----------
    source : Source
    identity : mapping
        Changes when what the source would give changes.
    """

    source: Source
    identity: Mapping[str, Any]

    def read(self, region: Region) -> Array:
        """Read a region, from its file where there is one."""
        place = [(part.start, part.stop) for part in region]
        file = cache_folder() / "slabs" / f"{provenance.fingerprint({**self.identity, 'region': place})}.npy"
        with contextlib.suppress(OSError, ValueError, EOFError):
            values = np.load(file)
            os.utime(file)
            return np.asarray(values)
        values = self.source.read(region)
        try:
            _keep(file, values)
        except OSError as error:
            log.debug("previews keep nothing: %s", error)
        return values

    def nbytes(self, region: Region) -> int:
        """Return the bytes that reading takes."""
        return self.source.nbytes(region)


def _keep(file: Path, values: Array) -> None:
    """Write a slab whole or not at all, and make room for it."""
    file.parent.mkdir(parents=True, exist_ok=True)
    slabs = sorted(file.parent.glob("*.npy"), key=lambda slab: slab.stat().st_mtime)
    while slabs and sum(slab.stat().st_size for slab in slabs) + values.nbytes > KEPT_BYTES:
        slabs.pop(0).unlink(missing_ok=True)
    if values.nbytes > KEPT_BYTES:
        return
    begun = file.with_suffix(f".{os.getpid()}.tmp")
    try:
        with begun.open("wb") as stream:
            np.save(stream, values)
        begun.replace(file)
    finally:
        begun.unlink(missing_ok=True)
