"""What a closure is, and what closures share.

Units: attenuation 1/cm, mass attenuation cm2/g, density g/cm3. "Species" is what is followed (Na), "host" what shares
the liquid with it (K). Arrays are numpy or CuPy; the result has the input's kind and dtype.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

from xct_pipeline.variation.anode import Anode

DENSITY, COMPOSITION, FRACTION = 1, 2, 4
FLAGS = {
    DENSITY: "less than nothing is left of a component",
    COMPOSITION: "no composition between the pure metals explains the attenuation",
    FRACTION: "the metal would fill less than nothing or more than the room in the voxel",
}
"""Meaning of the bits of a flag mask."""

Coefficients = tuple[tuple[float, float], tuple[float, float]]
"""Mass attenuation, cm2/g: (species, host) at the first and at the second energy."""

_ROUNDING = 1e-5  # float32 must not flag a voxel that is exactly empty


class DensityChange(NamedTuple):
    """Change of partial density per voxel, g/cm3.

    Attributes
    ----------
    species, host : array
        Change of the species and of the host; `host` is None where the closure keeps it fixed.
    flags : array of uint8
        0, or bits of `FLAGS` where the result is impossible.
    """

    species: Any
    host: Any
    flags: Any

    @property
    def total(self) -> Any:
        """Change of the metal's density, g/cm3."""
        return self.species if self.host is None else self.species + self.host


class Given(NamedTuple):
    """What only some closures need, scan by scan.

    Attributes
    ----------
    w_host : float or None
        Mass fraction of the host in all of the metal at this scan, from the charge.
    second : array or None
        Change of attenuation at the second energy, 1/cm.
    k : ((species, host), (species, host)) or None
        Mass attenuation at both energies, cm2/g.
    """

    w_host: float | None = None
    second: Any = None
    k: Coefficients | None = None


NOTHING = Given()


class Slopes(NamedTuple):
    """Change of density per change of attenuation at each energy, g/cm3 per 1/cm: turns noise into noise of mass."""

    species: tuple[float, ...]
    host: tuple[float, ...] = (0.0,)


@dataclass(frozen=True)
class Closure:
    """An assumption that turns a change of attenuation into a change of density.

    Attributes
    ----------
    name : str
        As the configuration says it.
    words : str
        What it assumes, in a few words for the report.
    density : callable
        ``(dmu, anode, given) -> DensityChange`` of an array of changes of attenuation, 1/cm.
    slopes : callable
        ``(anode, given) -> Slopes`` at the reference.
    flags : int
        Bits of `FLAGS` that it can set.
    from_initial : bool
        It tells what is impossible from the initial densities, hence nothing where these are unknown.
    linear : bool
        The density is linear in dmu, so that noise averages out in sums.
    proportional : bool
        The density is a multiple of dmu. If not, the change between two scans is the difference of their changes
        against the reference.
    energies : int
        Scans at how many energies it takes.
    composition : bool
        It needs the initial composition of the alloy (``variation.anode.w_host``).
    charge : bool
        It needs the composition at each scan, from the charge and the loading (``variation.anode.loading_mg``).
    """

    name: str
    words: str
    density: Callable[[Any, Anode, Given], DensityChange]
    slopes: Callable[[Anode, Given], Slopes]
    flags: int = 0
    from_initial: bool = False
    linear: bool = True
    proportional: bool = True
    energies: int = 1
    composition: bool = False
    charge: bool = False

    def change(self, dmu: Any, anode: Anode, given: Given = NOTHING) -> DensityChange:
        """Turn a change of attenuation into a change of density.

        Raises
        ------
        ValueError
            The closure needs what is not given.
        """
        if self.charge and given.w_host is None:
            raise ValueError(f"closure {self.name} needs the composition at this scan, from charge and loading")
        if self.energies > 1 and (given.second is None or given.k is None):
            raise ValueError(f"closure {self.name} needs a second scan at another energy")
        if self.composition and anode.w_host is None and anode.density is None:
            raise ValueError(f"closure {self.name} needs the initial composition w_K")
        return self.density(dmu, anode, given)


def flag(xp: Any, condition: Any, bit: int) -> Any:
    """Return a flag mask with one bit where a condition holds."""
    return condition.astype(xp.uint8) * xp.uint8(bit)


def below_nothing(xp: Any, change: Any, initial: Any) -> Any:
    """Flag a loss beyond what was there at the reference, g/cm3."""
    return flag(xp, change < -initial * (1 + _ROUNDING) - 1e-12, DENSITY)


def outside_room(xp: Any, fraction: Any, room: float) -> Any:
    """Flag a volume fraction of metal below nothing or beyond the room in the voxel."""
    return flag(xp, (fraction < -_ROUNDING) | (fraction > room + _ROUNDING), FRACTION)


def compositions(anode: Anode) -> tuple[float, float]:
    """Return the range of w that the density model covers."""
    if anode.density_model == "table" and anode.density_table:
        return anode.density_table[0][0], anode.density_table[-1][0]
    return 0.0, 1.0
