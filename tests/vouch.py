"""Markers for images that a test wrote by hand, as if a run had finished them."""

from __future__ import annotations

from pathlib import Path

from xct_pipeline.store.files import read_attributes
from xct_pipeline.store.image import Image
from xct_pipeline.store.marker import (
    Marker,
    expected_fingerprint,
    note_file,
    read_note,
    shard_files,
    write_marker,
    written,
)


def vouch(root: Path, path: str) -> None:
    """Write the markers of an image whose shards are there."""
    image = Image.from_identity(path, read_attributes(root / path)["xct"]["identity"])
    note = read_note(root, path) if note_file(root, path).exists() else None
    for shard in image.shards():
        files = tuple(written(file) for file in shard_files(root, image, shard))
        write_marker(
            root, path, shard, Marker(expected_fingerprint(note, shard) if note else "by hand", {}, 0.0, files)
        )
