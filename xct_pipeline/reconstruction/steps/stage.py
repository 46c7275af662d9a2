"""Sinograms to a volume of attenuation, as block operations and as the pass that writes it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from xct_pipeline.acquisition.steps import Frame, scan_identity
from xct_pipeline.boxes import Region, inside
from xct_pipeline.config import Config, Reconstruction, ReconstructionBase
from xct_pipeline.correction.steps.fields import Fields
from xct_pipeline.correction.steps.samples import integrals_of_angles, integrals_of_rows
from xct_pipeline.correction.steps.stage import on_counts
from xct_pipeline.device import is_cupy, to_device, to_host
from xct_pipeline.engine.blocks import Array, BlockOp, Pass, Source
from xct_pipeline.engine.execution import estimated
from xct_pipeline.engine.resources import Need, Resources
from xct_pipeline.engine.steps import Estimate, Steps
from xct_pipeline.reconstruction import fourier, half_acquisition, leaning, truncation
from xct_pipeline.reconstruction.center.find import CenterEstimate, choose_rows, find_center, row_content
from xct_pipeline.reconstruction.methods import METHODS, View
from xct_pipeline.reconstruction.steps.upright import AxisTilt, upright_op
from xct_pipeline.scan import Axis, Scan, ScanError
from xct_pipeline.store.image import Image, level_count, shard_thickness
from xct_pipeline.store.store import Store

GROUP = 16  # slices that a run computes together; aligned to detector row 0
CONTENT_ANGLES = 8  # projections from which rows are chosen for the centre
CENTER_ROWS = 12
CENTER_BYTES = 24  # for each value of the rows that it is found in, measured on simulated scans
CENTER_S, CENTER_VALUE_S = 1.5, 5e-7  # CPU-seconds of a scan, and per value of a sinogram more
GRID_S, VOXEL_S = 1e-8, 3e-8  # CPU-seconds per voxel of a row and angle, and per voxel
LEAST_EDGE = 0.1  # line integral at the detector's edge from which a sample is said to reach beyond it


@dataclass(frozen=True)
class Geometry:
    """What the reconstruction of one scan needs to know.

    Attributes
    ----------
    angles : numpy.ndarray
        Radians, one per projection.
    rows, columns : int
        Of the working frame.
    axis : Axis
        In columns of the working frame.
    pixel_um : float or None
        Edge of a working pixel; None reconstructs in 1/pixel.
    size : int
        Side of a slice.
    side : str or None
        ``left`` or ``right`` where the axis lies near that edge of a 360-degree scan (half acquisition).
    """

    angles: Array
    rows: int
    columns: int
    axis: Axis
    pixel_um: float | None
    size: int
    side: half_acquisition.Side | None = None

    @property
    def view(self) -> View:
        """What is seen in one slice."""
        return View(len(self.angles), self.columns, self.size, self.axis, self.side is not None)

    def identity(self) -> dict[str, Any]:
        """Return what a volume depends on."""
        own = {key: value for key, value in vars(self).items() if key != "axis"}
        angles = {"tilt": self.axis.tilt, "lean": self.axis.lean}
        return own | {"center": self.axis.column} | {name: angle for name, angle in angles.items() if angle}


def side_of(settings: ReconstructionBase, angles: Array, columns: int, center: float) -> half_acquisition.Side | None:
    """Return the edge that the axis of a half acquisition lies near, None for an ordinary scan."""
    if settings.half_acquisition in ("left", "right"):
        return settings.half_acquisition
    middle = (columns - 1) / 2
    whole_turn = np.ptp(np.unwrap(np.asarray(angles))) > 0.97 * 2 * np.pi
    if settings.half_acquisition == "none" or not whole_turn or abs(center - middle) < columns / 8:
        return None
    return "left" if center < middle else "right"


def unit_of(pixel_um: float | None) -> str:
    """Return the unit of a reconstruction."""
    return "1/cm" if pixel_um is not None else "1/pixel"


def reconstruct_op(settings: Reconstruction, geometry: Geometry, first_row: int) -> BlockOp:
    """Return the operation from line integrals (angle, row, column) to a volume (z, y, x).

    Parameters
    ----------
    settings : section of the configuration
    geometry : Geometry
    first_row : int
        Detector row of the volume's first slice.
    """
    method = METHODS[settings.method]
    own = settings.model_dump(exclude={"method", *ReconstructionBase.model_fields})
    options = dict(method.resolve(own))
    group, leans = method.together(own), bool(geometry.axis.lean)
    seen = (geometry.columns, geometry.size, geometry.axis.column, geometry.axis.lean)
    halo = leaning.reach(*seen) if leans else 0
    scratch = leaning.scratch_bytes(len(geometry.angles), *seen) if leans else method.memory(geometry.view, options)

    def needs(region: Region) -> Region:
        z = region[0]
        first = max(0, (z.start + first_row) // group * group - halo)
        stop = min(geometry.rows, -(-(z.stop + first_row) // group) * group + halo)
        return slice(0, len(geometry.angles)), slice(first, stop), slice(0, geometry.columns)

    return BlockOp(
        f"reconstruction.{method.name}",
        method.version,
        partial(
            _apply,
            kernel=method.kernel,
            options=options,
            geometry=geometry,
            first_row=first_row,
            circle=settings.circle,
            # weighting the rays needs no interpolation, but only a linear method may weight them
            linear=method.linear(own),
            on_device=method.on_device and not leans,
        ),
        {"method": method.name, **options, "geometry": geometry.identity(), "circle": settings.circle},
        needs,
        lambda region: scratch,  # noqa: ARG005
    )


def _apply(
    block: Any,
    source: Region,
    target: Region,
    *,
    kernel: Any,
    options: Mapping[str, Any],
    geometry: Geometry,
    first_row: int,
    circle: bool,
    linear: bool,
    on_device: bool,
) -> tuple[Any, dict[str, int]]:
    sinograms, angles, axis = block, geometry.angles, geometry.axis
    far = {"left": ("right",), "right": ("left",)}  # of a half acquisition, the edge near the axis sees the sample
    sides = ("left", "right") if geometry.side is None else far[geometry.side]
    truncated = truncation.is_truncated(block, least=LEAST_EDGE, sides=sides)
    if geometry.side is not None:
        join = half_acquisition.weigh if linear else half_acquisition.stitch
        sinograms, angles, column = join(sinograms, angles, center=axis.column, side=geometry.side)
        axis = replace(axis, column=column)
    rows = slice(target[0].start + first_row, target[0].stop + first_row)
    (kept,) = inside((source[1],), (rows,))
    moved = is_cupy(block) and not on_device
    sinograms = to_host(sinograms) if moved else sinograms
    known = (sinograms, angles, axis, geometry.size, geometry.pixel_um, options)
    volume = leaning.reconstruct(*known, source[1].start, rows) if axis.lean else kernel(*known)[kept]
    volume = to_device(volume) if moved else volume
    if circle:
        volume = fourier.mask_circle(volume)
    return volume, {"truncated_rows": int(truncated[kept].sum())}


def truncation_warning(rows: int, of: int) -> str:
    """Say that the sample reaches beyond the detector."""
    return (
        f"the sample reaches beyond the detector in {rows} of {of} rows: what lies outside the circle that every "
        "projection sees is not there, and values inside are biased; see docs/reconstruction.md"
    )


def geometry_of(settings: ReconstructionBase, scan: Scan, frame: Frame, axis: Axis, pixel_um: float | None) -> Geometry:
    """Return the geometry of a scan; `axis` is in columns of the working frame."""
    side = side_of(settings, scan.angles, frame.columns, axis.column)
    size = frame.columns if side is None else half_acquisition.full_size(frame.columns, axis.column, side)
    return Geometry(scan.angles, frame.rows, frame.columns, axis, pixel_um, size, side)


def given_center(axis: Axis) -> CenterEstimate:
    """Return a centre that the user gave, in columns of the detector."""
    nan, none = math.nan, np.zeros((2, 0))
    return CenterEstimate(
        axis.column,
        nan,
        nan,
        "given",
        nan,
        "none",
        nan,
        nan,
        False,
        nan,
        "",
        nan,
        np.zeros(0),
        np.zeros(0),
        none,
        none,
        (),
    )


def center_step(scan: Scan, frame: Frame, inputs: Mapping[str, Any] | None = None) -> Estimate:
    """Return the step that finds the centre of rotation of a scan."""
    sinogram = frame.angles * frame.columns
    need = Need("", 1, CENTER_ROWS * sinogram * CENTER_BYTES, alone=True, cpu_s=CENTER_S + CENTER_VALUE_S * sinogram)
    return Estimate(f"{scan.name}/center", 4, need, inputs or {})


def estimate_center(
    config: Config,
    scan: Scan,
    frame: Frame,
    fields: Fields,
    store: Store | None,
    steps: Steps | None = None,
    tilt: AxisTilt | None = None,
) -> CenterEstimate:
    """Find the centre of rotation from rows chosen for their content, in detector columns; cached in the store.

    Projections are turned upright first where the axis has a `tilt`; what whole projections tell of it leads.

    Raises
    ------
    ScanError
        No centre can be found.
    """
    settings = config.correction
    upright = upright_op(frame, tilt.corrected_deg if tilt else 0.0, fields.shift)
    after = () if upright is None else (upright,)
    ops = [op.identity() for op in (*on_counts(settings, scan, frame, fields), *after)]
    key = {**scan_identity(scan), "frame": vars(frame), "ops": ops}

    def search() -> dict[str, Array]:
        try:
            content = row_content(integrals_of_angles(scan, frame, fields, CONTENT_ANGLES))
            rows = choose_rows(content, CENTER_ROWS)
            sinograms = integrals_of_rows(settings, scan, frame, fields, rows.tolist(), after)
            known = None if tilt is None or tilt.found is None else (tilt.found.tilt_deg, tilt.found.tilt_sigma)
            found = find_center(sinograms, scan.angles, rows, known_tilt=known)
        except ValueError as error:
            raise ScanError(f"{scan.name}: {error}") from None
        return {name: np.asarray(value) for name, value in vars(found).items()}

    return restored_center(estimated(store, center_step(scan, frame, key), search, steps), frame)


def restored_center(values: Mapping[str, Array], frame: Frame) -> CenterEstimate:
    """Return an estimate from the arrays that the store keeps of it, in detector columns."""
    return _in_detector_columns(_restored(values), frame)


def _restored(values: Mapping[str, Array]) -> CenterEstimate:
    """Return an estimate from the arrays it was cached as."""
    plain: dict[str, Any] = {name: value.item() if value.ndim == 0 else value for name, value in values.items()}
    plain["warnings"] = tuple(str(text) for text in values["warnings"])
    return CenterEstimate(**plain)


def _in_detector_columns(found: CenterEstimate, frame: Frame) -> CenterEstimate:
    if frame.binning == 1 and frame.first_column == 0:
        return found
    moved = [np.stack([frame.to_detector(c[0]), c[1]]) for c in (found.curve, found.metric_curve)]
    return replace(
        found,
        center=frame.to_detector(found.center),
        metric_center=frame.to_detector(found.metric_center),
        sigma=found.sigma * frame.binning,
        agreement=found.agreement * frame.binning,
        row_centers=frame.to_detector(found.row_centers),
        curve=moved[0],
        metric_curve=moved[1],
    )


def common_center(found: Sequence[CenterEstimate]) -> CenterEstimate:
    """Return one centre for all scans: the mean weighted by the inverse variances, with the spread as a warning."""
    centers = np.array([estimate.center for estimate in found])
    sigmas = np.array([max(estimate.sigma, 1e-3) if np.isfinite(estimate.sigma) else 1e-3 for estimate in found])
    weights = sigmas**-2
    center = float((weights * centers).sum() / weights.sum())
    chi = math.sqrt(float((weights * (centers - center) ** 2).sum()) / max(len(found) - 1, 1))
    sigma = float(weights.sum() ** -0.5) * max(1.0, chi)
    warnings = found[0].warnings
    if chi > 3:
        warnings += (
            f"one centre for all, but they spread over {np.ptp(centers):.2f} pixels: the axis moved between scans",
        )
    return replace(found[0], center=center, sigma=sigma, method=f"common ({found[0].method})", warnings=warnings)


def volume_image(name: str, geometry: Geometry, rows: tuple[int, int]) -> Image:
    """Return the image of a scan's volume: (z, y, x), rows of the detector along z."""
    shape = (rows[1] - rows[0], geometry.size, geometry.size)
    thickness = shard_thickness(shape)
    return Image(
        f"scans/{name}/volume",
        ("z", "y", "x"),
        shape,
        "float32",
        unit_of(geometry.pixel_um),
        thickness,
        level_count(shape, thickness),
        geometry.pixel_um,
        (float(rows[0]), 0.0, 0.0),
    )


def volume_pass(
    name: str,
    source: Source,
    before: Sequence[BlockOp],
    settings: Reconstruction,
    geometry: Geometry,
    rows: tuple[int, int],
    inputs: Mapping[str, Any],
    limits: Resources,
    before_s: float = 0.0,
) -> Pass:
    """Return the pass from a source of projections to a scan's volume."""
    image, size = volume_image(name, geometry, rows), geometry.size
    op = reconstruct_op(settings, geometry, rows[0])
    granule, offset = (GROUP, size, size), (rows[0], 0, 0)
    cpu_s = image.shape[0] * size * (len(geometry.angles) * GRID_S + size * VOXEL_S) + before_s
    return Pass(image, source, (*before, op), granule, offset, inputs, limits.on_device, cpu_s=cpu_s)
