"""Times of scans as people say them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from napari import Viewer


def time_axis(viewer: Viewer, layer: Any) -> int | None:
    """Return the viewer's axis along which a layer's t lies, None where it has none."""
    names = tuple(layer.axis_labels)
    return names.index("t") + int(viewer.dims.ndim - layer.ndim) if "t" in names else None


def label_of(note: Mapping[str, Any], index: int) -> str:
    """Return the name of a plane along t, the time since the first scan's start, and what else is told of it.

    Parameters
    ----------
    note : mapping
        ``scans``, ``time_s`` and ``told`` of a layer's metadata; each may be missing.
    index : int
        Along t.
    """
    scans, times = note.get("scans") or [], note.get("time_s") or []
    name = scans[index] if index < len(scans) else f"time {index}"
    seconds = times[index] if index < len(times) else None
    told = note.get("told") or []
    first = name if seconds is None else f"{name}   {duration(float(seconds))}"
    return f"{first}\n{told[index]}" if index < len(told) and told[index] else first


def duration(seconds: float) -> str:
    """Return a duration in the unit that reads best."""
    for unit, size in (("d", 86400.0), ("h", 3600.0), ("min", 60.0)):
        if abs(seconds) >= 2 * size:
            return f"{seconds / size:.2f} {unit}"
    return f"{seconds:.0f} s"
