"""Displacement of a textured object with a closed form."""

import numpy as np
import pytest

from xct_pipeline.registration import local
from xct_pipeline.registration import transform as tf

N = 80
MIDDLE = (N - 1) / 2


def speckle(p):
    """Evaluate a sum of 300 Gaussian spots at points p (3, ...)."""
    rng = np.random.default_rng(0)
    centers, width = rng.uniform(-6, N + 6, (300, 3)), rng.uniform(1.5, 3.0, 300)
    height = rng.choice([-1, 1], 300) * rng.uniform(0.3, 1.0, 300)
    out = np.zeros(p.shape[1:])
    for c, w, a in zip(centers, width, height, strict=True):
        box = tuple(slice(max(int(m - 5 * w - 3), 0), max(int(m + 5 * w + 4), 0)) for m in c)  # displaced by up to 3
        q = p[(slice(None), *box)] - c[:, None, None, None]
        out[box] += a * np.exp(-(q**2).sum(axis=0) / (2 * w * w))
    return out


def displacement(p):
    """Return a smooth field: shear of 1 %, stretch of 0.5 % and a slow wave."""
    return np.stack(
        [1.3 + 0.5 * np.sin(2 * np.pi * p[1] / 300), -0.7 + 0.01 * (p[2] - MIDDLE), 0.4 + 0.005 * (p[2] - MIDDLE)]
    )


@pytest.fixture(scope="module")
def pair():
    q = np.indices((N, N, N), dtype=np.float64)
    p = q.copy()
    for _ in range(15):  # the point that moves to q
        p = q - displacement(p)
    return speckle(q).astype(np.float32), speckle(p).astype(np.float32)


def true_vectors(nodes):
    return np.moveaxis(displacement(np.moveaxis(nodes - 0.5, -1, 0)), 0, -1)  # the middle of an even window


def test_smooth_strain_field(pair, record_property):
    nodes = local.node_grid((N, N, N), 13, 32)
    rng = np.random.default_rng(1)
    noisy = [(v + 0.02 * rng.normal(size=v.shape)).astype(np.float32) for v in pair]
    found = local.correlate_nodes(noisy[0], 0.9 * noisy[1] + 0.2, nodes)
    error = np.linalg.norm(found.vector - true_vectors(nodes), axis=-1)
    record_property("median_error_voxels", float(np.median(error)))
    assert (found.status == local.CONVERGED).all()
    assert np.median(error) < 0.03
    assert (found.correlation > 0.95).all()


def test_displacement_beyond_a_rigid_start(pair):
    nodes = local.node_grid((N, N, N), 40, 32)[:1, :1, :1]
    start = tf.rigid([0.01, 0.0, 0.0], [1.0, -0.5, 0.5], [MIDDLE] * 3)
    found = local.correlate_nodes(*pair, nodes, start=start)
    p = (nodes - 0.5).reshape(3)
    expected = tf.apply(tf.invert(start), p + true_vectors(nodes).reshape(3)) - p
    np.testing.assert_allclose(found.vector.reshape(3), expected, atol=0.03)


def test_translation_model_and_search(pair):
    moved = np.roll(pair[0], (5, -4, 3), axis=(0, 1, 2))
    nodes = np.array([[40, 40, 40]])
    found = local.correlate_nodes(pair[0], moved, nodes, search=6, model="translation")
    np.testing.assert_allclose(found.vector[0], [5, -4, 3], atol=1e-3)
    assert found.residual[0] < 1e-3


def test_status_says_what_went_wrong(pair):
    reference, moving = (v.copy() for v in pair)
    reference[:, :40], moving[:, :40] = 0.0, 0.0
    moving[:, 40:, 40:] = np.random.default_rng(2).normal(size=moving[:, 40:, 40:].shape)
    nodes = np.array([[40, 20, 20], [40, 60, 62], [2, 60, 20], [40, 60, 20]])
    found = local.correlate_nodes(reference, moving, nodes, window=24)
    assert found.status[0] == local.NO_TEXTURE
    assert found.status[1] in (local.WEAK, local.NOT_CONVERGED, local.OUTSIDE)
    assert found.status[2] == local.OUTSIDE
    assert found.status[3] == local.CONVERGED
    assert np.isnan(found.vector[:3]).all()


def test_strain_of_a_linear_field_is_exact():
    gradient = np.array([[0.01, 0.002, 0.0], [0.0, -0.005, 0.003], [0.004, 0.0, 0.0]])
    nodes = local.node_grid((100, 100, 100), 16, 32).astype(float)
    u = nodes @ gradient.T
    u[1, 1, 1] = np.nan
    f = np.eye(3) + gradient
    green = 0.5 * (f.T @ f - np.eye(3))
    found = local.strain(u, 16)
    np.testing.assert_allclose(found, np.broadcast_to(green, found.shape), atol=1e-12)
    u[:, :, 1:] = np.nan  # one plane of nodes left: no gradient across it
    assert np.isnan(local.strain(u, 16)).all()


def test_rotation_gives_no_strain():
    nodes = local.node_grid((100, 100, 100), 16, 32).astype(float)
    turned = tf.apply(tf.rigid([0.2, 0.1, -0.3], [1, 2, 3]), nodes)
    np.testing.assert_allclose(local.strain(turned - nodes, 16), 0.0, atol=1e-12)


def test_bad_arguments(pair):
    with pytest.raises(ValueError, match="does not fit"):
        local.node_grid((20, 80, 80), 16, 32)
    with pytest.raises(ValueError, match="even number"):
        local.correlate_nodes(*pair, [[40, 40, 40]], window=31)
    with pytest.raises(ValueError, match='"rigid"'):
        local.correlate_nodes(*pair, [[40, 40, 40]], model="rigid")
