"""Tables of single scans: frames, reconstruction, correlation of halves."""

from __future__ import annotations

from xct_pipeline.store.columns import Table, count, flag, index, quantity, text
from xct_pipeline.store.tables.shared import PROBLEM, SCAN

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
        quantity("lean_deg", "degree", "of the rotation axis along the beam, as found"),
        quantity("lean_sigma", "degree", "its standard error"),
        quantity("lift", "pixel", "by which the sample moved along z in half a turn; reported, not corrected"),
        quantity("lift_sigma", "pixel", "its standard error"),
        quantity("tilt_corrected_deg", "degree", "by which projections were turned upright"),
        quantity("lean_corrected_deg", "degree", "along the beam, by which rays leaned as slices were reconstructed"),
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

SCANS: tuple[Table, ...] = (_FRAMES, _RECONSTRUCTION, _SHELLS)
