"""An operando solid-state sodium cell made of analytic bodies, and what stripping does to its anode.

From the bottom: a solid Na counter electrode thicker than the field of view (what is plated pushes it down, which
changes nothing in view), a NASICON disc, a carbon cloth filled with NaK50, gas; around them a polymer housing.
Pores and two alignment holes in the ceramic, beads in the housing and tows in the cloth never change.

Sodium leaves in two ways. In a *depleted* zone it leaves, potassium stays and gas fills what becomes free. A *void*
pushes its potassium straight up into a body of the same outline, twice as high, where it takes the room of sodium
that leaves too. So potassium is conserved in every vertical column: the change of attenuation integrated along z
over mu/rho of Na is the change of sodium per area exactly, though within a column sodium and potassium move.
The changing bodies never overlap, so the mass that left is a sum of closed-form volumes. They begin some voxels above
the ceramic, with room for the blur, or, on demand, at the ceramic itself as in real cells.

The geometry is laid out for a detector of 96 x 160 pixels and stretched to any other.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import scipy

from xct_pipeline.simulation.phantom import Array, Body, cylinder, disc, ellipsoid, rotation_matrix, transform

FARADAY_C_PER_MOL = 96485.33212
SODIUM_G_PER_MOL = 22.98976928
POTASSIUM_G_PER_MOL = 39.0983

LAYOUT_ROWS, LAYOUT_COLUMNS = 96, 160
OUT_OF_VIEW = 500.0

# heights (row index) and radii of the layout, voxels
CERAMIC_BOTTOM, CERAMIC_TOP, ANODE_TOP = 21.0, 46.0, 76.0
SODIUM_RADIUS, ANODE_RADIUS = 52.0, 51.0
CERAMIC_RADII = (55.0, 56.5)  # y and x: a rim that is not round shows rotation
HOUSING_INNER, HOUSING_OUTER = 60.0, 66.0
REGION_Z, REGION_RADIUS = (50.0, 74.0), 49.0  # half-open, voxel centres: three voxels off the ceramic face
CHANGE_BOTTOM, CHANGE_TOP, CHANGE_RADIUS = 51.5, 72.0, 46.5  # inside the region with room for blur
TOW_LAYERS = (48.8, 74.0)

CARBON_SHARE = 0.10  # of the cloth's volume; its fibres are finer than a voxel
Voids = Literal["inside", "interface"]
TOW_LAYERS_ABOVE = (69.5, 74.0)  # where what leaves reaches down to the ceramic: all tows lie above it

DEPLETED_SHARE = 0.95  # of a zone's sodium that leaves


@dataclass(frozen=True)
class Materials:
    """Attenuation of the cell's materials at one energy.

    Attributes
    ----------
    sodium_cm2_g, potassium_cm2_g : float
        Mass attenuation of the two species.
    housing, bead, ceramic, sodium, anode, tow : float
        Attenuation, 1/cm; ``anode`` is the filled cloth, ``tow`` a bundle of solid carbon, gas is 0.
    anode_density : float
        Sodium, and as much potassium (NaK50), per volume of the filled cloth, g/cm3.
    """

    sodium_cm2_g: float
    potassium_cm2_g: float
    housing: float
    bead: float
    ceramic: float
    sodium: float
    anode: float
    tow: float
    anode_density: float

    def difference(self, of: str, instead: str) -> float:
        """Return by how much one material attenuates more than another, "gas" among them, 1/cm."""
        mine, other = (0.0 if name == "gas" else float(getattr(self, name)) for name in (of, instead))
        return mine - other


@dataclass(frozen=True)
class Site:
    """Where sodium leaves: an ellipse in the plane, how high it grows, and when it starts."""

    centre: tuple[float, float]
    radii: tuple[float, float]
    turn: float
    height: float
    onset: float
    void: bool


@dataclass(frozen=True, eq=False)
class Change:
    """What changed in one body (of value 1) since the pristine cell, g/cm3."""

    body: Body
    sodium: float
    potassium: float


@dataclass(frozen=True, eq=False)
class Cell:
    """The pristine cell, and where and in which order it will be stripped.

    Attributes
    ----------
    constant : tuple of Body
        Everything that never changes, the pristine anode included; 1/cm.
    made_of : tuple of (str, str)
        Of each of these bodies: its material, and the one that it takes the place of.
    sites : tuple of Site
        In the layout's coordinates.
    materials : Materials
        Attenuation and density.
    stretch : numpy.ndarray
        Factor (z, y, x) from the layout to this cell's voxels.
    shape : tuple of int
        Volume (z, y, x) of the field of view.
    pixel_size_um : float
        Voxel.
    voids : {"inside", "interface"}
        Whether what leaves begins off the ceramic or at it.
    """

    constant: tuple[Body, ...]
    made_of: tuple[tuple[str, str], ...]
    sites: tuple[Site, ...]
    materials: Materials
    stretch: Array
    shape: tuple[int, int, int]
    pixel_size_um: float
    voids: Voids = "inside"

    @property
    def change_bottom(self) -> float:
        """Height of the layout at which what leaves begins."""
        return CERAMIC_TOP if self.voids == "interface" else CHANGE_BOTTOM

    @property
    def region_z(self) -> tuple[int, int]:
        """Rows of the anode's interior, half-open."""
        low, high = (round(edge * float(self.stretch[0])) for edge in REGION_Z)
        return low, high

    @property
    def region_radius(self) -> float:
        """Radius of the anode's interior about the axis, voxels."""
        return REGION_RADIUS * float(self.stretch[1])


def nak_density(potassium_share: float, temperature: float = 25.0) -> float:
    """Return the density of liquid NaK, g/cm3, for a mass share of K and a temperature in degrees C (Foust)."""
    t = temperature
    sodium = 0.9453 - 2.2473e-4 * t
    potassium = 0.8415 - 2.172e-4 * t - 2.7e-8 * t**2 + 4.77e-12 * t**3
    moles_k = potassium_share / POTASSIUM_G_PER_MOL
    moles_na = (1.0 - potassium_share) / SODIUM_G_PER_MOL
    return (moles_k + moles_na) / (moles_k / potassium + moles_na / sodium)


def cell_materials(energy_keV: float) -> Materials:
    """Look up the attenuation of the cell's materials (xraydb, Elam tables)."""
    import xraydb

    energy = 1e3 * energy_keV
    sodium, potassium, carbon = (float(xraydb.mu_elam(element, energy)) for element in ("Na", "K", "C"))
    share = 0.5 * nak_density(0.5) * (1.0 - CARBON_SHARE)
    tow = 1.8 * carbon

    def attenuation(formula: str, density: float) -> float:
        return float(xraydb.material_mu(formula, energy, density=density))

    return Materials(
        sodium_cm2_g=sodium,
        potassium_cm2_g=potassium,
        housing=attenuation("C19H12O3", 1.30),
        bead=attenuation("SiO2", 2.20),
        ceramic=attenuation("Na3Zr2Si2PO12", 0.94 * 3.27),
        sodium=0.968 * sodium,
        anode=share * (sodium + potassium) + CARBON_SHARE * tow,
        tow=tow,
        anode_density=share,
    )


def build_cell(
    rows: int,
    columns: int,
    *,
    pixel_size_um: float,
    energy_keV: float,
    rng: np.random.Generator,
    voids: Voids = "inside",
) -> Cell:
    """Lay out a cell that fills a detector of `rows` x `columns` pixels; `rng` places what is random."""
    materials = cell_materials(energy_keV)
    stretch = np.array([rows / LAYOUT_ROWS, columns / LAYOUT_COLUMNS, columns / LAYOUT_COLUMNS])

    def filled(of: str, instead: str, make: Callable[[float], list[Body]]) -> list[tuple[Body, tuple[str, str]]]:
        return [(body, (of, instead)) for body in make(materials.difference(of, instead))]

    tows = TOW_LAYERS_ABOVE if voids == "interface" else TOW_LAYERS
    layout = [
        *filled("housing", "gas", lambda value: [disc(-OUT_OF_VIEW, OUT_OF_VIEW, HOUSING_OUTER, value)]),
        *filled("gas", "housing", lambda value: [disc(-OUT_OF_VIEW, OUT_OF_VIEW, HOUSING_INNER, value)]),
        *filled("sodium", "gas", lambda value: [disc(-OUT_OF_VIEW, CERAMIC_BOTTOM, SODIUM_RADIUS, value)]),
        *filled("ceramic", "gas", lambda value: [_ceramic(value)]),
        *filled("anode", "gas", lambda value: [disc(CERAMIC_TOP, ANODE_TOP, ANODE_RADIUS, value)]),
        *filled("bead", "housing", lambda value: _beads(value, rng)),
        *filled("gas", "ceramic", lambda value: _pores(value, rng)),
        *filled("tow", "anode", lambda value: _tows(value, tows, rng)),
    ]
    return Cell(
        constant=tuple(_stretched(body, stretch) for body, _ in layout),
        made_of=tuple(pair for _, pair in layout),
        sites=_sites(rng),
        materials=materials,
        stretch=stretch,
        shape=(rows, columns, columns),
        pixel_size_um=pixel_size_um,
        voids=voids,
    )


def changes_at(cell: Cell, progress: float) -> list[Change]:
    """Return what has changed when a share `progress` (0 to 1) of the final sodium has left."""
    if not 0.0 <= progress <= 1.0:
        raise ValueError(f"progress {progress} must lie between 0 and 1")
    final = sodium_change_mg(cell, _grown(cell, 1.0))

    def missing(growth: float) -> float:
        return sodium_change_mg(cell, _grown(cell, growth)) / final - progress

    if progress in (0.0, 1.0):
        return _grown(cell, progress)
    return _grown(cell, float(scipy.optimize.brentq(missing, 0.0, 1.0, xtol=1e-12)))


def sodium_change_mg(cell: Cell, changes: Sequence[Change]) -> float:
    """Return the exact change of sodium in the anode, mg (negative when it left)."""
    cm3 = (cell.pixel_size_um * 1e-4) ** 3
    return 1e3 * cm3 * math.fsum(change.body.volume * change.sodium for change in changes)


def attenuation_bodies(cell: Cell, changes: Sequence[Change], materials: Materials | None = None) -> list[Body]:
    """Return the whole cell after `changes`, as bodies in 1/cm; at the energy of other `materials` where given."""
    m = cell.materials if materials is None else materials
    pairs = zip(cell.constant, cell.made_of, strict=True)
    return [
        *(cell.constant if materials is None else (replace(body, value=m.difference(*of)) for body, of in pairs)),
        *(replace(c.body, value=c.sodium * m.sodium_cm2_g + c.potassium * m.potassium_cm2_g) for c in changes),
    ]


def sodium_bodies(changes: Sequence[Change]) -> list[Body]:
    """Return the change of sodium as bodies in g/cm3."""
    return [replace(change.body, value=change.sodium) for change in changes]


def _stretched(body: Body, stretch: Array) -> Body:
    return transform(body, np.diag(stretch), (0.5 * (stretch[0] - 1.0), 0.0, 0.0))


def _grown(cell: Cell, growth: float) -> list[Change]:
    density = cell.materials.anode_density
    changes: list[Change] = []
    for site in cell.sites:
        size = (growth - site.onset) / (1.0 - site.onset)
        if size > 0.0:
            made = (site, size, density, cell.change_bottom)
            changes += _void(*made) if site.void else [_depleted(*made)]
    return [replace(change, body=_stretched(change.body, cell.stretch)) for change in changes]


def _depleted(site: Site, size: float, density: float, bottom: float) -> Change:
    half = 0.5 * site.height * size
    body = cylinder(
        (bottom + half, *site.centre), (half, *site.radii), 1.0, rotation=rotation_matrix((site.turn, 0.0, 0.0))
    )
    return Change(body, sodium=-DEPLETED_SHARE * density, potassium=0.0)


def _void(site: Site, size: float, density: float, bottom: float) -> list[Change]:
    scale = size ** (1.0 / 3.0)
    half = scale * site.height / 6.0  # the void takes a third of the height, its potassium the rest
    radii = (scale * site.radii[0], scale * site.radii[1])
    turn = rotation_matrix((site.turn, 0.0, 0.0))
    void = ellipsoid((bottom + half, *site.centre), (half, *radii), 1.0, rotation=turn)
    above = ellipsoid((bottom + 4.0 * half, *site.centre), (2.0 * half, *radii), 1.0, rotation=turn)
    replaced = 0.5 * density * nak_density(0.0) / nak_density(1.0)  # potassium takes this sodium's room
    return [Change(void, -density, -density), Change(above, -replaced, 0.5 * density)]


def _ceramic(value: float) -> Body:
    half = 0.5 * (CERAMIC_TOP - CERAMIC_BOTTOM)
    return cylinder((CERAMIC_BOTTOM + half, 0.0, 0.0), (half, *CERAMIC_RADII), value)


def _beads(value: float, rng: np.random.Generator) -> list[Body]:
    """Place beads in the housing's wall, one per sector so that they never touch."""
    count = 14
    wall = 0.5 * (HOUSING_OUTER - HOUSING_INNER)
    angle = 2.0 * np.pi * (np.arange(count) + rng.uniform(-0.2, 0.2, count)) / count
    height = rng.permutation(np.linspace(6.0, LAYOUT_ROWS - 7.0, count))
    size = rng.uniform(0.5, 0.8, (count, 3)) * wall
    radius = HOUSING_INNER + wall
    return [
        ellipsoid((z, radius * math.sin(a), radius * math.cos(a)), tuple(s), value)
        for z, a, s in zip(height, angle, size, strict=True)
    ]


def _pores(value: float, rng: np.random.Generator) -> list[Body]:
    """Drill two alignment holes through the ceramic and scatter closed pores that touch nothing."""
    half = 0.5 * (CERAMIC_TOP - CERAMIC_BOTTOM)
    middle, rim = CERAMIC_BOTTOM + half, CERAMIC_RADII[0]
    holes = [(0.9 * rim * math.sin(a), 0.9 * rim * math.cos(a)) for a in (0.4, 2.9)]
    bodies = [cylinder((middle, *hole), (half, 2.2, 2.2), value) for hole in holes]
    placed: list[tuple[Array, float]] = []
    while len(placed) < 28:
        size = np.sort(rng.uniform(1.5, 3.5, 3))
        reach = float(size[-1]) + 0.5
        radius = (rim - reach) * math.sqrt(rng.uniform(0.05, 1.0))
        angle = rng.uniform(0.0, 2.0 * np.pi)
        z = rng.uniform(CERAMIC_BOTTOM + reach, CERAMIC_TOP - reach)
        centre = np.array([z, radius * math.sin(angle), radius * math.cos(angle)])
        turn = rotation_matrix(rng.normal(size=3).tolist())
        clear = all(np.linalg.norm(centre - other) > reach + far for other, far in placed)
        if clear and all(math.dist(centre[1:], hole) > reach + 2.2 for hole in holes):
            placed.append((centre, reach))
            bodies.append(ellipsoid(tuple(centre), tuple(size), value, rotation=turn))
    return bodies


def _tows(value: float, layers: Sequence[float], rng: np.random.Generator) -> list[Body]:
    """Weave the cloth: a layer of bundles along x under one along y, outside the rows that change."""
    bodies = []
    for layer, height in enumerate(layers):
        turn = rotation_matrix((0.0, 0.5 * np.pi, 0.0) if layer == 0 else (0.0, 0.0, 0.5 * np.pi))
        for place in np.arange(-40.0, 41.0, 8.0) + rng.uniform(-1.0, 1.0, 11):
            half = 0.96 * math.sqrt(ANODE_RADIUS**2 - (abs(place) + 4.0) ** 2)
            yaw = rotation_matrix((rng.uniform(-0.03, 0.03), 0.0, 0.0))
            centre = (height, place, 0.0) if layer == 0 else (height, 0.0, place)
            width = rng.uniform(0.9, 1.15)
            bodies.append(cylinder(centre, (half, width, width), value, rotation=yaw @ turn))
    return bodies


def _sites(rng: np.random.Generator) -> tuple[Site, ...]:
    """Pack ellipses that do not touch into the anode's plane, the largest first."""
    placed: list[tuple[float, float, float]] = []
    for radius in np.repeat([13.0, 10.0, 7.5, 5.5], [4, 6, 9, 9]):
        for _ in range(2000):
            distance = (CHANGE_RADIUS - radius) * math.sqrt(rng.uniform())
            angle = rng.uniform(0.0, 2.0 * np.pi)
            y, x = distance * math.sin(angle), distance * math.cos(angle)
            if all(math.hypot(y - v, x - w) > radius + r + 0.5 for v, w, r in placed):
                placed.append((y, x, float(radius)))
                break
    tallest = CHANGE_TOP - CHANGE_BOTTOM
    return tuple(
        Site(
            centre=(y, x),
            radii=(r * float(rng.uniform(0.75, 1.0)), r),
            turn=float(rng.uniform(0.0, np.pi)),
            height=tallest * float(rng.uniform(0.8, 1.0)),
            onset=float(rng.uniform(0.0, 0.5)),
            void=number % 4 == 1,
        )
        for number, (y, x, r) in enumerate(placed)
    )
