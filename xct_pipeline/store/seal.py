"""JSON documents of a store with their own checksum, so that a flipped byte is an error and never other content."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

import xxhash

KEY = "seal"
_EMPTY = "0" * 16
_CHECK = re.compile(rb'"check": "([0-9a-f]{16})"')


class SealError(ValueError):
    """A document that is not what was written."""


def digest(data: bytes | memoryview) -> str:
    """Return 32 hexadecimal digits of XXH3 (xxhash.com), which reads tens of gigabytes a second."""
    return xxhash.xxh3_128_hexdigest(data)


def hasher() -> xxhash.xxh3_128:
    """Return what takes bytes part by part, and whose ``hexdigest`` is their `digest`."""
    return xxhash.xxh3_128()


def dumps(document: Mapping[str, Any], place: str, under: tuple[str, ...] = ()) -> bytes:
    """Return a document as JSON that holds a checksum of its own bytes and where it belongs.

    Parameters
    ----------
    document : mapping
    place : str
        Of the file inside its store; a copy that lies elsewhere is not accepted.
    under : tuple of str
        Keys of the mapping inside the document that takes the seal.
    """
    whole = dict(document)
    inner = whole
    for key in under:
        inner[key] = dict(inner.get(key, {}))
        inner = inner[key]
    inner.pop(KEY, None)
    # the first that is found is the document's own: nothing before it may look like one
    inner_sealed = {KEY: {"check": _EMPTY, "place": place}, **inner}
    inner.clear()
    inner.update(inner_sealed)
    data = json.dumps(whole, indent=1).encode()
    first = _CHECK.search(data)
    assert first is not None
    return data[: first.start(1)] + _sum(data).encode() + data[first.end(1) :]


def loads(data: bytes, place: str, under: tuple[str, ...] = ()) -> dict[str, Any]:
    """Return a document without its seal; one of an earlier version, which has none, is taken as it is.

    Raises
    ------
    SealError
        It is no JSON object, or not what was written there.
    """
    first = _CHECK.search(data)
    sealed = f'"{KEY}"'.encode() in data
    if first is None and sealed:
        raise SealError("its checksum is gone")
    if sealed or (first is not None and b'"place": "' in data[first.end() : first.end() + 32]):
        assert first is not None
        empty = data[: first.start(1)] + _EMPTY.encode() + data[first.end(1) :]
        if _sum(empty) != first[1].decode():
            raise SealError("its checksum does not match")
    try:
        document = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise SealError(f"no JSON ({' '.join(str(error).split())})") from None
    if not isinstance(document, dict):
        raise SealError("no JSON object")
    inner = document
    for key in under:
        inner = inner.get(key, {})
        if not isinstance(inner, dict):
            raise SealError(f"{key} is no JSON object")
    seal = inner.pop(KEY, None)
    if seal is not None and seal["place"] != place:
        raise SealError(f"it belongs to {seal['place']}")
    return document


def _sum(data: bytes) -> str:
    return xxhash.xxh3_64_hexdigest(data)
