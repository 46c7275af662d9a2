import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from xct_pipeline.registration import transform as tf


@pytest.fixture
def motion():
    return tf.rigid([0.02, -0.03, 0.01], [3.37, -2.61, 1.83], [20.0, 30.0, 40.0])


def test_rotation_agrees_with_scipy():
    vector = np.array([0.3, -0.5, 0.2])
    np.testing.assert_allclose(tf.rotation_matrix(vector), Rotation.from_rotvec(vector).as_matrix(), atol=1e-14)
    np.testing.assert_allclose(tf.rotation_vector(tf.rotation_matrix(vector)), vector, atol=1e-13)


def test_small_rotation_is_continuous():
    vector = np.array([2e-9, -3e-9, 1e-9])
    np.testing.assert_allclose(tf.rotation_vector(tf.rotation_matrix(vector)), vector, rtol=1e-6)


def test_positive_rotation_about_z_takes_y_towards_x():
    turned = tf.apply(tf.rigid([np.pi / 2, 0, 0], [0, 0, 0]), [0.0, 1.0, 0.0])
    np.testing.assert_allclose(turned, [0.0, 0.0, 1.0], atol=1e-15)


def test_centre_moves_by_the_shift_alone(motion):
    np.testing.assert_allclose(tf.apply(motion, [20.0, 30.0, 40.0]), [23.37, 27.39, 41.83], atol=1e-12)


def test_composition_applies_first_then_second(motion):
    other = tf.rigid([0.1, 0.2, -0.1], [1, 2, 3])
    points = np.random.default_rng(0).normal(size=(7, 3))
    np.testing.assert_allclose(
        tf.apply(tf.compose(other, motion), points), tf.apply(other, tf.apply(motion, points)), atol=1e-12
    )


def test_inverse_undoes(motion):
    np.testing.assert_allclose(tf.compose(tf.invert(motion), motion), tf.identity(), atol=1e-12)
    with pytest.raises(ValueError, match="determinant 0"):
        tf.invert(np.zeros((3, 4)))


def test_micrometre_and_voxels(motion):
    size = (2.0, 1.5, 1.0)
    point = np.array([5.0, 6.0, 7.0])
    in_um = tf.voxels_to_um(motion, size)
    np.testing.assert_allclose(tf.apply(in_um, point * size), tf.apply(motion, point) * size, atol=1e-12)


def test_level_shares_the_physical_motion(motion):
    scale = 4.0
    coarse = tf.to_level(motion, scale)
    index = np.array([3.0, 4.0, 5.0])
    full = scale * index + (scale - 1) / 2
    np.testing.assert_allclose(scale * tf.apply(coarse, index) + (scale - 1) / 2, tf.apply(motion, full), atol=1e-12)
    np.testing.assert_allclose(tf.from_level(coarse, scale), motion, atol=1e-12)


def test_largest_distance(motion):
    points = np.array([[0.0, 0.0, 0.0], [10.0, 0.0, 0.0]])
    doubled = np.diag([2.0, 1.0, 1.0]) @ tf.identity()
    assert tf.largest_distance(tf.identity(), doubled, points) == pytest.approx(10.0)


def test_row_names_the_matrix(motion):
    row = tf.to_row(motion)
    assert list(row) == [f"m{i}{j}" for i in range(3) for j in range(4)]
    assert row["m13"] == motion[1, 3]
