"""Which references belong to which scan: of its folder, of its detector, then by time and number."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from natsort import natsort_keygen

from xct_pipeline.acquisition.formats import Kind
from xct_pipeline.acquisition.layout.found import Found, Reference

_natural = natsort_keygen()


def pair(scans: Sequence[Found], references: Sequence[Reference]) -> None:
    """Give each scan that lacks flats or darks those that were recorded before it (and after it, where named so).

    Of several the nearest in the tree of folders count, of these the last before the scan: by time where both know
    it, else by number. What is missing is said in the scan.
    """
    kinds: tuple[Kind, ...] = ("flat", "dark")
    for scan in scans:
        for kind in kinds:
            if scan.own.get(kind) or scan.shape is None:
                continue
            of_kind = [r for r in references if r.kind == kind]
            fitting = [r for r in of_kind if r.shape == scan.shape]
            if not fitting:
                scan.missing.append(_absent(kind, of_kind, scan))
                continue
            scan.paired[kind] = _chosen(scan, fitting, kind)


def _absent(kind: Kind, others: Sequence[Reference], scan: Found) -> str:
    if not others:
        return f'no {kind}s were found; name them, or write {kind}s = "none"'
    first = others[0]
    return (
        f"{kind}s of {first.home.name} are {first.shape}, its frames {scan.shape} (row, column): references of another "
        "detector"
    )


def _chosen(scan: Found, fitting: list[Reference], kind: Kind) -> list[Reference]:
    """Return the references of one kind that belong to a scan."""
    if scan.detector and any(scan.detector in r.source for r in fitting):
        fitting = [r for r in fitting if scan.detector in r.source]
    nearest = max(_depth(scan.home, r.home) for r in fitting)
    fitting = [r for r in fitting if _depth(scan.home, r.home) == nearest]
    late, early = [r for r in fitting if r.after], [r for r in fitting if not r.after]
    chosen = []
    if early:
        before = [r for r in early if _precedes(r, scan)]
        best = max(before, key=_order(before, scan)) if before else min(early, key=_order(early, scan))
        chosen = [r for r in early if r.home == best.home or _alike(r, best)]
        if not before:
            scan.told.append(f"no {kind}s were recorded before it: those of {best.home.name}, after it, are used")
        told = _disagree(best, before, scan)
        scan.told += [told] if told else []
    if late:
        following = [r for r in late if not _precedes(r, scan) or r.number is None or scan.number is None] or late
        best = min(following, key=_order(following, scan))
        chosen += [r for r in late if r.home == best.home or _alike(r, best)]
    return chosen


def _depth(first: Path, second: Path) -> int:
    """Return how many folders two files have in common."""
    count = 0
    for a, b in zip(first.parent.parts, second.parent.parts, strict=False):
        if a != b:
            break
        count += 1
    return count


def _alike(one: Reference, other: Reference) -> bool:
    """Tell whether two belong to one run: of one folder and number."""
    return one.home.parent == other.home.parent and one.number == other.number


def _comparable(one: datetime | None, other: datetime | None) -> bool:
    return one is not None and other is not None and (one.tzinfo is None) == (other.tzinfo is None) and one != other


def _precedes(reference: Reference, scan: Found) -> bool:
    """Tell whether references were recorded before a scan; what cannot be told counts as before."""
    if _comparable(reference.start, scan.start):
        return reference.start < scan.start  # type: ignore[operator]
    if reference.number is not None and scan.number is not None:
        return reference.number <= scan.number
    return True


def _order(references: Sequence[Reference], scan: Found):  # type: ignore[no-untyped-def]
    """Return the key that sorts references by time where all know it, then by number, then by name."""
    timed = scan.start is not None and all(_comparable(r.start, scan.start) for r in references)
    return lambda r: (r.start if timed else 0, -1 if r.number is None else r.number, _natural(str(r.home)))


def _disagree(best: Reference, before: Sequence[Reference], scan: Found) -> str | None:
    """Tell that the numbers would have paired a scan otherwise than the times did."""
    if not _comparable(best.start, scan.start) or scan.number is None:
        return None
    numbered = [r for r in before if r.number is not None and r.number <= scan.number]
    if not numbered or best.number is None:
        return None
    by_number = max(numbered, key=lambda r: r.number or 0)
    if by_number.number == best.number:
        return None
    return f"{best.home.name} is the last before it by time, {by_number.home.name} by number: the time is believed"
