"""Tables whose columns are set apart by blanks, as programs print them: the same lines with tabs.

A blank may also stand within a name (``Test Time (s)``), between a date and its time of day, or within a word of the
state, so that cells are set apart by two blanks at least, or else by any; the rule is the one that gives all rows of
values as many cells as there are names.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Sequence

from xct_pipeline.electrochemistry.decimals import is_number
from xct_pipeline.electrochemistry.table import is_data

SAMPLE = 200
"""Rows at the end that are looked at."""
FEWEST = 2
"""Rows of values that make a table."""
MOST_ALIKE = 0.9
"""Share of them that must have as many cells as each other."""
_DAY = re.compile(r"\d{1,4}([./-])(\d{1,2}|[A-Za-z]{3})\1\d{1,4}|\d+d")
_TIME_OF_DAY = re.compile(r"\d{1,2}:\d{2}(:\d{2}([.,]\d+)?)?")
_OF_DATE = re.compile(r"\b(date|datum) +(time|zeit)\b", re.IGNORECASE)
_HALF = re.compile(r"[AaPp]\.?[Mm]\.?")
Cut = Callable[[str], list[str]]


def _wide(line: str) -> list[str]:
    return re.split(r"\s{2,}", line.strip())


def _narrow(line: str) -> list[str]:
    return line.split()


def _dated(line: str) -> list[str]:
    """Return cells set apart by any blank, with a date, its time of day and AM or PM as one."""
    cells: list[str] = []
    for cell in line.split():
        follows = cells and (
            (_TIME_OF_DAY.fullmatch(cell) and _DAY.fullmatch(cells[-1]))
            or (_HALF.fullmatch(cell) and _TIME_OF_DAY.fullmatch(cells[-1].split()[-1]))
        )
        if follows:
            cells[-1] += f" {cell}"
        else:
            cells.append(cell)
    return cells


def _bracketed(line: str) -> list[str]:
    """Return names set apart by any blank, each with the unit in brackets behind it."""
    cells: list[str] = []
    for cell in line.split():
        if cells and re.match(r"[(\[]", cell):
            cells[-1] += f" {cell}"
        else:
            cells.append(cell)
    return cells


def _moment(line: str) -> list[str]:
    """Return names as `_bracketed` does, "Date Time" as one of them."""
    return [cell.replace("\a", " ") for cell in _bracketed(_OF_DATE.sub("\\1\a\\2", line))]


VALUES: tuple[Cut, ...] = (_wide, _dated, _narrow)
NAMES: tuple[Cut, ...] = (_wide, _bracketed, _narrow, _moment)


def with_tabs(lines: Sequence[str]) -> list[str]:
    """Return lines whose cells are set apart by blanks with tabs between them; other lines as they are."""
    sample = [line for line in lines[-SAMPLE:] if len(_narrow(line)) > 1 and is_data(_narrow(line))]
    if len(sample) < FEWEST or any(_is_set_apart(line) for line in sample):
        return list(lines)
    for cut in VALUES:
        counts = Counter(len(cut(line)) for line in sample)
        count, often = counts.most_common(1)[0]
        if (
            count < 2
            or _holds_two(sample, cut)
            or often < MOST_ALIKE * len(sample)
            or not all(is_data(cut(line)) for line in sample[-3:])
        ):
            continue
        found = [_tabbed(line, count, cut) for line in lines]
        if any(line is not None and not is_data(line.split("\t")) for line in found):
            return [old if new is None else new for old, new in zip(lines, found, strict=True)]
    return list(lines)


def _holds_two(sample: Sequence[str], cut: Cut) -> bool:
    """Tell whether a cell holds two numbers in most rows: one blank sets cells apart there, and two others."""
    two = Counter(k for line in sample for k, cell in enumerate(cut(line)) if sum(map(is_number, cell.split())) > 1)
    return bool(two) and max(two.values()) >= MOST_ALIKE * len(sample)


def _is_set_apart(line: str) -> bool:
    """Tell whether something else than blanks sets the cells of a row apart; a decimal comma does not."""
    return bool(re.search(r"[\t;|]", line)) or any(not re.fullmatch(r"[^,]*\d,\d[^,]*|[^,]*", c) for c in line.split())


def _tabbed(line: str, count: int, cut: Cut) -> str | None:
    """Return a line of values or of names with tabs, None where it has not so many cells."""
    plain = line.strip().lstrip("#").strip()
    mark = "# " if line.lstrip().startswith("#") else ""
    if re.search(r"[\t;|]", plain):
        return None
    cells = cut(plain)
    if len(cells) == count and is_data(cells):
        return mark + "\t".join(cells)
    for names in NAMES:
        cells = names(plain)
        if len(cells) == count and not is_data(cells) and not any("," in cell for cell in cells):
            return mark + "\t".join(cells)
    return None
