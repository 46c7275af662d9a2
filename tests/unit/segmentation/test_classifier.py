from __future__ import annotations

import numpy as np
import pytest
import scipy.ndimage
from sklearn.ensemble import RandomForestClassifier

from xct_pipeline.segmentation import classifier
from xct_pipeline.segmentation.classifier import (
    Samples,
    classify,
    feature_halo,
    feature_names,
    features,
    symmetric_eigenvalues,
    train_forest,
    training_samples,
)

SIGMAS = (1.0, 2.0)
WHOLE = (slice(None),) * 3


@pytest.fixture(scope="module")
def truth() -> np.ndarray:
    """Smooth (1) and, of the same mean value, rough (2) material, and a bright one (3)."""
    smooth = scipy.ndimage.gaussian_filter(np.random.default_rng(7).standard_normal((48, 48, 48)), 5)
    return (np.digitize(smooth / smooth.std(), [-0.3, 0.6]) + 1).astype(np.uint8)


@pytest.fixture(scope="module")
def volume(truth: np.ndarray) -> np.ndarray:
    rng = np.random.default_rng(8)
    rough = scipy.ndimage.gaussian_filter(rng.standard_normal(truth.shape), 0.7)
    values = np.where(truth == 3, 2.0, 1.0) + np.where(truth == 2, rough, 0) + 0.1 * rng.standard_normal(truth.shape)
    values[10:12, 20, 30:33] = np.nan
    return values.astype(np.float32)


@pytest.fixture(scope="module")
def samples(volume: np.ndarray, truth: np.ndarray) -> list[Samples]:
    found = []
    for z in (8, 30):
        painted = np.zeros_like(truth)
        painted[z, 4:44] = truth[z, 4:44]
        found.append(training_samples(volume, painted, sigmas=SIGMAS))
    return found


def test_materials_are_told_apart_by_texture(volume: np.ndarray, truth: np.ndarray, samples: list[Samples]) -> None:
    forest = train_forest(samples, seed=3, trees=30, depth=10)
    labels = classify(volume, forest, sigmas=SIGMAS, core=WHOLE)
    known = np.isfinite(volume)
    assert (labels[known] == truth[known]).mean() > 0.85
    assert not labels[~known].any()
    assert labels.dtype == np.uint8
    assert forest.importance.sum() == pytest.approx(1)
    assert len(feature_names(SIGMAS)) == len(forest.importance)


def test_any_block_size_gives_the_same_labels(volume: np.ndarray, samples: list[Samples]) -> None:
    forest = train_forest(samples, seed=3, trees=10, depth=8)
    whole = classify(volume, forest, sigmas=SIGMAS, core=WHOLE)
    halo = feature_halo(SIGMAS)
    for size in (16, 32):
        found = np.zeros_like(whole)
        for z in range(0, 48, size):
            for x in range(0, 48, size):
                a, b = max(0, z - halo), max(0, x - halo)
                core = (slice(z - a, z - a + size), slice(None), slice(x - b, x - b + size))
                outer = (slice(a, z + size + halo), slice(None), slice(b, x + size + halo))
                found[z : z + size, :, x : x + size] = classify(volume[outer], forest, sigmas=SIGMAS, core=core)
        np.testing.assert_array_equal(found, whole)


def test_votes_are_those_of_scikit_learn(volume: np.ndarray, samples: list[Samples]) -> None:
    columns, labels = (np.concatenate([getattr(s, key) for s in samples]) for key in ("features", "labels"))
    order = np.lexsort((*columns.T, labels))
    model = RandomForestClassifier(20, max_depth=9, class_weight="balanced", random_state=5)
    model.fit(columns[order], labels[order])
    block = volume[20:28]
    expected = model.predict(features(block, sigmas=SIGMAS).reshape(len(columns.T), -1).T).reshape(block.shape)
    found = classify(block, train_forest(samples, seed=5, trees=20, depth=9), sigmas=SIGMAS, core=WHOLE)
    assert (found == expected).mean() > 0.9995  # the sum of shares in float32 decides ties otherwise


def test_training_repeats_and_follows_paint_and_seed(samples: list[Samples]) -> None:
    first = train_forest(samples, seed=1, trees=5, most_samples=500)
    again = train_forest(samples, seed=1, trees=5, most_samples=500)
    mixed = train_forest(samples[::-1], seed=1, trees=5, most_samples=500)
    for a, b, c in zip(first, again, mixed, strict=True):
        np.testing.assert_array_equal(a, b)
        np.testing.assert_array_equal(a, c)
    other = train_forest(samples, seed=2, trees=5, most_samples=500)
    assert not np.array_equal(first.threshold, other.threshold)
    less = train_forest(samples[:1], seed=1, trees=5, most_samples=500)
    assert not np.array_equal(first.threshold, less.threshold)


def test_paint_on_a_slab_is_paint_on_the_volume(volume: np.ndarray, truth: np.ndarray) -> None:
    painted = np.zeros_like(truth)
    painted[24, 10:30] = truth[24, 10:30]
    whole = training_samples(volume, painted, sigmas=SIGMAS)
    halo = feature_halo(SIGMAS)
    slab = slice(24 - halo, 25 + halo)
    core = (slice(halo, halo + 1), slice(None), slice(None))
    part = training_samples(volume[slab], painted[24:25], sigmas=SIGMAS, core=core)
    np.testing.assert_array_equal(part.features, whole.features)
    np.testing.assert_array_equal(part.labels, whole.labels)
    assert len(whole.labels) == 20 * 48


def test_features_of_a_parabola() -> None:
    z, y, x = (np.indices((40, 40, 40)) - 20).astype(np.float32)
    stack = features(0.5 * z**2 - 0.25 * y**2 + 0.1 * x, sigmas=[1.0])
    inner = (slice(12, 28),) * 3
    np.testing.assert_allclose(stack[3][inner], 1.0, atol=1e-3)
    np.testing.assert_allclose(stack[4][inner], 0.0, atol=1e-3)
    np.testing.assert_allclose(stack[5][inner], -0.5, atol=1e-3)
    np.testing.assert_allclose(stack[2][inner], np.sqrt(z**2 + 0.25 * y**2 + 0.01)[inner], atol=1e-3)


def test_eigenvalues_are_those_of_lapack() -> None:
    rng = np.random.default_rng(9)
    entries = [rng.standard_normal((5, 6, 7)).astype(np.float32) for _ in range(6)]
    for entry in entries:
        entry[0] = 0
    entries[0][1] = entries[1][1] = entries[2][1] = 2.0
    for entry in entries[3:]:
        entry[1] = 0
    a, b, c, d, e, f = entries
    matrices = np.moveaxis(np.array([[a, d, e], [d, b, f], [e, f, c]]), (0, 1), (-2, -1))
    expected = np.moveaxis(np.linalg.eigvalsh(matrices.astype(float)), -1, 0)[::-1]
    np.testing.assert_allclose(symmetric_eigenvalues(entries), expected, atol=1e-5)
    np.testing.assert_allclose(classifier._eigenvalues_plainly(entries), expected, atol=1e-5)


def test_paint_that_does_not_serve_is_named(volume: np.ndarray, truth: np.ndarray, samples: list[Samples]) -> None:
    with pytest.raises(ValueError, match="no label is painted"):
        train_forest([training_samples(volume, np.zeros_like(truth), sigmas=SIGMAS)], seed=0)
    with pytest.raises(ValueError, match="no label is painted"):
        train_forest([], seed=0)
    one = Samples(*(part[samples[0].labels == 2] for part in samples[0]))
    with pytest.raises(ValueError, match="only label 2 is painted"):
        train_forest([one], seed=0)
    with pytest.raises(ValueError, match="do not fit"):
        training_samples(volume, truth[:3], sigmas=SIGMAS)
    with pytest.raises(ValueError, match="use 1 to 255"):
        training_samples(volume, truth.astype(int) * 200, sigmas=SIGMAS)
    with pytest.raises(ValueError, match="11 features, 3 scales make 16"):
        classify(volume, train_forest(samples, seed=0, trees=2), core=WHOLE)
    with pytest.raises(ValueError, match="positive standard deviations"):
        features(volume, sigmas=[])
