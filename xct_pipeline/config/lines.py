"""The line of a configuration file that an error is about."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

MOST_LOCATED = 50
_HEADER = re.compile(r"\s*(\[\[?)\s*([^\]#]+?)\s*\]\]?\s*(#.*)?$")
_KEY = re.compile(r"""\s*((?:"[^"]*"|'[^']*'|[A-Za-z0-9_-]+)(?:\s*\.\s*(?:"[^"]*"|'[^']*'|[A-Za-z0-9_-]+))*)\s*=""")
_INNER = re.compile(r"[{,]\s*([A-Za-z0-9_-]+)\s*=")
_NAMED = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*(?:\.(?:[A-Za-z_][A-Za-z0-9_-]*|\d+))*")
_QUOTED = re.compile(r"\"([^\"\\]+)\"|'([^']+)'")


def located(problems: Sequence[str], text: str) -> list[str]:
    """Put the line of the file before each problem that names a key or a value of it, and order them by it.

    Parameters
    ----------
    problems : sequence of str
        Each begins with the dotted name of a key, or names a file as the configuration does.
    text : str
        Of the configuration.
    """
    if len(problems) > MOST_LOCATED:  # the first are shown
        return [*located(problems[:MOST_LOCATED], text), *problems[MOST_LOCATED:]]
    keys = dict(reversed([*_keys(text)]))  # of one that is given twice the first
    values = [(found[1] or found[2], number) for number, line in _lines(text) for found in _QUOTED.finditer(line)]
    result: list[tuple[int, str]] = []
    for problem in problems:
        line = _of_key(problem, keys) or _of_value(problem, values)
        known = line is None or problem.startswith("line ")
        result.append((line or len(text), problem if known else f"line {line}: {problem}"))
    return [problem for _, problem in sorted(result, key=lambda pair: pair[0])]


def _lines(text: str) -> Iterator[tuple[int, str]]:
    return (
        (number, line) for number, line in enumerate(text.splitlines(), start=1) if not line.lstrip().startswith("#")
    )


def _keys(text: str) -> Iterator[tuple[str, int]]:
    """Yield the dotted name of every table and key, tables of a list numbered from 0, and its line."""
    table, counts = "", dict[str, int]()
    for number, line in _lines(text):
        header = _HEADER.match(line)
        if header:
            table = ".".join(_parts(header[2]))
            if header[1] == "[[":
                counts[table] = counts.get(table, -1) + 1
                table = f"{table}.{counts[table]}"
            yield table, number
            continue
        key = _KEY.match(line)
        if key:
            name = ".".join([*([table] if table else []), *_parts(key[1])])
            yield name, number
            for inner in _INNER.finditer(line):
                yield f"{name}.{inner[1]}", number


def _parts(written: str) -> list[str]:
    return [part.strip().strip("\"'") for part in re.findall(r"\"[^\"]*\"|'[^']*'|[^.\s]+", written)]


def _of_key(problem: str, keys: dict[str, int]) -> int | None:
    """Return the line of the key that a problem begins with, or of the table that it is missing in."""
    named = _NAMED.match(problem)
    if named is None:
        return None
    parts = named[0].split(".")
    if len(parts) == 1 and not problem[named.end() :].startswith((":", " =")):
        return None
    for length in range(len(parts), 0, -1):
        line = keys.get(".".join(parts[:length]))
        if line is not None:
            return line
    return None


def _of_value(problem: str, values: Sequence[tuple[str, int]]) -> int | None:
    """Return the line of the longest value that a problem names at the end of a path."""
    fitting = [(len(value), line) for value, line in values if len(value) > 3 and _names(problem, value)]
    return max(fitting, key=lambda each: each[0])[1] if fitting else None


def _names(problem: str, value: str) -> bool:
    """Tell whether a problem begins with a path that ends as the value does."""
    path = problem.partition(": ")[0]
    if problem.startswith(f"{value} "):
        return True
    return path == value or path.endswith("/" + value.lstrip("./"))
