"""Tables as instruments write them: text in any encoding, workbooks, binary files through readers of other projects.

A table is names, units and columns of text or numbers; what they mean is decided elsewhere.
"""

from __future__ import annotations

import csv
import gzip
import io
import itertools
import re
import zlib
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from xct_pipeline.electrochemistry.decimals import is_number
from xct_pipeline.electrochemistry.units import UNITS, size_of
from xct_pipeline.inputs import MOST_TEXT, read_bytes

MOST_BYTES = 2**30
"""Of a file and of what is packed in it: a year of seconds with twenty columns."""
MOST_PACKED = 200
"""Bytes of a log that one byte of it when packed can hold."""
MOST_LINE = 2**20
"""Characters of a line: of tens of thousands of columns."""
PADDING = 16
"""Zeros at the end of a file that are no text."""
HEADER_ROWS = 300
"""Lines that are searched for the names of the columns."""
MOST_WORDS_BELOW = 20
"""Lines below a table that may be words."""
BESIDE, FEWEST_BESIDE = 20, 10
"""Rows that the last one is held against, at most and at least."""
NO_TABLE = (
    "holds no table: write it with a line of column names above rows of numbers, and commas, semicolons or tabs "
    "between the cells"
)
OF_SPECTRA = (
    "hz",
    "khz",
    "ohm",
    "ohms",
    "ω",
    "mohm",
    "kohm",
    "ohm.cm2",
    "ohm*cm2",
    "deg",
    "degree",
    "°",
    "rad",
    "rad/s",
)
"""Units of impedance spectra, as they stand below names."""
_CLOCK = re.compile(r"(\d+\s*d\w*,?\s*)?[\d./:-]*\d+[:./-]\d+[\d:., /TZ+-]*([AaPp]\.?[Mm]\.?)?")


@dataclass(frozen=True)
class Table:
    """A table of a file.

    Attributes
    ----------
    source : str
        The file's name.
    names : tuple of str
        Of the columns; a name that occurs again has ``#2``, ``#3`` behind it.
    load : callable
        Name to the column's cells: text, or numbers where the file holds numbers.
    units : mapping
        Unit per column, from a row below the names.
    header : tuple of str
        Lines above the names.
    instrument : str
        What the file says it comes from; "" where it does not.
    notes : tuple of str
        Lines at the end that were left out.
    """

    source: str
    names: tuple[str, ...]
    load: Callable[[str], Any]
    units: Mapping[str, str] = field(default_factory=dict)
    header: tuple[str, ...] = ()
    instrument: str = ""
    notes: tuple[str, ...] = ()

    def column(self, name: str) -> Any:
        """Return a column's cells.

        Raises
        ------
        ValueError
            There is no such column (with the nearest names), or two of that name that differ.
        """
        if name not in self.names:
            plain = name.removesuffix("#1")
            if plain in self.names and plain != name:
                return self.load(plain)
            raise ValueError(f"{self.source} has no column {name!r}: name one that it has; {self._near(name)}")
        cells = self.load(name)
        for other in self.names:
            if re.fullmatch(re.escape(name) + r"#\d+", other) and not _equal(cells, self.load(other)):
                raise ValueError(
                    f"{self.source}: the name {name!r} stands over two columns that differ; write {name + '#1'!r} for "
                    f"the first or {other!r}"
                )
        return cells

    def _near(self, name: str) -> str:
        import difflib

        near = difflib.get_close_matches(name, self.names, n=3, cutoff=0.5)
        return f"did you mean {' or '.join(map(repr, near))}?" if near else self.listed()

    def listed(self) -> str:
        """Return the names of all columns in words."""
        return "its columns are " + ", ".join(map(repr, self.names))


def _equal(a: Any, b: Any) -> bool:
    return bool(np.array_equal(np.asarray(a).astype(str), np.asarray(b).astype(str)))


def unique(names: Sequence[str]) -> tuple[str, ...]:
    """Return names with ``#2``, ``#3`` behind those that occur again."""
    seen: dict[str, int] = {}
    result = []
    for name in names:
        seen[name] = seen.get(name, 0) + 1
        result.append(name if seen[name] == 1 else f"{name}#{seen[name]}")
    return tuple(result)


def read_text(path: Path) -> str:
    """Return a file's text: UTF-8, UTF-16 with or without its mark, GB 18030, else Latin-1; packed or not.

    Raises
    ------
    ValueError
        The file holds no text.
    """
    data = read_bytes(path, MOST_BYTES)
    if data[:2] == b"\x1f\x8b":
        data = _unpacked(path, data)
    if data[:4] == b"PK\x03\x04":
        raise ValueError(f"{path.name} is a packed file (a workbook?), not text; name a workbook .xlsx")
    if data[:4] in (b"\xff\xfe\x00\x00", b"\x00\x00\xfe\xff"):
        return data.decode("utf-32", errors="replace")
    end = len(data.rstrip(b"\x00"))
    if len(data) - end >= PADDING:  # what a computer leaves that lost its power while a file grew
        data = data[: end + (end % 2 if b"\x00" in data[:end] else 0)]
    sample = data[:4000]
    even, odd = sample[0::2].count(0), sample[1::2].count(0)
    if data[:2] in (b"\xff\xfe", b"\xfe\xff") or max(even, odd) > 0.3 * len(sample) / 2 > 2 * min(even, odd):
        little = data[:2] == b"\xff\xfe" or (data[:2] != b"\xfe\xff" and odd > even)
        return data.decode("utf-16-le" if little else "utf-16-be", errors="replace").lstrip("\ufeff")
    if b"\x00" in sample:
        raise ValueError(f"{path.name} is a binary file that cannot be read; export it as text (CSV)")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return data.decode("gb18030" if _is_chinese(sample) else "latin-1", errors="replace")


def lines_of(path: Path, text: str) -> list[str]:
    """Return the lines of a text.

    Raises
    ------
    ValueError
        One of them is longer than a row of any table.
    """
    lines = text.splitlines()
    longest = max(map(len, lines), default=0)
    if longest > MOST_LINE:
        raise ValueError(f"{path.name} has a line of {longest} characters, which is no row of a table: export it anew")
    return lines


def _unpacked(path: Path, packed: bytes) -> bytes:
    """Return what is packed with gzip, as far as a text can have been packed so."""
    most = min(MOST_BYTES, max(MOST_TEXT, MOST_PACKED * len(packed)))
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(packed)) as stream:
            data = stream.read(most + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise ValueError(f"{path.name} is packed with gzip and damaged ({error}): copy it again") from None
    if len(data) > most:
        raise ValueError(
            f"{path.name} unpacks to more than {most} bytes, which no log of {len(packed)} bytes has: check the file"
        )
    return data


def _is_chinese(data: bytes) -> bool:
    """Tell whether bytes beyond ASCII come in pairs, as in GB 2312; in Latin-1 they stand alone."""
    runs = re.findall(rb"[\x80-\xff]+", data)
    return len(runs) > 1 and all(len(run) % 2 == 0 and min(run) > 0xA0 for run in runs[:-1])


def text_table(
    source: str,
    lines: Sequence[str],
    row: int,
    separator: str,
    header: Sequence[str] = (),
    instrument: str = "",
    names: Sequence[str] | None = None,
    cut: bool = False,
) -> Table:
    """Return the table below line `row`, which holds the names; a row of units may follow.

    Parameters
    ----------
    cut : bool
        The file does not end with an end of line: its last one may have been cut short.
    """
    names = split(lines[row].lstrip("#"), separator) if names is None else list(names)
    while names and not names[-1]:  # many instruments end each line with a separator
        names.pop()
    body = [line for line in lines[row + 1 :] if line.strip() and not line.startswith("#")]
    if not names or not body:
        raise ValueError(f"{source} {NO_TABLE}")
    _refuse_bare_commas(source, separator, names, body[0])
    named = unique(names)
    units: dict[str, str] = {}
    first = body[0]
    if is_units(split(first, separator)):
        found = split(first, separator)
        units = {n: u.strip("()[] ") for n, u in zip(named, found, strict=False) if u}
        body = body[1:]
    body, again = _without_names(body, {lines[row].strip(), first.strip()} if units else {lines[row].strip()})
    body, notes = without_end(body, separator, cut)
    notes = (*again, *notes)
    loader = _Loader(named, "\n".join(body), separator)
    return Table(source, named, loader, units, tuple(header), instrument, notes)


def _without_names(body: Sequence[str], names: Collection[str]) -> tuple[list[str], tuple[str, ...]]:
    """Return rows without lines that repeat the names or units, as where a recording began again."""
    rows = [line for line in body if line.strip() not in names]
    again = len(body) - len(rows)
    return rows, (f"names that stand again in {again} line(s) among the rows were left out",) if again else ()


def without_end(body: Sequence[str], separator: str, cut: bool) -> tuple[list[str], tuple[str, ...]]:
    """Return rows without the words below them and without a row that was cut short, and what was left out."""
    rows = list(body)
    left_out: list[str] = []
    while len(rows) > 1 and len(left_out) < MOST_WORDS_BELOW and _is_words(split(rows[-1], separator)):
        left_out.append(rows.pop())
    notes = (
        [f"left out below the table: {', '.join(repr(line.strip()) for line in left_out[::-1])}"] if left_out else []
    )
    if cut and not left_out and len(rows) > 2 and _is_cut(rows, separator):
        notes.append(f"the last line was cut short and left out: {rows.pop().strip()!r}")
    return rows, tuple(notes)


def _is_words(cells: Sequence[str]) -> bool:
    """Tell whether a line of a table of several columns holds one cell, which is no value."""
    filled = [cell for cell in cells if cell]
    return len(filled) == 1 and not (is_number(filled[0]) or _CLOCK.fullmatch(filled[0])) and bool(cells[0])


def _is_cut(rows: Sequence[str], separator: str) -> bool:
    """Tell whether the last row has fewer cells than those before it, or fewer digits than all of them have."""
    last, *before = (split(line, separator) for line in (rows[-1], *rows[-BESIDE - 1 : -1]))
    if len(last) < min(map(len, before)):
        return True
    tails = {_tail(cells[-1]) for cells in before}
    tail = _tail(last[-1])
    return len(tails) == 1 and len(before) >= FEWEST_BESIDE and len(tail) < len(next(iter(tails)))


def _tail(cell: str) -> str:
    """Return the shape of what follows the decimal sign."""
    return re.sub(r"\d", "9", re.split(r"[.,](?=[^.,]*$)", cell)[-1]) if re.search(r"\d[.,]", cell) else ""


def _refuse_bare_commas(source: str, separator: str, names: Sequence[str], row: str) -> None:
    """Refuse a row whose decimal commas cannot be told from those between its cells."""
    cells = [cell for cell in split(row, separator) if cell]
    if separator == "," and len(cells) > len(names) and all(re.fullmatch(r"[+-]?\d+", cell) for cell in cells):
        raise ValueError(
            f"{source}: {row.strip()[:80]!r} holds {len(cells)} cells below {len(names)} names: commas stand both "
            f"between cells and for decimals; write it with semicolons or tabs, or with decimal points"
        )


class _Loader:
    """Reads one column of a text at a time, so that a long log is never held as text of all its columns."""

    def __init__(self, names: Sequence[str], text: str, separator: str) -> None:
        first, _, rest = text.partition("\n")
        count = len(split(first, separator))
        self.names, self.separator, self.width = list(names), separator, max(len(names), count)
        # pandas takes the number of cells from the first row, and some instruments name more than they write
        self.text = first + separator * (self.width - count) + "\n" + rest

    def __call__(self, name: str) -> Any:
        import pandas as pd

        frame = pd.read_csv(
            io.StringIO(self.text),
            sep=self.separator,
            header=None,
            names=range(self.width),
            usecols=[self.names.index(name)],
            index_col=False,
            dtype=str,
            keep_default_na=False,
            skipinitialspace=True,
            on_bad_lines="skip",
            low_memory=False,
        )
        return frame.iloc[:, 0].fillna("").astype(str).str.strip().to_numpy(dtype=object)


def split(line: str, separator: str) -> list[str]:
    """Return the cells of a line, without quotes and blanks."""
    return [cell.strip() for cell in next(csv.reader([line], delimiter=separator, skipinitialspace=True), [])]


def separator_of(line: str) -> str:
    """Return what separates the cells of a line."""
    bare = re.sub(r'"[^"]*"', "", line)
    return max("\t;,|", key=bare.count)


def is_units(cells: Sequence[str]) -> bool:
    """Tell whether a row holds units and nothing else."""
    filled = [cell.strip("()[] ") for cell in cells if cell]
    if not filled or any(is_number(cell) or _CLOCK.fullmatch(cell) for cell in filled):
        return False
    if any(cell.lower().split(" ")[0] in OF_SPECTRA for cell in filled):
        return True
    return any(size_of(cell.split(" ")[0], quantity) is not None for cell in filled for quantity in UNITS)


def is_data(cells: Sequence[str]) -> bool:
    """Tell whether a row begins the table's values: half of what is filled are numbers, dates or times."""
    filled = [cell for cell in cells if cell]
    values = [cell for cell in filled if is_number(cell) or _CLOCK.fullmatch(cell)]
    return bool(filled) and 2 * len(values) >= len(filled)


def header_row(lines: Sequence[str], expected: str | None) -> int | None:
    """Return the line that holds the names: the one with a name that is expected, else one of words above numbers."""
    useful = [k for k, line in enumerate(lines[: 10 * HEADER_ROWS]) if line.strip()][:HEADER_ROWS]
    if expected:
        for k in useful:
            if expected in split(lines[k].lstrip("# "), separator_of(lines[k])):
                return k
    found = list(_candidates(lines, useful))
    if found:  # a head may hold small tables of its own
        longest = max(found, key=lambda k: _rows_below(lines, useful, k))
        return next(k for k in found if lines[k].strip() == lines[longest].strip())  # names may stand there again
    plain = [k for k in useful if not lines[k].startswith("#")]
    return plain[0] if len(plain) > 1 else None


def _rows_below(lines: Sequence[str], useful: Sequence[int], row: int) -> int:
    """Return how many rows of values of one length follow a line of names, below its units."""
    separator = separator_of(lines[row])
    below = (split(lines[k], separator) for k in useful if k > row)
    first = next(below, [])
    if is_units(first):
        first = next(below, [])
    rows = itertools.takewhile(
        lambda cells: len(cells) == len(first) and is_data(cells), itertools.chain([first], below)
    )
    return sum(1 for _ in rows)


def _candidates(lines: Sequence[str], useful: Sequence[int]) -> Iterator[int]:
    """Yield lines of words above one of values or units."""
    for k, after in itertools.pairwise(useful):
        separator = separator_of(lines[k])
        cells = split(lines[k].lstrip("# "), separator)
        if len([c for c in cells if c]) < 2 or any(is_number(c) or _CLOCK.fullmatch(c) for c in cells if c):
            continue
        below = split(lines[after], separator)
        if lines[after].startswith("#") or abs(len(below) - len(cells)) > max(1, len(cells) // 2):
            continue
        if is_data(below) or is_units(below):
            yield k


def frame_table(
    source: str, columns: Mapping[str, Any], instrument: str = "", units: Mapping[str, str] | None = None
) -> Table:
    """Return a table of columns that are read already."""
    held = dict(columns)
    return Table(source, tuple(held), held.__getitem__, units or {}, instrument=instrument)
