"""How a table is declared: its columns, what each means, and a unit where there is one to have."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum


class Kind(StrEnum):
    """What the entries of a column are; only quantities have a unit."""

    TEXT = "text"
    INDEX = "index"
    COUNT = "count"
    FLAG = "flag"
    QUANTITY = "quantity"


SUFFIXES: Mapping[str, str] = {
    "_s": "s",
    "_C": "C",
    "_V": "V",
    "_mg": "mg",
    "_mg_cm2": "mg/cm2",
    "_g_cm3": "g/cm3",
    "_per_cm": "1/cm",
    "_mm2": "mm2",
    "_mm3": "mm3",
    "_um": "micrometre",
    "_um2": "micrometre2",
    "_um3": "micrometre3",
    "_deg": "degree",
    "_voxel": "voxel",
    "_per_voxel": "1/voxel",
    "_per_um": "1/micrometre",
    "_A": "A",
    "_Hz": "Hz",
    "_ohm": "ohm",
    "_H": "H",
    "_mAh": "mAh",
    "_mAh_g": "mAh/g",
}
"""What a name's ending says about the unit."""

UNITS = frozenset({*SUFFIXES.values(), "1", "1/cm per voxel", "pixel", "detector column"})


@dataclass(frozen=True)
class Column:
    """A column of a table.

    Attributes
    ----------
    name, meaning : str
    kind : Kind
    unit : str
        Of a quantity, ``"1"`` for a ratio; empty for any other kind.

    Raises
    ------
    ValueError
        A meaning or unit is missing, unknown, one too many, or not what the name says.
    """

    name: str
    meaning: str
    kind: Kind
    unit: str = ""

    def __post_init__(self) -> None:
        stated = next((SUFFIXES[s] for s in sorted(SUFFIXES, key=len, reverse=True) if self.name.endswith(s)), None)
        if not self.name or not self.meaning:
            raise ValueError(f"column {self.name!r} is declared without a {'meaning' if self.name else 'name'}")
        if self.kind is not Kind.QUANTITY:
            if self.unit:
                raise ValueError(f"column {self.name} is a {self.kind} and has no unit, but {self.unit!r} is declared")
            if stated:
                raise ValueError(f"column {self.name} is a {self.kind}, but its name ends as if it were in {stated}")
        elif self.unit not in UNITS:
            known = ", ".join(sorted(UNITS))
            raise ValueError(f"column {self.name} is a quantity in {self.unit or 'no unit'!r}; units are {known}")
        elif stated and stated != self.unit:
            raise ValueError(f"column {self.name} is declared in {self.unit}, but its name says {stated}")


def text(name: str, meaning: str) -> Column:
    """Declare words: names, methods, problems."""
    return Column(name, meaning, Kind.TEXT)


def index(name: str, meaning: str) -> Column:
    """Declare whole numbers that stand for something: labels, bins."""
    return Column(name, meaning, Kind.INDEX)


def count(name: str, meaning: str) -> Column:
    """Declare how many of something there are; the meaning says of what."""
    return Column(name, meaning, Kind.COUNT)


def flag(name: str, meaning: str) -> Column:
    """Declare yes or no."""
    return Column(name, meaning, Kind.FLAG)


def quantity(name: str, unit: str, meaning: str) -> Column:
    """Declare a quantity; the unit of a ratio is ``"1"``."""
    return Column(name, meaning, Kind.QUANTITY, unit)


@dataclass(frozen=True)
class Table:
    """A table of a store.

    Attributes
    ----------
    name : str
        Of ``tables/<name>.csv``.
    row : str
        What one row is about.
    columns : tuple of Column
        All that it may have; a run leaves out those that it has nothing for.

    Raises
    ------
    ValueError
        Two columns have one name.
    """

    name: str
    row: str
    columns: tuple[Column, ...]

    def __post_init__(self) -> None:
        names = [column.name for column in self.columns]
        double = sorted({name for name in names if names.count(name) > 1})
        if double:
            raise ValueError(f"table {self.name} declares {', '.join(double)} twice")

    def column(self, name: str) -> Column:
        """Return a column by its name.

        Raises
        ------
        ValueError
            It is not declared.
        """
        for column in self.columns:
            if column.name == name:
                return column
        raise ValueError(f"table {self.name} has no column {name} in its declaration: add it there, with its unit")
