import numpy as np
import pytest

from xct_pipeline.variation import attenuation, column_sums, mass, uncertainty

FRAME = (24, 20, 22)


def planes(first: int, stop: int) -> np.ndarray:
    mask = np.zeros(FRAME, bool)
    mask[first:stop] = True
    return mask


def two_layers(energy=50):
    ceramic = attenuation.linear_attenuation("Na3Zr2Si2PO12", energy, 3.27)
    nak = attenuation.linear_attenuation({"Na": 0.5, "K": 0.5}, energy, 0.8984)
    volume = np.full(FRAME, nak, np.float32)
    volume[:12] = ceramic
    return volume


def motions(volume, mask):
    maps = np.zeros((column_sums.NUMBER, *FRAME[1:]))
    none = np.zeros((0, *FRAME), np.int64), np.zeros((0, column_sums.NUMBER))
    column_sums.add_columns(
        volume.astype(np.float32), volume.astype(np.float32), mask, (0, 0, 0), (0, 0, 0), FRAME, maps, *none
    )
    return column_sums.by_name(maps)["motions"]


def test_tenth_of_a_voxel_at_a_ceramic_face():
    volume = two_layers()
    mask = planes(8, 20)
    sums = motions(volume, mask)
    covariance = np.diag([0.1**2, 0.1**2, 0.1**2])
    k = attenuation.mass_attenuation("Na", 50)
    areal = uncertainty.registration_term(sums, covariance) * 1 / k * 2e-4 * 1e3
    np.testing.assert_allclose(areal, 0.5025, rtol=0.002)
    # The whole face moves together, so the total is the map's mean times the area.
    total = uncertainty.registration_term(sums.sum(axis=(1, 2)), covariance)
    total = total * 1 / k * 2e-4**3 * 1e3
    assert total == pytest.approx(0.5025 * 20 * 22 * (2e-4) ** 2, rel=0.002)


def test_region_that_leaves_the_face_out_has_no_registration_error():
    mask = planes(14, 20)
    assert motions(two_layers(), mask).max() == 0


def test_six_motions_against_moved_volumes():
    z, y, x = (i - (n - 1) / 2 for i, n in zip(np.indices(FRAME), FRAME, strict=True))

    def field(dz, dy, dx):
        return 0.02 * (z + dz) ** 2 + 0.03 * (y + dy) * (x + dx) + 0.1 * (z + dz) * (x + dx) + 0.2 * (y + dy)

    mask = np.ones(FRAME, bool)
    mask[[0, -1]] = mask[:, [0, -1]] = mask[:, :, [0, -1]] = False
    sums = motions(field(0, 0, 0), mask)
    e = 1e-5
    moved = [(e, 0, 0), (0, e, 0), (0, 0, e), (0, e * x, -e * y), (-e * x, 0, e * z), (e * y, -e * z, 0)]
    for found, step in zip(sums, moved, strict=True):
        change = np.where(mask, field(*step) - field(0, 0, 0), 0).sum(axis=0) / e
        np.testing.assert_allclose(found, change, atol=2e-3)


def test_edge_shell_flags_three_voxels_on_either_side_and_nothing_else():
    volume = two_layers() + np.random.default_rng(1).normal(0, 0.3, FRAME).astype(np.float32)
    shell = uncertainty.edge_shell(volume, threshold=(7.56 - 0.52) / 5, width=2)
    flagged = shell[:, 10, 10]
    assert flagged[9:15].all()
    assert not flagged[:7].any()
    assert not flagged[17:].any()
    np.testing.assert_array_equal(shell.any(axis=(1, 2)), shell.all(axis=(1, 2)))


def test_edge_shell_with_its_halo_equals_the_whole():
    volume = two_layers() + np.random.default_rng(2).normal(0, 0.5, FRAME).astype(np.float32)
    whole = uncertainty.edge_shell(volume, threshold=1.0, width=2)
    halo = uncertainty.shell_halo(2)
    part = uncertainty.edge_shell(volume[: 9 + halo], threshold=1.0, width=2)[:9]
    np.testing.assert_array_equal(part, whole[:9])


def test_calibration_term_against_random_calibrations():
    rng = np.random.default_rng(3)
    mu_a, mu_b = rng.random((2, 50)) + 1
    covariance = np.array([[0.01**2, -0.4 * 0.01 * 0.02], [-0.4 * 0.01 * 0.02, 0.02**2]])
    errors = rng.multivariate_normal([0, 0], covariance, (20_000, 2))
    drawn = errors[:, 0, 0] * mu_b.sum() + 50 * errors[:, 0, 1] - errors[:, 1, 0] * mu_a.sum() - 50 * errors[:, 1, 1]
    everything = np.ones(50, bool)
    term = uncertainty.calibration_term(
        mass.region_sums(mu_b, everything), mass.region_sums(mu_a, everything), covariance
    )
    assert term[0] == pytest.approx(drawn.std(), rel=0.02)


def test_combination_and_limits():
    sigma = uncertainty.combine({"noise": np.array([3.0, 0.0]), "table": np.array([4.0, 1.0])})
    np.testing.assert_allclose(sigma, [5, 1])
    decision, detection = uncertainty.limits(sigma)
    np.testing.assert_allclose(decision, [8.225, 1.645])
    np.testing.assert_allclose(detection, 2 * decision)
    with pytest.raises(ValueError, match="at least one"):
        uncertainty.combine({})
