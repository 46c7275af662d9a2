"""What a store holds: every path, every table, and every column with its unit and meaning, each declared once.

Paths are relative to the store's folder. A column that is declared without a unit it needs, or with one it has no use
for, is an error where this module is imported; a column that is not declared cannot be written.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from xct_pipeline.store.columns import Table, count, flag, index, quantity, text

# ---------------------------------------------------------------------------------------------------- paths

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


# --------------------------------------------------------------------------------------------------- columns

SCAN = text("scan", "name of the scan")
PROBLEM = text("problem", "why the scan could not be finished; empty where it was")
TIME = quantity("time_s", "s", "middle of the scan, since the start of the first one")
CHARGE = quantity("charge_C", "C", "that passed since the reference, positive when the species leaves")
VOLTAGE = quantity("voltage_V", "V", "of the cell")
VOXELS = count("voxels", "voxels")
LABEL = index("label", "value in the image of labels")
MASS = (
    quantity("mass_change_mg", "mg", "change of mass of the species, negative where it left"),
    quantity("sigma_mg", "mg", "its standard error, all causes together"),
)
DENSITIES = (
    quantity("density_g_cm3", "g/cm3", "mean change of density of the species"),
    quantity("sigma_density_g_cm3", "g/cm3", "its standard error"),
)
AREALS = (
    quantity("areal_mg_cm2", "mg/cm2", "the same of a layer one voxel thick"),
    quantity("sigma_areal_mg_cm2", "mg/cm2", "its standard error"),
)
MATRIX = tuple(
    quantity(
        f"m{i}{j}",
        "micrometre" if j == 3 else "1",
        "of the transform (z, y, x) from the reference to the scan"
        + ("; voxels where their size is unknown" * (j == 3)),
    )
    for i in range(3)
    for j in range(4)
)
NODE = tuple(quantity(axis, "voxel", f"place along {axis} in the reference's frame") for axis in "zyx")
MOVED = tuple(quantity(f"d{axis}", "voxel", f"moved along {axis} beyond the scan's own motion") for axis in "zyx")
MATCH = (
    quantity("residual", "1/cm", "root mean square of the difference over what was matched, both smoothed"),
    quantity("correlation", "1", "of the two intensities after the match"),
)
SELF_CHECK = quantity(
    "tre_self", "voxel", "standard error of the motion: largest distance over what was matched, r.m.s."
)
RINGS = quantity(
    "rings", "1/cm", "root mean square of the rings that were left out of the match; 0 where none were told"
)
KEPT = quantity("kept", "1", "share of what was matched that keeps its grey value")
CAUSES = {
    "noise": "noise of the difference",
    "rings": "rings: what columns of the detector are off by at all angles alike",
    "registration": "the transform",
    "calibration": "the grey scale",
    "table": "the mass attenuation",
    "energy": "the energy",
    "closure": "the closure",
}

# ---------------------------------------------------------------------------------------------------- tables

_HALVES = (
    quantity(
        "noise_halves",
        "1/cm",
        "standard deviation of a voxel's noise, from even and odd projections; 1/pixel where its size is unknown",
    ),
    quantity("noise_halves_sigma", "1/cm", "its standard error"),
    quantity("resolution_voxel", "voxel", "period down to which a voxel holds half a bit (correlation of halves)"),
    quantity("resolution_um", "micrometre", "the same"),
    quantity("resolution_seventh_voxel", "voxel", "period at which that correlation falls below 1/7"),
    quantity("resolution_seventh_um", "micrometre", "the same"),
    text("halves", "box of the volume that these were measured in, or why they are not available"),
)

_RECONSTRUCTION = Table(
    "reconstruction",
    "scan",
    (
        SCAN,
        quantity("center", "detector column", "centre of rotation"),
        quantity("center_sigma", "pixel", "its standard error"),
        quantity("center_agreement", "pixel", "distance of the second method's centre"),
        text("center_method", "how the centre was found"),
        quantity("tilt_deg", "degree", "of the rotation axis to the detector's columns, as found"),
        quantity("tilt_sigma", "degree", "its standard error"),
        quantity("lean_deg", "degree", "of the rotation axis along the beam; reported, not corrected"),
        quantity("lean_sigma", "degree", "its standard error"),
        quantity("lift", "pixel", "by which the sample moved along z in half a turn; reported, not corrected"),
        quantity("lift_sigma", "pixel", "its standard error"),
        quantity("tilt_corrected_deg", "degree", "by which projections were turned upright"),
        text("tilt_method", "how the tilt is known, or why it is not"),
        quantity("motion_rows", "pixel", "range of the sample's slow motion along rows within the scan, as found"),
        quantity("motion_rows_sigma", "pixel", "standard error of it in one projection"),
        quantity("motion_columns", "pixel", "the same along columns, but for what another axis explains"),
        quantity("motion_columns_sigma", "pixel", "standard error of it in one projection"),
        text("motion_method", "how that motion is known, or why it is not"),
        text("unit", "of the volume"),
        quantity("voxel_size_um", "micrometre", "edge of a voxel"),
        count("margin_left", "columns of air at the left edge"),
        count("margin_right", "columns of air at the right edge"),
        count("flat_components", "eigen flats of dynamic flats"),
        count("flat_bands", "components of bands that dynamic flats found in air"),
        quantity("flat_change", "1", "share of the light in air that dynamic flats corrected, r.m.s."),
        quantity("flat_change_sigma", "1", "standard error of that share in one projection"),
        quantity("flat_left", "1", "share of the light by which rows of air stay uneven beyond noise, r.m.s."),
        quantity("flat_left_sigma", "1", "its standard error"),
        count("clipped", "pixels whose transmission was raised to the least that is taken"),
        count("saturated", "pixels at the detector's limit"),
        count("zero", "pixels without counts"),
        count("nonfinite", "pixels that were no number"),
        count("zingers", "pixels hit by stray X-rays and replaced"),
        count("defective", "values of defective detector elements that were replaced"),
        count("stripe_columns", "columns that were corrected for stripes"),
        count("untouched_rows", "rows in which nothing was corrected"),
        count("truncated_rows", "rows whose sample reaches beyond the detector"),
        *_HALVES,
        quantity("seconds", "s", "of the tasks, added up"),
        text("starts_from", "the volume and its format, where a scan starts from one; empty for projections"),
        text("not_measured", "what only projections tell, where a scan starts from a volume"),
        PROBLEM,
    ),
)

_SHELLS = Table(
    "shell_correlation",
    "scan and spatial frequency",
    (
        SCAN,
        quantity("frequency_per_voxel", "1/voxel", "spatial frequency, middle of the shell"),
        quantity("frequency_per_um", "1/micrometre", "the same"),
        quantity("correlation", "1", "of the volumes from even and from odd projections in that shell"),
        quantity("correlation_sigma", "1", "its standard error"),
        quantity("half_bit", "1", "correlation at which a voxel of the whole volume holds half a bit"),
        quantity("independent", "1", "independent pairs of Fourier coefficients in the shell"),
    ),
)

_REGISTRATION = Table(
    "registration",
    "scan",
    (
        SCAN,
        quantity("gain", "1", "attenuation of the scan is multiplied by"),
        quantity("offset", "1/cm", "and then raised by"),
        quantity("residual", "1/cm", "root mean square of the difference over what was matched, both smoothed"),
        SELF_CHECK,
        count("iterations", "of the optimiser"),
        *MATRIX,
        quantity("gain_sigma", "1", "standard error of the gain"),
        quantity("offset_sigma", "1/cm", "standard error of the offset"),
        quantity("check", "1/cm", "how far a material that was not fitted is off"),
        quantity("check_sigma", "1/cm", "its standard error"),
        KEPT,
        quantity("variance_factor", "1", "what resampling makes of the variance of white noise"),
        RINGS,
        text("undetermined", "motions that what was matched does not determine, left at their start"),
        quantity("undetermined_shift", "voxel", "standard error of those shifts: the range of the search"),
        quantity("undetermined_turn", "degree", "standard error of those turns: the range of the search"),
        count("without_data", "voxels of the reference's frame that the scan does not cover"),
        PROBLEM,
    ),
)

_DISPLACEMENT = Table(
    "displacement",
    "scan and node",
    (
        SCAN,
        *NODE,
        *MOVED,
        *MATCH,
        text("status", "how the match of the node ended"),
        *(quantity(f"strain_{pair}", "1", "small strain") for pair in ("zz", "yy", "xx", "zy", "zx", "yx")),
    ),
)

_FRAGMENTS = Table(
    "fragments",
    "scan and fragment",
    (
        SCAN,
        text("fragment", "its name in the configuration"),
        VOXELS,
        *NODE,
        *MOVED,
        SELF_CHECK,
        *(quantity(f"rotation_{axis}", "degree", f"about {axis}, beyond the scan's own motion") for axis in "zyx"),
        *MATCH,
        KEPT,
        *MATRIX,
        text("undetermined", "motions that the fragment does not determine, those of its scan"),
        PROBLEM,
    ),
)

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

_MASS_BALANCE = Table(
    "mass_balance",
    "scan",
    (
        SCAN,
        TIME,
        CHARGE,
        VOLTAGE,
        *MASS,
        quantity("faraday_mg", "mg", "change of mass that the charge asks for by Faraday's law"),
        *(quantity(f"sigma_{key}_mg", "mg", f"standard error from {cause}") for key, cause in CAUSES.items()),
        quantity("decision_limit_mg", "mg", "change above which it is seen that something changed"),
        quantity("detection_limit_mg", "mg", "change from which on it is seen reliably"),
        quantity("decision_limit_mg_cm2", "mg/cm2", "the same over the region's area"),
        quantity("detection_limit_mg_cm2", "mg/cm2", "the same over the region's area"),
        quantity("pixel_detection_limit_mg_cm2", "mg/cm2", "of one pixel of the areal map"),
        quantity("voxel_sigma_g_cm3", "g/cm3", "noise of the change of density of a voxel"),
        quantity("interpolation_factor", "1", "what resampling makes of white noise, summed along z"),
        quantity("mass_change_consecutive_mg", "mg", "change of mass since the scan before"),
        quantity("sigma_consecutive_mg", "mg", "its standard error"),
        quantity("apparent_mass_mg", "mg", "change of attenuation taken as one of the species alone"),
        quantity("mean_areal_mg_cm2", "mg/cm2", "mean of the areal map"),
        count("lost_voxels", "voxels of the region that one of the two scans does not cover"),
    ),
)

_AREAL_NOISE = Table(
    "areal_noise",
    "scan and size of a bin",
    (
        SCAN,
        count("bin_pixels", "pixels along the edge of a square bin of the areal map"),
        quantity("noise_ratio", "1", "noise of the bin's mean over that of a pixel, from the measured autocovariance"),
        count("noise_voxels", "voxels in which the autocovariance was measured"),
    ),
)

_NOISE = Table(
    "noise",
    "scan",
    (
        SCAN,
        quantity(
            "column_error",
            "1",
            "standard deviation of what a column of the detector is off by at all angles alike, in the difference of "
            "line integrals to the reference; NaN where it is not known",
        ),
        quantity("column_error_sigma", "1", "its standard error"),
        text("rings", "whether rings are in the errors, about how many axes, or why not"),
        quantity(
            "noise_quiet", "1/cm", "of a voxel of the difference to the reference, where nothing changes, without rings"
        ),
        quantity("noise_halves", "1/cm", "the same from even and odd projections, brought to that place"),
        quantity("ratio", "1", "of the two"),
        quantity("ratio_sums", "1", "the same of the sum over 8 x 8 x 8 voxels: above 1 by what both halves share"),
    ),
)

_GREY_SCALE = Table(
    "grey_scale",
    "scan",
    (
        SCAN,
        quantity("scatter", "1", "share of the light that cupping of the uniform material is explained by"),
        quantity("sigma_scatter", "1", "its standard error"),
        quantity("mass_scatter", "1", "share by which that scatter puts a change of mass off"),
        quantity("nonlinearity", "1", "excess of the response to the full light that explains it as well"),
        quantity("sigma_nonlinearity", "1", "its standard error"),
        quantity("mass_nonlinearity", "1", "share by which such a response puts a change of mass off"),
        quantity("cupping", "1", "grey value of the uniform material at its surface over that in its middle, less 1"),
        quantity("sigma_cupping", "1", "its standard error"),
        quantity("air", "1/cm", "of gas that the sample encloses, where 0 is expected"),
        quantity("sigma_air", "1/cm", "its standard error"),
        count("voxels", "of the uniform material, of the level of the pyramid that is looked at"),
        text("problem", "why nothing is told of the scan, empty where something is"),
    ),
)

_ROUTES = (
    Table(
        "mass_routes",
        "scan and route",
        (
            SCAN,
            text(
                "route",
                "volume: sum over the region; projections: least squares; rows: over its detector rows; all rows",
            ),
            quantity("mass_change_mg", "mg", "change of mass since the reference by this route"),
            quantity("sigma_mg", "mg", "its standard error, without what all routes share (tables, energy, closure)"),
            quantity("sigma_scatter_mg", "mg", "from the scatter of the estimates at single angles"),
            quantity("sigma_fixed_mg", "mg", "from what is the same at all angles, by the scatter between rows"),
            quantity("sigma_level_mg", "mg", "from the level of air that projections are scaled to"),
            quantity("sigma_drift_mg", "mg", "from a drift within the scan: half of a significant trend"),
            quantity("sigma_registration_mg", "mg", "from the motion"),
            quantity("difference_mg", "mg", "to the sum over the region"),
            quantity("sigma_difference_mg", "mg", "joint standard error of the two"),
            quantity("scaled_mg", "mg", "change of mass with the gain of the series' grey scale applied"),
            quantity("trend_mg", "mg", "change of the estimate from the first angle to the last"),
            quantity("sigma_trend_mg", "mg", "its standard error"),
            count("rows", "detector rows that are summed"),
            count("truncated_rows", "of them, those in which the sample reaches beyond the detector"),
        ),
    ),
    Table(
        "row_totals",
        "scan and detector row",
        (
            SCAN,
            index("z", "row of the reference volume"),
            *MASS,
            flag("in_region", "whether the region that mass is mapped in has voxels in it"),
        ),
    ),
)

_PROFILE = (*DENSITIES, *AREALS, VOXELS)
_ELEMENT = tuple(index(axis, f"bin along {axis}") for axis in "zyx")

_FRAMES = Table(
    "frames",
    "kind of frames of a scan, and run of frames that deviate",
    (
        SCAN,
        text("kind", "projections, flats or darks"),
        index("first", "first frame, counted from 0 among its kind"),
        index("last", "last frame"),
        count("frames", "frames in this row"),
        quantity("level", "1", "transmission of these frames against their group"),
        flag("left_out", "whether they take part in nothing"),
        text("finding", "what is seen of them"),
    ),
)

_LOG_TIME = quantity("time_s", "s", "since the start of the log")
_CURRENT = quantity("current_A", "A", "of the cell, positive in the direction of the charge")
_CYCLE = index("cycle", "number of the cycle, from 1")
_SPECTRUM = (
    text("spectrum", "name of the spectrum"),
    text("scan", "name of the scan that it was taken with, empty for none"),
    quantity("time_s", "s", "when it was taken, on the time axis of the log"),
)

ELECTROCHEMISTRY: tuple[Table, ...] = (
    Table("cycler", "time", (_LOG_TIME, CHARGE, VOLTAGE, _CURRENT)),
    Table(
        "impedance",
        "spectrum and frequency",
        (
            *_SPECTRUM,
            quantity("frequency_Hz", "Hz", "of the excitation"),
            quantity("real_ohm", "ohm", "real part of the impedance"),
            quantity("minus_imaginary_ohm", "ohm", "imaginary part of the impedance, sign turned"),
        ),
    ),
    Table(
        "drt",
        "spectrum and relaxation time",
        (
            *_SPECTRUM,
            quantity("tau_s", "s", "relaxation time"),
            quantity("distribution_ohm", "ohm", "polarisation resistance for each unit of ln tau"),
        ),
    ),
    Table(
        "drt_peaks",
        "spectrum and peak; peak 0 is the whole spectrum",
        (
            *_SPECTRUM,
            index("peak", "number of the peak from short to long times, 0 for the whole spectrum"),
            quantity("tau_s", "s", "relaxation time of the peak"),
            quantity("tau_sigma_s", "s", "its standard error"),
            quantity("resistance_ohm", "ohm", "polarisation resistance of the peak, or of all"),
            quantity("resistance_sigma_ohm", "ohm", "its standard error"),
            quantity("exponent", "1", "of the constant phase element that fits the peak, 1 for a capacitor"),
            text("kind", "arc, or diffusion: a row of peaks, of which the time is the longest"),
            flag("resolved", "whether its time lies within those that the frequencies see"),
            quantity("series_resistance_ohm", "ohm", "at infinite frequency"),
            quantity("inductance_H", "H", "of leads and cell"),
            quantity("kk_residual", "1", "what the Kramers-Kronig relations leave unexplained, share of the modulus"),
            flag("kk_violated", "whether that is more than noise can be"),
            quantity("regularisation", "1", "strength of the regularisation"),
            text("regularisation_rule", "how its strength was found"),
        ),
    ),
    Table("voltammetry", "time", (_CYCLE, _LOG_TIME, VOLTAGE, _CURRENT)),
    Table(
        "cycling",
        "cycle",
        (
            _CYCLE,
            quantity("start_s", "s", "its start on the time axis of the log"),
            quantity("end_s", "s", "its end"),
            quantity("charge_C", "C", "charge that went in"),
            quantity("discharge_C", "C", "charge that came out"),
            quantity("efficiency", "1", "coulombic: what came back of what was put in first"),
            quantity("overpotential_V", "V", "half the difference of the mean voltages of both directions"),
            quantity("charge_mAh_g", "mAh/g", "charge that went in, per mass of active material"),
            quantity("discharge_mAh_g", "mAh/g", "charge that came out, per mass of active material"),
        ),
    ),
)

TABLES: Mapping[str, Table] = {
    table.name: table
    for table in (
        _FRAMES,
        _RECONSTRUCTION,
        _SHELLS,
        _REGISTRATION,
        _DISPLACEMENT,
        _FRAGMENTS,
        _LABELS,
        _OBJECTS,
        _VOIDS,
        _INTERFACE,
        _CONTACTS,
        _THICKNESS,
        _MASS_BALANCE,
        _AREAL_NOISE,
        _NOISE,
        _GREY_SCALE,
        *_ROUTES,
        Table(
            "null",
            "quantity",
            (
                text("quantity", "chi2 of scans declared unchanged, degrees of freedom, factor, and what was applied"),
                quantity("value", "1", "of the quantity"),
            ),
        ),
        Table(
            "faraday",
            "quantity",
            (
                text("quantity", "slope of measured against Faraday's mass, leakage, chi2, degrees of freedom"),
                quantity("value", "1", "of the quantity"),
                quantity("sigma", "1", "its standard error"),
            ),
        ),
        *ELECTROCHEMISTRY,
        Table(
            "depth_profile",
            "scan and depth",
            (SCAN, quantity("depth_um", "micrometre", "distance from the ceramic's surface"), *_PROFILE),
        ),
        Table(
            "radial_profile",
            "scan and radius",
            (SCAN, quantity("radius_um", "micrometre", "distance from the axis"), *_PROFILE),
        ),
        Table("bins", "scan and bin", (SCAN, *_ELEMENT, *DENSITIES, *MASS, VOXELS)),
        Table("region_totals", "scan and region", (SCAN, text("region", "its name"), VOXELS, *MASS)),
        Table(
            "material_totals",
            "scan, region and material",
            (SCAN, text("region", "its name"), text("material", "of the reference scan"), VOXELS, *MASS),
        ),
    )
}

RENAMED: Mapping[str, Mapping[str, str]] = {"reconstruction": {"voxel_size": "voxel_size_um", "tilt": "tilt_deg"}}
"""Columns of tables that earlier versions wrote under another name."""


def units(table: str) -> dict[str, str]:
    """Return the unit of each column of a table that is a quantity; empty for a table that is not declared."""
    found = TABLES.get(table)
    return {} if found is None else {column.name: column.unit for column in found.columns if column.unit}
