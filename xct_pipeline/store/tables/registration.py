"""Tables of the registration."""

from __future__ import annotations

from xct_pipeline.store.columns import Table, count, quantity, text
from xct_pipeline.store.tables.shared import PROBLEM, SCAN, VOXELS

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

REGISTRATION: tuple[Table, ...] = (_REGISTRATION, _DISPLACEMENT, _FRAGMENTS)
