import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xct_pipeline.segmentation.contact import combine_touching, touching_halo, touching_partial, touching_rows

NAMES = {1: "gas", 2: "liquid", 3: "carbon", 4: "ceramic"}
Z, Y, X = np.indices((40, 40, 40)) - 19.5


def rows_of(labels, partners=(3,), offsets=(1.0, 2.0), size=2.0):
    core = tuple(slice(0, n) for n in labels.shape)
    found = touching_partial(labels, core, partners, offsets=offsets)
    rows = touching_rows(found, NAMES, partners, voxel_size_um=size, offsets=offsets)
    return {(r["partner"], r["material"], r["offset_voxels"]): r for r in rows}


@pytest.mark.parametrize("tilt", [0.0, 10.0, 30.0, 45.0])
def test_a_flat_or_tilted_face_half_covered(tilt):
    t = np.radians(tilt)
    above = Z * np.cos(t) + Y * np.sin(t) > 0
    labels = np.where(above, np.where(X > 0, 2, 1), 3).astype(np.uint8)
    found = rows_of(labels)
    for offset in (1.0, 2.0):
        assert found["carbon", "liquid", offset]["fraction"] == pytest.approx(0.5, abs=1e-9)
        assert found["carbon", "gas", offset]["fraction"] == pytest.approx(0.5, abs=1e-9)
        assert found["carbon", "ceramic", offset]["fraction"] == 0


@settings(max_examples=25, deadline=None)
@given(tilt=st.floats(0, 54.7), turn=st.floats(0, 90), height=st.floats(-0.5, 0.5), axis=st.sampled_from([0, 1, 2]))
def test_the_area_of_a_face_of_any_slope(tilt, turn, height, axis):
    t, u = np.radians(tilt), np.radians(turn)
    below = Z * np.cos(t) + (Y * np.cos(u) + X * np.sin(u)) * np.sin(t) < height
    labels = np.moveaxis(np.where(below, 3, 1), 0, axis).astype(np.uint8)
    core = tuple(slice(0, 40) if k == axis else slice(12, 28) for k in range(3))
    area = touching_partial(labels, core, [3], offsets=[1.0])["area"].sum()
    assert area == pytest.approx(16 * 16 / np.cos(t), rel=1e-9 if tilt == 0 else 0.04)


def test_a_fibre_of_which_a_quarter_is_wet():
    fibre = Z**2 + Y**2 < 12**2
    labels = np.where(fibre, 3, np.where((Z > 0) & (Y > 0), 2, 1)).astype(np.uint8)
    found = rows_of(labels)
    for offset in (1.0, 2.0):
        assert found["carbon", "liquid", offset]["fraction"] == pytest.approx(0.25, abs=0.01)


def test_the_area_of_a_sphere():
    labels = np.where(Z**2 + Y**2 + X**2 < 15**2, 3, 1).astype(np.uint8)
    area = rows_of(labels)["carbon", "gas", 1.0]["area_um2"] / 4
    assert area == pytest.approx(4 * np.pi * 15**2, rel=0.015)


def test_mixed_voxels_at_a_surface_are_looked_past():
    labels = np.where(Z > 0, 1, 3).astype(np.uint8)
    labels[20] = 2  # between gas and carbon, bright as the liquid
    found = rows_of(labels, offsets=(1.0, 3.0))
    assert found["carbon", "liquid", 1.0]["fraction"] == 1
    assert found["carbon", "gas", 3.0]["fraction"] == 1


def test_an_absent_partner_and_the_outside():
    labels = np.where(Z > 0, 0, 3).astype(np.uint8)
    found = rows_of(labels, partners=(3, 4))
    assert all(np.isnan(row["fraction"]) and row["area_um2"] == 0 for row in found.values())


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10**6), cut=st.integers(1, 15), offset=st.floats(0.3, 4.0))
def test_blocks_add_up_to_the_whole(seed, cut, offset):
    labels = np.random.default_rng(seed).integers(0, 5, (16, 6, 7)).astype(np.uint8)
    halo = touching_halo([offset])
    parts = []
    for start, stop in ((0, cut), (cut, 16)):
        low, high = max(0, start - halo), min(16, stop + halo)
        core = (slice(start - low, stop - low), slice(0, 6), slice(0, 7))
        parts.append(touching_partial(labels[low:high], core, [3, 4], offsets=[offset]))
    whole = touching_partial(labels, (slice(0, 16), slice(0, 6), slice(0, 7)), [3, 4], offsets=[offset])
    np.testing.assert_allclose(combine_touching(parts)["area"], whole["area"])
