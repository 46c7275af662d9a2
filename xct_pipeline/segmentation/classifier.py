"""A random forest that gives every voxel the material of painted examples.

Features are local: the value, and at several scales the smoothed value, the gradient's magnitude and the eigenvalues
of the Hessian. Each depends on a known neighbourhood, so a block with its halo gets the labels that the whole volume
gets. The trained forest is five plain arrays; with the painted labels and the seed it can be made again at any time.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from xct_pipeline.compiled import empty, njit
from xct_pipeline.device import Array, array_namespace, ndimage_of, to_host
from xct_pipeline.segmentation.denoise import FILL_SIGMA, fill_missing, gaussian
from xct_pipeline.smoothing import gaussian_reach

if TYPE_CHECKING:
    from sklearn.ensemble import RandomForestClassifier


SIGMAS = (1.0, 2.0, 4.0)
PER_SCALE = 5
GROUP = 512  # voxels classified together; their features stay in the first-level cache


class Samples(NamedTuple):
    """Features (n, features) float32 and labels (n,) uint8 of painted voxels."""

    features: npt.NDArray[np.float32]
    labels: npt.NDArray[np.uint8]


class Forest(NamedTuple):
    """Decision trees one after another.

    Attributes
    ----------
    feature : uint32 (nodes,)
        Which feature a node asks for.
    threshold : float32 (nodes,)
        Larger values go to the second child; infinity at a leaf.
    child : uint32 (nodes, 2)
        Nodes; a leaf leads to itself.
    share : float32 (nodes, classes)
        Share of the examples of each class.
    roots, depths : int32 (trees,)
        First node and depth of each tree.
    classes : uint8 (classes,)
        The labels, increasing.
    importance : float64 (features,)
        How much each feature divides the examples; adds up to 1.
    """

    feature: Array
    threshold: Array
    child: Array
    share: Array
    roots: Array
    depths: Array
    classes: Array
    importance: Array


def feature_halo(sigmas: Sequence[float] = SIGMAS) -> int:
    """Return the voxels that `features` needs around a block: the widest Gaussian, two differences, filled gaps."""
    return gaussian_reach(max(sigmas)) + 2 + gaussian_reach(FILL_SIGMA)


def feature_names(sigmas: Sequence[float] = SIGMAS) -> list[str]:
    """Return the names of the features in their order."""
    kinds = ("gaussian", "gradient", "hessian_largest", "hessian_middle", "hessian_smallest")
    return ["value", *(f"{kind}_{sigma:g}" for sigma in sigmas for kind in kinds)]


def features(block: Array, *, sigmas: Sequence[float] = SIGMAS) -> Any:
    """Compute the features of every voxel.

    Parameters
    ----------
    block : array (z, y, x), numpy or CuPy
        Attenuation, 1/cm, with a halo of `feature_halo` clipped to the volume. Gaps (NaN) are filled.
    sigmas : sequence of float
        Standard deviations of the Gaussians, voxels.

    Returns
    -------
    float32 array (features, z, y, x)
        In the order of `feature_names`, each in 1/cm (derivatives are scaled by sigma and sigma squared). At its peak
        this takes 4 bytes times the number of features plus 12 for every voxel of the block.
    """
    xp, ndimage = array_namespace(block), ndimage_of(block)
    if not len(sigmas) or min(sigmas) <= 0:
        raise ValueError(f"scales {list(sigmas)}: give one or more positive standard deviations in voxels")
    block = block.astype(xp.float32)
    if not bool(xp.isfinite(block).all()):
        block = fill_missing(block)
    stack = xp.empty((1 + PER_SCALE * len(sigmas), *block.shape), xp.float32)
    stack[0] = block
    half = xp.array([-0.5, 0.0, 0.5])

    def difference(image: Array, axis: int) -> Any:
        return ndimage.correlate1d(image, half, axis=axis, mode="nearest")

    for k, sigma in enumerate(sigmas):
        part = stack[1 + PER_SCALE * k : 1 + PER_SCALE * (k + 1)]
        part[0] = gaussian(block, sigma)
        first = [difference(part[0], axis) for axis in range(3)]
        part[1] = xp.sqrt(first[0] ** 2 + first[1] ** 2 + first[2] ** 2) * xp.float32(sigma)
        second = [difference(first[a], b) for a, b in ((0, 0), (1, 1), (2, 2), (0, 1), (0, 2), (1, 2))]
        part[2:] = symmetric_eigenvalues(second) * xp.float32(sigma**2)
    return stack


def symmetric_eigenvalues(entries: Sequence[Any]) -> Any:
    """Return the eigenvalues of symmetric 3 x 3 matrices by the trigonometric formula.

    Parameters
    ----------
    entries : six arrays
        ``zz, yy, xx, zy, zx, yx``.

    Returns
    -------
    array (3, ...), float32, decreasing; within 1e-5 of the largest entry (the plain formula, numpy and CuPy; numpy
    arrays go through a compiled loop of the same formula in float64).

    References
    ----------
    O. K. Smith, Comm. ACM 4 (1961) 168.
    """
    xp = array_namespace(entries[0])
    if xp is np:
        values = np.empty((3, *entries[0].shape), np.float32)
        zz, yy, xx, zy, zx, yx = (np.ravel(entry) for entry in entries)
        _eigenvalues(zz, yy, xx, zy, zx, yx, values.reshape(3, -1))
        return values
    return _eigenvalues_plainly(entries)


def _eigenvalues_plainly(entries: Sequence[Any]) -> Any:
    xp = array_namespace(entries[0])
    a, b, c, d, e, f = (entry.astype(xp.float64) for entry in entries)
    mean = (a + b + c) / 3
    a, b, c = a - mean, b - mean, c - mean
    spread = xp.sqrt((a**2 + b**2 + c**2 + 2 * (d**2 + e**2 + f**2)) / 6)
    safe = xp.where(spread > 0, spread, 1.0)
    determinant = a * (b * c - f * f) - d * (d * c - f * e) + e * (d * f - b * e)
    angle = xp.arccos(xp.clip(determinant / (2 * safe**3), -1, 1)) / 3
    largest = mean + 2 * spread * xp.cos(angle)
    smallest = mean + 2 * spread * xp.cos(angle + 2 * math.pi / 3)
    return xp.stack([largest, 3 * mean - largest - smallest, smallest]).astype(xp.float32)


def training_samples(
    block: Array, painted: Array, *, sigmas: Sequence[float] = SIGMAS, core: tuple[slice, ...] | None = None
) -> Samples:
    """Collect the features of painted voxels.

    Parameters
    ----------
    block : array (z, y, x)
        Attenuation, 1/cm, around the painted voxels with a halo of `feature_halo` clipped to the volume.
    painted : integer array
        Labels from 1 to 255, 0 where nothing is painted; of the shape of `block`, or of its `core`.
    sigmas : sequence of float
    core : tuple of slice, optional
        Where `painted` lies in `block`.

    Raises
    ------
    ValueError
        The shapes do not fit, or a label is not within 0 to 255.
    """
    labels = to_host(painted)
    inner = core if core is not None else (slice(None),) * 3
    shape = tuple(len(range(*part.indices(n))) for part, n in zip(inner, block.shape, strict=True))
    if labels.shape != shape:
        raise ValueError(f"painted labels of {labels.shape} voxels do not fit a volume of {shape}: paint at full size")
    if labels.size and (labels.min() < 0 or labels.max() > 255):
        raise ValueError(f"painted labels from {labels.min()} to {labels.max()}: use 1 to 255, and 0 for unpainted")
    known = (labels > 0) & to_host(array_namespace(block).isfinite(block[inner]))
    columns = to_host(features(block, sigmas=sigmas)[(slice(None), *inner)])[:, known]
    return Samples(np.ascontiguousarray(columns.T, np.float32), labels[known].astype(np.uint8))


def train_forest(
    samples: Sequence[Samples], *, seed: int, trees: int = 50, depth: int = 12, most_samples: int = 20_000
) -> Forest:
    """Grow a random forest on painted voxels.

    Parameters
    ----------
    samples : sequence of Samples
        From all painted slices, or tiles of them, in any order.
    seed : int
        Of every random choice; equal samples and seed give equal trees.
    trees, depth : int
        Number of trees and their depth.
    most_samples : int
        Of each label, drawn at random where more are painted. Labels weigh the same, however much of each is painted.

    Raises
    ------
    ValueError
        Fewer than two labels are painted.

    References
    ----------
    L. Breiman, Machine Learning 45 (2001) 5; grown by scikit-learn.
    """
    from sklearn.ensemble import RandomForestClassifier

    columns = np.concatenate([s.features for s in samples]) if samples else np.zeros((0, 0), np.float32)
    labels = np.concatenate([s.labels for s in samples]) if samples else np.zeros(0, np.uint8)
    classes = np.unique(labels)
    if len(classes) < 2:
        found = f"only label {classes[0]} is" if len(classes) else "no label is"
        raise ValueError(f"{found} painted where the volume has data: paint examples of two materials or more")
    # in an order of their own, so that neither the slices' order nor the tiles they were read in matter
    order = np.lexsort((*columns.T, labels))
    columns, labels = columns[order], labels[order]
    draw = np.random.default_rng(seed)
    kept = []
    for label in classes:
        index = np.flatnonzero(labels == label)
        kept.append(np.sort(draw.choice(index, most_samples, replace=False)) if len(index) > most_samples else index)
    chosen = np.concatenate(kept)
    model = RandomForestClassifier(
        n_estimators=trees, max_depth=depth, class_weight="balanced", random_state=seed, n_jobs=1
    ).fit(columns[chosen], labels[chosen])
    return _flatten(model, classes)


def _flatten(model: RandomForestClassifier, classes: Array) -> Forest:
    trees = [estimator.tree_ for estimator in model.estimators_]
    roots = np.concatenate([[0], np.cumsum([tree.node_count for tree in trees])[:-1]]).astype(np.int32)
    leaf = np.concatenate([tree.children_left < 0 for tree in trees])
    left = np.concatenate([tree.children_left + root for tree, root in zip(trees, roots, strict=True)])
    right = np.concatenate([tree.children_right + root for tree, root in zip(trees, roots, strict=True)])
    own = np.arange(len(leaf))
    exact = np.concatenate([tree.threshold for tree in trees])
    # "at most the threshold" in float64 is "at most the threshold rounded down" for values in float32
    threshold = exact.astype(np.float32)
    threshold = np.where(threshold > exact, np.nextafter(threshold, np.float32(-np.inf)), threshold)
    value = np.concatenate([tree.value[:, 0, :] for tree in trees])
    return Forest(
        feature=np.where(leaf, 0, np.concatenate([tree.feature for tree in trees])).astype(np.uint32),
        threshold=np.where(leaf, np.float32(np.inf), threshold),
        child=np.column_stack([np.where(leaf, own, left), np.where(leaf, own, right)]).astype(np.uint32),
        share=(value / value.sum(axis=1, keepdims=True)).astype(np.float32),
        roots=roots,
        depths=np.array([tree.max_depth for tree in trees], np.int32),
        classes=classes.astype(np.uint8),
        importance=np.asarray(model.feature_importances_, np.float64),
    )


def classify(block: Array, forest: Forest, *, sigmas: Sequence[float] = SIGMAS, core: tuple[slice, ...]) -> Any:
    """Label the voxels of a block.

    Parameters
    ----------
    block : array (z, y, x), numpy or CuPy
        Attenuation, 1/cm, with a halo of `feature_halo` clipped to the volume.
    forest : Forest
        From `train_forest`.
    sigmas : sequence of float
        As in training.
    core : tuple of slice
        The block without its halo.

    Returns
    -------
    uint8 array of the core's shape, numpy or CuPy
        Painted labels; 0 where there is no data (NaN).

    Raises
    ------
    ValueError
        The forest was trained with another number of scales.
    """
    xp = array_namespace(block)
    count = 1 + PER_SCALE * len(sigmas)
    if count != len(forest.importance):
        raise ValueError(f"the forest knows {len(forest.importance)} features, {len(sigmas)} scales make {count}")
    stack = np.ascontiguousarray(to_host(features(block, sigmas=sigmas)[(slice(None), *core)]))
    labels = np.empty(stack.shape[1:], np.uint8)
    _vote(
        stack.reshape(count, -1),
        forest.feature,
        forest.threshold,
        forest.child,
        forest.share,
        forest.roots,
        forest.depths,
        forest.classes,
        labels.reshape(-1),
    )
    return xp.where(xp.isfinite(block[core]), xp.asarray(labels), xp.uint8(0))


@njit
def _eigenvalues(zz: Array, yy: Array, xx: Array, zy: Array, zx: Array, yx: Array, values: Array) -> None:
    for i in range(len(zz)):
        a, b, c = np.float64(zz[i]), np.float64(yy[i]), np.float64(xx[i])
        d, e, f = np.float64(zy[i]), np.float64(zx[i]), np.float64(yx[i])
        mean = (a + b + c) / 3
        a, b, c = a - mean, b - mean, c - mean
        spread = math.sqrt((a * a + b * b + c * c + 2 * (d * d + e * e + f * f)) / 6)
        if spread == 0.0:
            values[0, i] = values[1, i] = values[2, i] = mean
            continue
        determinant = a * (b * c - f * f) - d * (d * c - f * e) + e * (d * f - b * e)
        angle = math.acos(min(1.0, max(-1.0, determinant / (2 * spread**3)))) / 3
        largest = mean + 2 * spread * math.cos(angle)
        smallest = mean + 2 * spread * math.cos(angle + 2 * math.pi / 3)
        values[0, i], values[1, i], values[2, i] = largest, 3 * mean - largest - smallest, smallest


@njit
def _vote(
    columns: Array,
    feature: Array,
    threshold: Array,
    child: Array,
    share: Array,
    roots: Array,
    depths: Array,
    classes: Array,
    labels: Array,
) -> None:
    """Let all trees vote, many voxels in step: their ways down a tree are independent, so none waits for another."""
    count, n = columns.shape
    rows = empty((GROUP, count), np.float32)
    node = empty(GROUP, np.uint32)  # unsigned indices spare numba the test for negative ones
    votes = empty((GROUP, len(classes)), np.float32)
    for start in range(0, n, GROUP):
        size = min(GROUP, n - start)
        for k in range(count):
            for i in range(size):
                rows[i, k] = columns[k, start + i]
        votes[:] = 0.0
        for t in range(len(roots)):
            node[:] = roots[t]
            for _ in range(depths[t]):
                for i in range(np.uint32(size)):
                    at = node[i]
                    node[i] = child[at, np.uint32(rows[i, feature[at]] > threshold[at])]
            for i in range(size):
                for k in range(len(classes)):
                    votes[i, k] += share[node[i], k]
        for i in range(size):
            labels[start + i] = classes[np.argmax(votes[i])]
