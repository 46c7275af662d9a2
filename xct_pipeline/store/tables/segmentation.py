"""Tables of labels and of what they touch."""

from __future__ import annotations

from xct_pipeline.store.columns import Table, count, flag, index, quantity, text
from xct_pipeline.store.tables.shared import LABEL, SCAN, VOXELS

_LABELS = Table(
    "labels",
    "scan and material",
    (
        SCAN,
        LABEL,
        text("name", "of the material"),
        VOXELS,
        quantity("volume_mm3", "mm3", "of the material"),
        quantity("mean_attenuation", "1/cm", "over its voxels"),
        quantity("surface_area_mm2", "mm2", "of its surface inside the volume"),
    ),
)

_OBJECTS = Table(
    "objects",
    "object of a material in a scan",
    (
        SCAN,
        LABEL,
        text("material", "its name"),
        index("object", "value in the image of objects"),
        VOXELS,
        quantity("volume_um3", "micrometre3", "of the object"),
        quantity("equivalent_diameter_um", "micrometre", "of a ball of the same volume"),
        *(quantity(f"centroid_{axis}_um", "micrometre", f"its middle along {axis}") for axis in "zyx"),
        *(
            quantity(f"bbox_{axis}_{end}_voxel", "voxel", f"{what} voxel along {axis}")
            for axis in "zyx"
            for end, what in (("from", "first"), ("to", "one past the last"))
        ),
        flag("touches_border", "whether the volume's border cuts it"),
        quantity("mean_attenuation_per_cm", "1/cm", "over its voxels"),
        quantity("surface_area_um2", "micrometre2", "of its surface"),
        quantity("sphericity", "1", "surface of a ball of the same volume over its own"),
        quantity("distance_to_interface_um", "micrometre", "from the ceramic's surface"),
    ),
)

_VOIDS = Table(
    "voids",
    "scan and material",
    (
        SCAN,
        LABEL,
        text("material", "its name"),
        count("count", "objects that the volume's border does not cut"),
        quantity("volume_um3", "micrometre3", "of all of them"),
        quantity("volume_mean_um3", "micrometre3", "mean of an object"),
        quantity("volume_max_um3", "micrometre3", "of the largest"),
        quantity("diameter_median_um", "micrometre", "median equivalent diameter"),
        quantity("distance_mean_um", "micrometre", "from the ceramic's surface, weighted by volume"),
        count("touching", "objects within half a voxel of the ceramic's surface"),
    ),
)

_INTERFACE = Table(
    "interface",
    "scan, offset and material",
    (
        SCAN,
        text("material", "that lies at the ceramic's surface"),
        quantity("offset_voxels", "voxel", "distance from the surface at which was looked"),
        quantity("fraction", "1", "share of the surface that the material covers"),
        LABEL,
        quantity("offset_um", "micrometre", "the distance"),
        quantity("area_um2", "micrometre2", "that the material covers"),
        count("columns", "columns of voxels that were looked at"),
        quantity("ceramic_fraction", "1", "share of the surface above which ceramic lies again"),
    ),
)

_CONTACTS = Table(
    "contacts",
    "scan, partner, offset and material",
    (
        SCAN,
        text("material", "that lies at the partner's surface"),
        text("partner", "material whose whole surface is looked at"),
        quantity("offset_voxels", "voxel", "distance from the surface at which was looked"),
        quantity("fraction", "1", "share of the partner's surface that the material covers"),
        LABEL,
        quantity("area_um2", "micrometre2", "that the material covers"),
    ),
)

_THICKNESS = Table(
    "thickness",
    "scan, material and bin of thickness",
    (SCAN, LABEL, text("name", "of the material"), quantity("thickness_um", "micrometre", "middle of the bin"), VOXELS),
)

SEGMENTATION: tuple[Table, ...] = (_LABELS, _OBJECTS, _VOIDS, _INTERFACE, _CONTACTS, _THICKNESS)
