"""What a sharp horizontal face (ceramic below, anode above) crossed by the motion leaves in a difference.

The tables of docs/registration.md are printed by ``python tests/unit/registration/test_faces.py``.
"""

from __future__ import annotations

import functools
from typing import NamedTuple

import numpy as np
import pytest
from scipy.special import erf

from xct_pipeline.reconstruction.fourier import reconstruct
from xct_pipeline.registration import transform as tf
from xct_pipeline.registration.warp import warp_block
from xct_pipeline.simulation.phantom import disc, project, rotation_matrix
from xct_pipeline.simulation.phantom import transform as moved_body
from xct_pipeline.variation.uncertainty import edge_shell

ORDERS = ("linear", "cubic", "quintic")
CERAMIC, ANODE = 7.3, 0.5  # 1/cm: NASICON and NaK-filled carbon at 50 keV
SODIUM = 0.2804  # cm2/g at 50 keV


def whole(volume: np.ndarray) -> tuple[slice, ...]:
    return tuple(slice(0, n) for n in volume.shape)


# ------------------------------------------------------------------------------------------- the dipole


class Dipole(NamedTuple):
    """Resampled minus true volume, as shares of the step between the materials."""

    largest: float
    outside: float  # the shell that the maps flag
    column: float  # largest change of a sum across the face, as a share of that sum


N, HEIGHT = 48, 24.3


def face(height: float, slope: float, blur: float) -> np.ndarray:
    """Return voxel means of a step at ``height + slope (y - middle)``, blurred by a Gaussian along z."""
    z, y = np.arange(N, dtype=np.float64)[:, None, None], np.arange(N, dtype=np.float64)[None, :, None]
    depth = height + slope * (y - (N - 1) / 2) - z

    def integral(t: np.ndarray) -> np.ndarray:
        if blur == 0:
            return np.maximum(t, 0)
        return t * 0.5 * (1 + erf(t / (blur * np.sqrt(2)))) + blur * np.exp(-(t**2) / (2 * blur**2)) / np.sqrt(
            2 * np.pi
        )

    share = integral(depth + 0.5) - integral(depth - 0.5)
    return np.broadcast_to(ANODE + (CERAMIC - ANODE) * share, (N, N, N)).astype(np.float32)


def dipole(order: str, blur: float) -> Dipole:
    """Move a face by 0.37 voxel along z and 1 degree, resample it with the true motion, compare it with the truth."""
    middle = (N - 1) / 2
    motion = tf.rigid([0.0, 0.0, np.deg2rad(1.0)], [0.37, 0.0, 0.0], [HEIGHT, middle, middle])
    slope = -motion[0, 1] / motion[0, 0]
    height = (HEIGHT - motion[0, 3] - motion[0, 1] * middle) / motion[0, 0]
    moving, truth = face(HEIGHT, 0.0, blur), face(height, slope, blur)
    out = warp_block(moving, motion, whole(moving), shape=moving.shape, order=order)
    inner = (slice(8, -8),) * 3
    step = CERAMIC - ANODE
    difference = (out - truth)[inner].astype(np.float64)
    shell = edge_shell(truth, threshold=0.2 * step)[inner]
    columns = difference.sum(axis=0) / truth[inner].sum(axis=0, dtype=np.float64)
    largest, outside = (float(np.abs(d).max()) / step for d in (difference, difference[~shell]))
    return Dipole(largest, outside, float(np.abs(columns).max()))


@pytest.mark.parametrize("blur", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("order", ORDERS)
def test_interpolation_leaves_a_dipole_inside_the_flagged_shell_and_keeps_the_sum(order, blur, record_property):
    found = dipole(order, blur)
    record_property("dipole", float(found.largest))
    limits = {"linear": (0.13, 0.08, 0.03), "cubic": (0.10, 0.025, 0.004), "quintic": (0.10, 0.02, 0.002)}
    largest = limits[order][(0.0, 0.5, 1.0).index(blur)]
    assert 0.3 * largest < found.largest < largest  # it is there: the shell has to be flagged
    assert found.outside < {"linear": 0.002, "cubic": 0.006, "quintic": 0.016}[order]
    assert found.column < 5e-4


# ------------------------------------------------------------------- intensities averaged before the log


class Across(NamedTuple):
    """Sums across the face, of a moved and resampled scan against a scan at rest."""

    interpolation: float  # change of the sum, as a share of it, where line integrals are averaged over pixels
    detector: float  # the same where intensities are, as detectors do
    shift_voxels: float  # displacement of the face that would do what the averaging adds


ROWS, COLUMNS, ANGLES, RADIUS, FACE = 48, 96, 151, 36.0, 20.3


def across(step: float, degrees: float, order: str = "cubic") -> Across:
    """Simulate, reconstruct and resample a disc of ceramic under an anode, at rest and tilted.

    Parameters
    ----------
    step : difference of the line integrals through the ceramic and through the anode
    """
    pixel_um = 1e4 * step / ((CERAMIC - ANODE) * 2 * RADIUS)
    turn = rotation_matrix((0.0, np.deg2rad(degrees), 0.0))
    offset = np.array([FACE, 0, 0]) - turn @ [FACE, 0, 0] + [0.5, 0.4, -0.3]
    middle = np.array([0.0, (COLUMNS - 1) / 2, (COLUMNS - 1) / 2])
    motion = np.column_stack([turn, offset + middle - turn @ middle])
    change = {}
    for average in ("integral", "intensity"):
        rest, tilted = (
            _volume(turn if k else np.eye(3), offset if k else np.zeros(3), pixel_um, average) for k in (0, 1)
        )
        out = warp_block(tilted, motion, whole(tilted), shape=tilted.shape, order=order)
        y, x = np.ogrid[:COLUMNS, :COLUMNS]
        core = np.hypot(y - middle[1], x - middle[2]) < 0.75 * RADIUS
        window = slice(10, 31)
        sums = [v[window].sum(axis=0, dtype=np.float64)[core].mean() for v in (out, rest)]
        change[average] = (sums[0] - sums[1], sums[1])
    added = change["intensity"][0] - change["integral"][0]
    shares = [change[average][0] / change[average][1] for average in ("integral", "intensity")]
    return Across(*shares, added / (CERAMIC - ANODE))


def _volume(turn: np.ndarray, offset: np.ndarray, pixel_um: float, average: str) -> np.ndarray:
    angles = np.linspace(0, np.pi, ANGLES, endpoint=False)
    bodies = [disc(-40.0, FACE, RADIUS, CERAMIC), disc(FACE, 34.0, RADIUS, ANODE)]
    integrals = project(
        [moved_body(body, turn, offset) for body in bodies],
        angles,
        rows=ROWS,
        columns=COLUMNS,
        center=(COLUMNS - 1) / 2,
        pixel_size_um=pixel_um,
        supersample=4,
        average=average,
    )
    return reconstruct(
        integrals.astype(np.float32), angles, center=(COLUMNS - 1) / 2, pixel_size_um=pixel_um, fft="scipy"
    )


cached = functools.cache(across)


def test_interpolation_alone_keeps_the_sum_across_a_reconstructed_face(record_property):
    found = cached(1.0, 1.0)
    record_property("share", float(found.interpolation))
    assert abs(found.interpolation) < 5e-3


def test_averaging_intensities_moves_the_face_seemingly(record_property):
    """The exponential edge-gradient effect: within a pixel that a face crosses, bright rays outweigh dark ones."""
    found = cached(1.0, 1.0)
    record_property("shift_voxels", float(found.shift_voxels))
    assert found.shift_voxels == pytest.approx(0.05, abs=0.02)
    faint = cached(0.25, 1.0)
    assert abs(faint.shift_voxels) < 0.35 * found.shift_voxels  # about as the step of the line integrals


def main() -> None:
    """Print the tables of docs/registration.md."""
    for blur in (0.0, 0.5, 1.0):
        for order in ORDERS:
            d = dipole(order, blur)
            print(f"| {blur} | {order} | {100 * d.largest:.1f} % | {100 * d.outside:.2f} % | {100 * d.column:.4f} % |")
    for step in (0.25, 0.5, 1.0, 2.0):
        for degrees in (0.3, 1.0, 3.0):
            a = across(step, degrees)
            sodium = a.shift_voxels * 2e-4 * (CERAMIC - ANODE) / SODIUM * 1e3
            print(
                f"| {step} | {degrees} | {100 * a.interpolation:+.2f} % | {100 * a.detector:+.2f} % "
                f"| {a.shift_voxels:+.3f} | {sodium:+.2f} |"
            )


if __name__ == "__main__":
    main()
