"""A whole store into a bucket, resumed where it was interrupted, never readable while it is half there."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from xct_pipeline.store import ownership, remote, seal
from xct_pipeline.store.files import StoreError
from xct_pipeline.store.layout import STATE
from xct_pipeline.store.marker import digest_of
from xct_pipeline.store.store import Store
from xct_pipeline.store.verify import verify

ROOT = "zarr.json"
MANIFEST = f"{STATE}/uploaded.json"
READ_ONLY = ("http", "https")
AT_ONCE = 64  # files between two notes of what has arrived
OF_THIS_MACHINE = {f"{STATE}/{name}" for name in ("lock", "lock.json", "leases", "parcels")}  # of its processes


@dataclass(frozen=True)
class Uploaded:
    """What an upload did.

    Attributes
    ----------
    sent, kept, removed : int
        Files written, files that were there already, files of an earlier upload that the store has no more.
    nbytes : int
        Of the files written.
    unfinished : list of str
        Images of which shards are not computed: readers see NaN or 0 there.
    """

    sent: int
    kept: int
    removed: int
    nbytes: int
    unfinished: list[str]


def upload_store(path: Path, url: str, progress: Callable[[int, int], None] | None = None) -> Uploaded:
    """Write a store into a bucket, with all that readers and a later run need.

    The store is checked first and held meanwhile. The root's metadata go last, and those of an earlier upload are
    taken away before anything changes: whoever reads sees a whole store or none. What has arrived is noted beside it
    by its digest, so that a second upload sends what changed.

    Parameters
    ----------
    path : Path
    url : str
        ``s3://bucket/name.zarr`` or another address that fsspec writes to.
    progress : callable, optional
        Called with bytes done and bytes in all.

    Raises
    ------
    StoreError
        No store, a damaged one, an address that cannot be reached, or one where other things lie.
    ValueError
        The address is none that can be written to.
    RefusedError
        A run writes the store.
    """
    url = _writable(url)
    store = Store(path)
    if not store.exists():
        raise StoreError(f"{path} is no store of xct")
    with store.still():
        verdict = verify(store)
        if verdict.problems:
            raise StoreError(f"{verdict.problems[0]}; xct verify {path} --repair, then xct run, and upload it then")
        wanted: dict[str, list[Any]] = {
            file: [(path / file).stat().st_size, digest_of(path / file)] for file in sorted(_files(path))
        }
        with remote.reaching(url, "written"):
            there = _Bucket(url)
            known = there.known()
            sent = [file for file, facts in wanted.items() if known.get(file) != facts]
            gone = sorted(set(known) - set(wanted))
            if sent or gone:
                there.renew(path, wanted, known, sent, gone, progress)
    nbytes = sum(wanted[file][0] for file in sent)
    return Uploaded(len(sent), len(wanted) - len(sent), len(gone), nbytes, verdict.unfinished)


class _Bucket:
    """The place that a store is written to, through fsspec."""

    def __init__(self, url: str) -> None:
        import fsspec

        self.url = url
        self.files, self.root = fsspec.core.url_to_fs(url, use_listings_cache=False, **remote.options(url))

    def known(self) -> dict[str, list[Any]]:
        """Return size and digest of what an earlier upload left there and still is; refuse other things."""
        sizes = {name.removeprefix(self.root).strip("/"): size for name, size in self._listed().items()}
        if not sizes:
            return {}
        if MANIFEST not in sizes:
            name = min(sizes)
            raise StoreError(f"{self.url} holds {name}, which no upload of xct wrote; choose another address")
        try:
            noted = seal.loads(self.files.cat_file(f"{self.root}/{MANIFEST}"), MANIFEST)["files"]
        except seal.SealError as error:
            raise StoreError(
                f"{self.url}/{MANIFEST}: damaged ({error}); delete what lies there, then once more"
            ) from None
        return {file: facts if sizes.get(file) == facts[0] else [-1, ""] for file, facts in noted.items()}

    def _listed(self) -> dict[str, int]:
        try:
            return {name: int(facts["size"]) for name, facts in self.files.find(self.root, detail=True).items()}
        except FileNotFoundError:
            return {}

    def renew(
        self,
        path: Path,
        wanted: Mapping[str, Sequence[Any]],
        known: Mapping[str, Sequence[Any]],
        sent: Sequence[str],
        gone: Sequence[str],
        progress: Callable[[int, int], None] | None,
    ) -> None:
        """Send files and remove others; the root's metadata go first and come last."""
        arrived = {file: list(facts) for file, facts in known.items() if file not in sent}
        arrived.pop(ROOT, None)
        if ROOT in known:
            self._remove([ROOT])
        self._note(arrived)
        total, done = sum(wanted[file][0] for file in sent), 0
        for files in _batches([file for file in sent if file != ROOT]):
            self._put(path, files)
            arrived |= {file: list(wanted[file]) for file in files}
            self._note(arrived)
            done += sum(wanted[file][0] for file in files)
            if progress is not None:
                progress(done, total)
        self._remove(gone)
        self._put(path, [ROOT])
        self._note({file: list(facts) for file, facts in wanted.items()})

    def _put(self, path: Path, files: Sequence[str]) -> None:
        self.files.put([str(path / file) for file in files], [f"{self.root}/{file}" for file in files])

    def _remove(self, files: Sequence[str]) -> None:
        there = [f"{self.root}/{file}" for file in files if self.files.exists(f"{self.root}/{file}")]
        if there:
            self.files.rm(there)

    def _note(self, arrived: Mapping[str, Sequence[Any]]) -> None:
        self.files.pipe_file(f"{self.root}/{MANIFEST}", seal.dumps({"files": dict(arrived)}, MANIFEST))


def _writable(url: str) -> str:
    """Return an address without its last slash.

    Raises
    ------
    ValueError
        Nothing can be written there.
    """
    scheme, _, rest = url.partition("://")
    if not remote.is_remote(url) or scheme.lower() in READ_ONLY:
        raise ValueError(f"--to {url}: nothing can be written there; give an address such as s3://bucket/name.zarr")
    if "/" not in rest.strip("/"):
        raise ValueError(f"--to {url}: give the name of the store in the bucket, such as {url.rstrip('/')}/name.zarr")
    return url.rstrip("/")


def _files(root: Path) -> Iterator[str]:
    """Yield the files of a store that are of use elsewhere, relative to it."""
    for folder, names, files in os.walk(root):
        inside = Path(folder).relative_to(root)
        names[:] = [name for name in names if (inside / name).as_posix() not in OF_THIS_MACHINE]
        if inside == Path():
            names[:] = [name for name in names if name in ownership.OUTSIDE or name == STATE]
            files = [name for name in files if name in ownership.OUTSIDE]
        for name in files:
            file = (inside / name).as_posix()
            if not ownership.is_temporary(name) and file not in OF_THIS_MACHINE:
                yield file


def _batches(files: Sequence[str]) -> Iterator[Sequence[str]]:
    for first in range(0, len(files), AT_ONCE):
        yield files[first : first + AT_ONCE]
