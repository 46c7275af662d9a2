"""What a run leaves behind of itself: its steps with their outcome, and by what a later run sees that nothing is left.

The record is ``.xct/steps.json``. A run whose key (configuration, raw data, steps, code) is that of the record, and
whose images and tables are as the record says, has nothing to do. How runs of single scans ended is kept beside their
leases, until a run over the series has ended with all scans.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from xct_pipeline.engine.blocks import Pass
from xct_pipeline.engine.execution import PassResult, finished_pass
from xct_pipeline.engine.steps import Step, Steps
from xct_pipeline.inputs import read_bytes
from xct_pipeline.store import layout, ownership, provenance, seal
from xct_pipeline.store.files import write_atomic
from xct_pipeline.store.holder import lease_folder
from xct_pipeline.store.store import Store


@dataclass(frozen=True)
class Record:
    """The last run on a store.

    Attributes
    ----------
    key : str
        Changes with everything that the store is made from.
    complete : bool
        No scan and no step failed.
    steps : list of dict
        ``name`` and ``outcome`` (executed, reused, not needed, failed, not reached), in the order they ended in.
    digests : dict
        Under which each result is kept: one for a result, one for each plane in time of an image.
    tables : list
        Name, size and time of each.
    refused : list of str
        Why no mass was written.
    """

    key: str
    complete: bool
    steps: list[dict[str, str]]
    digests: dict[str, list[str]] = field(default_factory=dict)
    tables: list[list[Any]] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Ended:
    """How the last run of a scan by itself ended.

    Attributes
    ----------
    key : str
        Changes with everything that its volume is made from.
    problem : str or None
        Why it has no volume.
    digests : dict
        Under which its images are kept.
    """

    key: str
    problem: str | None = None
    digests: dict[str, list[str]] = field(default_factory=dict)


def record_file(store: Store) -> Path:
    """Return the file of the record."""
    return store.path / layout.STEPS


def write_record(store: Store, key: str, steps: Steps, complete: bool, refused: Sequence[str]) -> None:
    """Write down what a run did."""
    tables = provenance.file_identity((store.path / "tables").glob("*.csv"))
    record = Record(key, complete, steps.record(), steps.digests, tables, list(refused))
    write_atomic(record_file(store), seal.dumps(asdict(record), layout.STEPS))


def read_record(store: Store) -> Record | None:
    """Return the record of the last run, None where there is none that can be read."""
    try:
        return Record(**seal.loads(read_bytes(record_file(store)), layout.STEPS))
    except (OSError, ValueError, TypeError):
        return None


def finished(store: Store, key: str, planned: Sequence[Step]) -> tuple[Record, Mapping[str, PassResult]] | None:
    """Return the record and the images of a store in which nothing is left to be done, else None."""
    record = read_record(store)
    if record is None or not record.complete or record.key != key:
        return None
    folder = store.path / "tables"
    try:
        if provenance.file_identity(folder / name for name, *_ in record.tables) != record.tables:
            return None
    except OSError:
        return None
    images: dict[str, PassResult] = {}
    for step in planned:
        if isinstance(step, Pass):
            image = finished_pass(store, step, record.digests.get(step.name, ()))
            if image is None or not store.described(step.image):
                return None
            images[step.name] = image
    return record, images


def write_ended(store: Store, scan: str, ended: Ended) -> None:
    """Keep how the run of a scan ended; its lease is held."""
    file = ended_file(store, scan)
    write_atomic(file, seal.dumps(asdict(ended), file.relative_to(store.path).as_posix()))


def read_ended(store: Store, scan: str) -> Ended | None:
    """Return how the last run of a scan by itself ended, None where that is not known."""
    file = ended_file(store, scan)
    try:
        return Ended(**seal.loads(read_bytes(file), file.relative_to(store.path).as_posix()))
    except (OSError, ValueError, TypeError):
        return None


def forget_ended(store: Store) -> None:
    """Let go of how runs of single scans ended, and of their leases; the whole store is held."""
    if (store.path / layout.LEASES).is_dir():
        ownership.remove(store.path, layout.LEASES)


def ended_file(store: Store, scan: str) -> Path:
    """Return the file of how the last run of a scan by itself ended."""
    return lease_folder(store.path, scan) / "ended.json"
