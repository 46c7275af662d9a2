"""Do grey values follow the attenuation? Cupping of a material known to be uniform tells of scatter and non-linearity.

A halo of scattered light adds most where little arrives, a detector whose response is not linear bends all line
integrals, and so does a spectrum: dense parts come out too light (or dark) in their middle. What one unit of either
does to a slice follows from a model of the sample, uniform materials in the shape of the labels: its projections are
distorted and reconstructed. This pattern is looked for in the grey values of the uniform material, in shells about the
rotation axis, beside the rings of the detector. Averaging of intensities over the point spread leaves cupping near
steep edges as well (the exponential edge-gradient effect); it is computed from the same model and taken off.

Both kinds leave nearly the same pattern but act on the mass with opposite sign, and a spectrum looks like either: the
size of the error is known from it, not the sign.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import scipy

from xct_pipeline.threads import one_thread_each
from xct_pipeline.variation.rings_and_trend import fit_trend

Floats = npt.NDArray[np.float32]
Mask = npt.NDArray[np.bool_]

KINDS = ("scatter", "nonlinearity")
HALO = 0.25  # assumed standard deviation of the halo, share of the detector's width
RIM = 3.5  # voxels of the uniform material that are left out at its surface, and share of the columns that are at least
RIM_SHARE = 1 / 32
GAS_RIM = 2.5
AIR = 3  # columns at either edge whose mean is the scale of air
FILLED = 0.6  # share of the fullest shell that a shell must be filled to: rings are known as means over whole shells
SHELLS = 12  # fewest: of fewer, rings and cupping are not told apart
SMOOTH = 1.0  # standard deviation, voxels, of the means in which pores and grains are looked for
ODD, FAINTEST = (
    10.0,
    0.1,
)  # robust standard deviations, and share of the median of their shell, from which they are told
BESIDE = 2  # voxels around them that are left out as well
BEYOND = 0.05  # share of the deepest line integral at the detector's edge, from which the sample is cut off
OWN = 0.008  # of a change of mass: what sound cells show all the same, r.m.s. and the worst of them 0.018
PROBE = 0.1  # share of its attenuation that the anode loses, to see how much of a change arrives
COLUMNS = 4096  # that are blurred at a time
BLOCK = 8  # voxels along the edge of blocks by which the error of gas is told


class Distortion(NamedTuple):
    """How far grey values of one scan are from following the attenuation, taken for one kind of distortion."""

    amplitude: float
    """share of the light that is scattered; excess of the response to the full light"""
    sigma: float
    mass: float
    """relative error of a change of mass in the anode for an amplitude of 1"""
    offset: float
    """1/cm that the anode is off for an amplitude of 1, on the scale of the uniform material"""


class GreyScale(NamedTuple):
    """What the grey values of one scan tell."""

    scatter: Distortion
    nonlinearity: Distortion
    cupping: float
    """grey value at the surface of the uniform material over that in its middle, less 1"""
    cupping_sigma: float
    air: float
    """1/cm of gas inside the sample's shadow, where 0 is expected"""
    air_sigma: float
    voxels: int
    """of the uniform material"""
    dark_offset: float = float("nan")
    """1/cm that the anode is off for a dark level as high as the full light, on the scale of the uniform material"""


class Optics(NamedTuple):
    """A parallel beam and its inverse, the axis in the middle of detector and volume."""

    project: Callable[[Floats], Floats]
    """(row, y, x) 1/cm to line integrals (row, angle, column)"""
    reconstruct: Callable[[Floats], Floats]
    """and back"""
    angles: int


class Scene(NamedTuple):
    """A scan and what is known of it."""

    volume: Floats
    """(z, y, x) 1/cm, NaN outside the field of view"""
    labels: npt.NDArray[np.uint8]
    uniform: int
    """label of the material known to be uniform"""
    gas: int
    """label of what does not attenuate"""
    region: Mask
    """where mass changes"""
    axis: tuple[float, float]
    """(y, x) of the detector's axis in this volume: the middle of its rings"""
    blur: float
    """standard deviation of the point spread, voxels"""


def judge(scene: Scene, optics: Optics) -> GreyScale:
    """Estimate scatter and non-linearity from the cupping of the uniform material of one scan.

    Raises
    ------
    ValueError
        Too little of the material, or a sample that reaches beyond the detector.
    """
    model = uniform_model(scene)
    paths = optics.project(model)
    edges = np.concatenate([paths[..., :AIR], paths[..., -AIR:]], axis=-1)
    if float(edges.max()) > BEYOND * float(paths.max()):
        raise ValueError("the sample reaches beyond the detector: cupping may come from that")
    known = np.isfinite(scene.volume)
    deep = _inside(scene.labels == scene.uniform, max(RIM, RIM_SHARE * model.shape[2])) & known
    deep &= ~_unlike_their_shell(scene.volume, deep, scene.axis)
    shells = _Shells(deep, scene.axis)
    patterns = {kind: optics.reconstruct(found) for kind, found in distorted(paths).items()}
    edge = optics.reconstruct(edge_gradient(paths, scene.blur))
    values = np.where(known, scene.volume, np.float32(0))
    profile, of_edge = shells.mean(values), shells.mean(edge)
    rings = ring_responses(model.shape[1], optics)[: shells.count.size][shells.used]
    noise = _variance(values[deep]) / shells.count[shells.used]
    anode = scene.region & (scene.labels != scene.uniform) & (model > 0)
    changed, rows = paths.copy(), anode.any(axis=(1, 2))
    if rows.any():  # each row is projected by itself
        changed[rows] = optics.project(np.where(anode, (1 - PROBE) * model, model)[rows].astype(np.float32))
    after = {kind: optics.reconstruct(found) for kind, found in distorted(changed).items()}
    found = {}
    for kind, pattern in patterns.items():
        shape = shells.mean(pattern)
        trend = fit_trend(profile - of_edge, np.stack([shape, np.ones_like(shape)], axis=1), rings, noise)
        blurred = float(trend.weights[0] @ of_edge)  # known to a half, as the point spread is
        gain = float(pattern[deep].mean() / model[deep].mean())
        lost = PROBE * float(model[anode].sum())
        mass = float((pattern - after[kind])[anode].sum()) / lost if lost else 0.0
        own = OWN / abs(mass) if mass else 0.0
        found[kind] = Distortion(
            float(trend.coefficients[0]),
            float(np.linalg.norm([np.sqrt(trend.covariance[0, 0]), blurred / 2, own])),
            mass,
            float((pattern - gain * model)[anode].mean()) if lost else 0.0,
        )
    bent, across = found["nonlinearity"], shells.mean(patterns["nonlinearity"])
    lifted = optics.reconstruct(np.asarray(-np.expm1(paths), np.float32))
    gain = float(lifted[deep].mean() / model[deep].mean())
    dark = float((lifted - gain * model)[anode].mean()) if anode.any() else 0.0
    spread = float((across[-2:].mean() - across[:2].mean()) / model[deep].mean())
    air, air_sigma = gas_inside(scene)
    cupping = (bent.amplitude * spread, bent.sigma * abs(spread))
    return GreyScale(found["scatter"], bent, *cupping, air, air_sigma, int(deep.sum()), dark)


def _unlike_their_shell(volume: Floats, deep: Mask, axis: tuple[float, float]) -> Mask:
    """Tell which voxels lie in or beside a pore or a grain: a few small ones near the axis look like cupping.

    Against the median of their shell, so that cupping and rings stay. What is fainter than the noise of a voxel shows
    in means over its neighbours.
    """
    if not deep.any():
        return deep
    weight = scipy.ndimage.gaussian_filter(deep.astype(np.float32), SMOOTH)[deep]
    smooth = scipy.ndimage.gaussian_filter(np.where(deep, volume, np.float32(0)), SMOOTH)[deep] / weight
    shell = np.broadcast_to(_radius(deep.shape[1:], axis).astype(np.int64), deep.shape)[deep]
    used = np.unique(shell)
    middle = scipy.ndimage.median(smooth, shell, used)[np.searchsorted(used, shell)]
    off = np.abs(smooth - middle)
    strong = off > FAINTEST * np.abs(middle)
    # means at the rim are over fewer voxels, and noisier: a squared Gaussian is one of another width
    off *= weight / np.sqrt(scipy.ndimage.gaussian_filter(deep.astype(np.float32), SMOOTH / math.sqrt(2))[deep])
    found = np.zeros_like(deep)
    found[deep] = strong & (off > ODD * 1.4826 * float(np.median(off)))
    return np.asarray(scipy.ndimage.binary_dilation(found, iterations=BESIDE))


def uniform_model(scene: Scene) -> Floats:
    """Return a volume (z, y, x) 1/cm in which every label has its mean, gas and what has no label 0."""
    model = np.zeros(scene.volume.shape, np.float32)
    for label in np.unique(scene.labels):
        here = scene.labels == label
        if label in (0, scene.gas):
            continue
        inner = scipy.ndimage.binary_erosion(here, iterations=2) & np.isfinite(scene.volume)
        chosen = inner if inner.any() else here & np.isfinite(scene.volume)
        model[here] = scene.volume[chosen].mean(dtype=np.float64) if chosen.any() else 0.0
    return model


def distorted(paths: Floats) -> Mapping[str, Floats]:
    """Return what a unit of each kind adds to line integrals (row, angle, column), air at the edges being the scale."""
    light = np.exp(-paths)
    wide = HALO * paths.shape[-1]
    halo = _blurred(_blurred(light, wide, 0), wide, 2)
    edges = np.concatenate([halo[..., :AIR], halo[..., -AIR:]], axis=-1)
    air = edges.mean(axis=(0, 2), dtype=np.float64)[None, :, None].astype(np.float32)
    return {"scatter": air - halo / light, "nonlinearity": 1 - light}


def _blurred(light: Floats, wide: float, axis: int) -> Floats:
    """Return what `gaussian_filter1d` does, as a product: of a Gaussian as wide as the image that is far less work."""
    weights = scipy.ndimage.gaussian_filter1d(np.eye(light.shape[axis]), wide, axis=0, mode="nearest")
    rows = np.moveaxis(light, axis, 0).reshape(len(weights), -1)
    found = np.empty(rows.shape, np.float32)
    with one_thread_each():  # those of BLAS would mostly wait
        for first in range(0, rows.shape[1], COLUMNS):
            part = slice(first, first + COLUMNS)
            found[:, part] = weights @ rows[:, part].astype(np.float64)
    shape = np.moveaxis(light, axis, 0).shape
    return np.moveaxis(found.reshape(shape), 0, axis)


def edge_gradient(paths: Floats, blur: float) -> Floats:
    """Return by how much averaging intensities over the point spread lowers the averaged line integrals."""
    over = (blur, 0.0, blur)
    light = scipy.ndimage.gaussian_filter(np.exp(-paths), over, mode="nearest")
    found: Floats = -np.log(light) - scipy.ndimage.gaussian_filter(paths, over, mode="nearest")
    return found


def ring_responses(size: int, optics: Optics) -> npt.NDArray[np.float64]:
    """Return the mean over each shell (shell, column) of what a line integral of 1 in a column adds, 1/cm.

    Of the two columns at equal distance from the axis only one is given: in shells they are alike.
    """
    columns = np.arange(size // 2, size)
    each = np.zeros((len(columns), optics.angles, size), np.float32)
    each[np.arange(len(columns)), :, columns] = 1
    slices = optics.reconstruct(each)
    middle = (size - 1) / 2
    shell = _radius((size, size), (middle, middle)).astype(np.int64).ravel()
    total = np.stack([np.bincount(shell, s.ravel().astype(np.float64)) for s in slices], axis=1)
    return np.asarray(total / np.maximum(np.bincount(shell), 1)[:, None], np.float64)


def gas_inside(scene: Scene) -> tuple[float, float]:
    """Return mean and standard error (jackknife over blocks) of gas inside the sample, NaN where there is none."""
    solid = (scene.labels != scene.gas) & (scene.labels > 0)
    enclosed = np.stack([scipy.ndimage.binary_fill_holes(plane) for plane in solid]) & ~solid
    chosen = _inside(scene.labels == scene.gas, GAS_RIM) & enclosed & np.isfinite(scene.volume)
    grid = [-(-n // BLOCK) for n in chosen.shape]
    block = np.ravel_multi_index([places // BLOCK for places in np.nonzero(chosen)], grid)
    count = np.bincount(block)
    total = np.bincount(block, scene.volume[chosen].astype(np.float64))[count > 0]
    count = count[count > 0]
    if len(count) < 4:
        return float("nan"), float("nan")
    without = (total.sum() - total) / (count.sum() - count)
    sigma = np.sqrt((len(count) - 1) / len(count) * ((without - without.mean()) ** 2).sum())
    return float(total.sum() / count.sum()), float(sigma)


class _Shells:
    """Voxels of a mask in shells about an axis, a voxel wide."""

    def __init__(self, mask: Mask, axis: tuple[float, float]) -> None:
        self._mask = mask
        if not mask.any():
            raise ValueError("no voxel of the uniform material lies deep enough inside it")
        shell = np.broadcast_to(_radius(mask.shape[1:], axis).astype(np.int64), mask.shape)[mask]
        self._shell = np.minimum(shell, mask.shape[1] // 2 - 1)
        self.count = np.bincount(self._shell)
        whole = np.bincount(_radius(mask.shape[1:], axis).astype(np.int64).ravel())[: self.count.size]
        filled = self.count / np.maximum(whole, 1)
        self.used = filled >= FILLED * filled.max()
        if self.used.sum() < SHELLS:
            raise ValueError(f"{int(self.used.sum())} shells of the uniform material: at least {SHELLS} are needed")

    def mean(self, values: Floats) -> npt.NDArray[np.float64]:
        """Return the mean of a volume in each shell that is used."""
        total = np.bincount(self._shell, values[self._mask].astype(np.float64))
        return np.asarray((total / np.maximum(self.count, 1))[self.used], np.float64)


def _radius(shape: tuple[int, ...], axis: tuple[float, float]) -> npt.NDArray[np.float64]:
    y, x = (np.arange(n) - place for n, place in zip(shape, axis, strict=True))
    return np.asarray(np.hypot(y[:, None], x))


def _inside(mask: Mask, rim: float) -> Mask:
    """Tell which voxels of a mask are more than `rim` voxels from all others; its border bounds nothing.

    Distances are short: what is lowered along one axis after the other, step by step, is exact up to the rim.
    """
    reach = math.ceil(rim)
    squared = np.where(mask, np.int16((reach + 1) ** 2), np.int16(0))
    for axis in range(mask.ndim):
        across = np.moveaxis(squared, axis, 0)
        for k in range(across.shape[1]):  # planes, which the cache holds
            before = across[:, k].copy()
            after = before.copy()
            for step in range(1, reach + 1):
                farther = before + np.int16(step**2)
                np.minimum(after[step:], farther[:-step], out=after[step:])
                np.minimum(after[:-step], farther[step:], out=after[:-step])
            across[:, k] = after
    return np.asarray(np.sqrt(squared.astype(np.float32)) > rim)


def _variance(values: Floats) -> float:
    spread = 1.4826 * float(np.median(np.abs(values - np.median(values))))
    return max(spread**2, 1e-12)
