"""Where everything of a store is: every path, relative to its folder, declared once. `tables` has the columns."""

from __future__ import annotations

import re
from dataclasses import dataclass

SCANS = "scans"
REGISTERED = "registered"
LABELS = "registered/labels"
MATERIALS = "registered/labels/materials"
ATTENUATION = "variation/attenuation"
DENSITY = "variation/density"
FLAGS = "variation/flags"
AREAL = "variation/areal"
AREAL_SIGMA = "variation/areal_sigma"
AREAL_NOISE = "variation/areal_noise"
CONSECUTIVE = "_consecutive"
COLUMNS = "tables/README.json"
REPORT = "report.html"
CRATE = "ro-crate-metadata.json"
LOG = "run.log"
STATE = ".xct"
STEPS = ".xct/steps.json"
PLAN = ".xct/plan.json"
HOLDER = ".xct/lock.json"
LEASES = ".xct/leases"


@dataclass(frozen=True)
class Place:
    """A path of a store, with ``{scan}`` and the like where names stand, and what is there."""

    path: str
    meaning: str

    def __call__(self, **names: str) -> str:
        """Return the path with names filled in."""
        return self.path.format(**names)

    def matches(self, path: str) -> bool:
        """Tell whether a path is this one for some names."""
        parts = re.split(r"\{\w+\}", self.path)
        return re.fullmatch("[^/]+".join(re.escape(part) for part in parts), path) is not None


VOLUME = Place("scans/{scan}/volume", "(z, y, x), 1/cm: the reconstruction of a scan in its own frame")
PROJECTIONS = Place(
    "scans/{scan}/projections", "(angle, row, column): line integrals, only where whole ones are needed"
)
OBJECTS = Place("registered/labels/objects_{material}", "(t, z, y, x): connected objects of a material, numbered")
TABLE = Place("tables/{table}.csv", "a table; its columns stand in README.json beside it")
CENTER = Place(".xct/estimates/{scan}/center.npz", "centre of rotation of a scan, with the scores of trial centres")

IMAGES: tuple[Place, ...] = (
    VOLUME,
    PROJECTIONS,
    Place(REGISTERED, "(t, z, y, x), 1/cm: every scan in the frame and on the grey scale of the reference"),
    Place(MATERIALS, "(t, z, y, x): labels of the materials"),
    OBJECTS,
    Place(ATTENUATION, "(t, z, y, x), 1/cm: change against the reference"),
    Place(DENSITY, "(t, z, y, x), g/cm3: change of the species against the reference"),
    Place(FLAGS, "(t, z, y, x): why the closure does not hold, 0 where it does"),
    Place(AREAL, "(t, y, x), mg/cm2: change of the species, integrated along z over the region"),
    Place(AREAL_SIGMA, "(t, y, x), mg/cm2: standard error of a pixel of the areal map"),
    Place(AREAL_NOISE, "(t, y, x), mg/cm2: the part of that error that is noise, which bins average out"),
    *(
        Place(f"{path}{CONSECUTIVE}", "the same against the scan before")
        for path in (ATTENUATION, DENSITY, AREAL, AREAL_SIGMA, AREAL_NOISE)
    ),
)


def image_place(path: str) -> Place | None:
    """Return what is declared for the image at a path, None where nothing is."""
    return next((place for place in IMAGES if place.matches(path)), None)
