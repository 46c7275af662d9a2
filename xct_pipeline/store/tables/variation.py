"""Tables of the change of mass and its errors."""

from __future__ import annotations

from xct_pipeline.store.columns import Table, count, flag, index, quantity, text
from xct_pipeline.store.tables.shared import AREALS, CHARGE, DENSITIES, MASS, SCAN, TIME, VOLTAGE, VOXELS

CAUSES = {
    "noise": "noise of the difference",
    "rings": "rings: what columns of the detector are off by at all angles alike",
    "registration": "the transform",
    "calibration": "the grey scale",
    "faces": "the layers next to the ceramic, of a whole body",
    "linearity": "grey values that do not follow the attenuation, and angles that both scans miss: alike in all scans",
    "table": "the mass attenuation",
    "energy": "the energy",
    "pixel": "the size of a pixel, twice: the mass goes with its square",
    "closure": "the closure",
}

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
        quantity("dark", "1", "share of the full light by which the dark level lies above the reference scan's"),
        quantity("sigma_dark", "1", "its standard error"),
        quantity("mass_dark_mg", "mg", "by which that puts the change of mass off"),
        text("problem", "why nothing is told of the scan's cupping, empty where something is"),
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

_NEAR_FACE = Table(
    "near_face",
    "scan",
    (
        SCAN,
        count("faces", "of the ceramic that are summed across: 2, or 1 where sinograms do not show both"),
        quantity("measured_mg", "mg", "change of mass in the layers next to the ceramic, summed across its faces"),
        quantity("sigma_measured_mg", "mg", "its standard error"),
        quantity("continued_mg", "mg", "the same, continued from the layers after them"),
        quantity("sigma_continued_mg", "mg", "its standard error"),
        *MASS,
    ),
)

VARIATION: tuple[Table, ...] = (
    _MASS_BALANCE,
    _NEAR_FACE,
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
