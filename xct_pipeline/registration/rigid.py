"""Motion of one volume against another: masked Gauss-Newton on intensities, coarse to fine, robust to what changed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from xct_pipeline.device import to_host
from xct_pipeline.registration import own_error, patterns
from xct_pipeline.registration import parameters as prm
from xct_pipeline.registration import transform as tf
from xct_pipeline.registration.determinacy import shared_gradient, undetermined
from xct_pipeline.registration.levels import (
    Estimate,
    Level,
    PreparedLevel,
    RegistrationError,
    expect_changes,
    prepare,
    restrict,
    sum_samples,
    unchanged_voxels,
    with_coarser,
)
from xct_pipeline.registration.normal_equations import BINS, Sums
from xct_pipeline.registration.search import phase_shifts

_SEARCHED = 6_000_000  # voxels: the phase correlation of more takes more memory than the matching itself
_WIDENINGS = ((0.6, 1.0), (0.25, 1.7), (-1.0, 2.8))  # of the smoothing, from this share of common gradient on
_NOTHING = Estimate(tf.identity(), 1.0, 0.0, np.inf, np.inf, 0, 1.0, None)
_FAR = 1.5  # times the loss: up to 1.16 was seen where changes helped, from 2.2 on where they were none
_STEP_LIMIT = 2.0  # voxels of the level: gradients say nothing about farther away


class Registration(NamedTuple):
    """What `register` found."""

    transform: tf.Matrix
    """3 x 4, full-size voxels of the reference to full-size voxels of the moving volume"""
    gain: float
    offset: float
    """reference = gain * moving + offset (1/cm)"""
    residual: float
    """RMS over the mask at the finest level, both volumes smoothed, 1/cm"""
    tre_self: float
    """standard error: root mean square of the largest distance over the mask by which it is off, full-size voxels"""
    iterations: int
    correlation: float
    """of the two volumes over the samples that keep their value, finest level"""
    kept: float
    """mean robust weight: about the share of the mask that keeps its grey value"""
    overlap: float
    """share of the mask that the moving volume covers"""
    undetermined: tuple[str, ...] = ()
    """parameters that the volumes do not determine, left at their start (names as in `parameters.names`)"""
    rings: float = 0.0
    """root mean square over radius and row of the rings that were left out of the match, 1/cm; 0 for none"""


def register(
    levels: Iterable[Level],
    *,
    model: str = "rigid",
    fix: Sequence[str] = (),
    start: ArrayLike | None = None,
    search: bool = True,
    smoothing: float = 0.7,
    max_shift: float | None = None,
    max_rotation: float = 15.0,
    max_iterations: int = 40,
    tolerance: float = 1e-3,
    memory: float = 2e9,
    axis: tuple[float, float] | None = None,
    parallel_map: Callable[..., Iterable[Any]] = map,
) -> Registration:
    """Find the motion that takes a reference volume onto a moving one.

    Parameters
    ----------
    levels : coarse to fine; may be a generator that opens them one by one. The coarsest is read whole.
    model : "translation", "rigid" or "affine"
    fix : parameters that are not searched but left at their start, as `parameters.names` calls them
    start : 3 x 4 in full-size voxels, tried beside no motion and the peaks of the phase correlation
    smoothing : Gaussian standard deviation in voxels of each level, before matching
    search : False begins at `start` alone; `max_shift` and `max_rotation` then count from there
    max_shift : largest displacement of the mask's centre in full-size voxels (default: a quarter of the longest side)
    max_rotation : degrees
    max_iterations : per level
    tolerance : Gauss-Newton ends when the mask moves by less than this, in voxels of the finest level
    memory : bytes a level's smoothed volumes may take; larger ones are smoothed slab by slab in every iteration
    axis : (y, x) of the rotation axis in full-size voxels, the same in both volumes: rings about it, which stay
        where they are while the sample moves, are looked for and left out; None: it is not known, and they are not
    parallel_map : a `map` that may run its calls at the same time; the result does not depend on it

    Returns
    -------
    Registration

    Raises
    ------
    RegistrationError : not converged, no overlap, a mask that is empty or has no texture, a motion beyond the range.
    ValueError : levels of different shape, an unknown model.

    Notes
    -----
    Inverse-compositional Gauss-Newton (Baker and Matthews 2004) with Tukey's weights, whose scale is the median of the
    residuals counted by squared gradient: flat regions, which say nothing about the motion, do not set it. Parameters
    that the two volumes do not determine (see `determinacy`) are put back to where they began, and held there.
    """
    if model not in tf.MODELS:
        raise ValueError(f'unknown model "{model}"; use one of {", ".join(tf.MODELS)}')
    ready = partial(prepare, memory=memory, parallel_map=parallel_map)
    run = partial(_converge, model=model, held=tuple(fix), max_iterations=max_iterations)
    begin, settle = (
        partial(patterns.begin, axis=axis),
        partial(patterns.settle, axis=axis, run=partial(run, tolerance=10 * tolerance)),
    )
    whole = matched = None
    problem: RegistrationError | None = None
    state, total, moved = _NOTHING, 0, 0.0
    for level in with_coarser(levels):
        if whole is None or matched is None:
            try:  # a small mask may hold too little on a coarse level: then the search begins on a finer one
                whole = begin(ready(level, smoothing), 0)
                state = run(whole, _search(whole, state, model, tuple(fix), start, search), tolerance=10 * tolerance)
                matched, state, moved = settle(whole, state)
            except RegistrationError as error:
                whole, problem = None, error
        else:
            # what changed shows clearly only once it no longer pulls: it is taken out twice
            scale = matched.level.scale
            matched = restrict(matched._replace(mask=whole.mask), unchanged_voxels(matched, state), scale)
            state = run(matched, state, tolerance=10 * tolerance)
            total += state.iterations
            unchanged = unchanged_voxels(matched, state)
            known = 0 if axis is None else patterns.confirmed(matched, state, axis)
            whole = begin(ready(level, smoothing), known)
            matched = restrict(whole, unchanged, scale)
            nearer = tf.to_level(tf.from_level(state.transform, scale), level.scale)
            state = state._replace(transform=nearer, cut=3.0 * state.cut, step=np.inf)
            if matched.rings is not None and known:
                matched = patterns.refine(matched, state._replace(cut=np.inf))
            elif matched.rings is not None:  # not told before: they may have held the match where they are
                moved_so_far = tf.from_level(state.transform, level.scale)
                state = _search(matched, _NOTHING, model, tuple(fix), moved_so_far, search)
            matched, state, moved = settle(matched, run(matched, state, tolerance=10 * tolerance))
        total += state.iterations
    if whole is None or matched is None:
        raise problem or ValueError("no pyramid level to register on; give at least one")
    widening = _widening(shared_gradient(matched, state))
    if widening > 1.0:
        whole = begin(ready(whole.level, widening * smoothing), patterns.sectors(matched))
        matched = whole._replace(mask=matched.mask, center=matched.center)
        if matched.rings is not None:
            matched = patterns.refine(matched, state)
        state = state._replace(step=np.inf)
    origin = tf.identity() if start is None else np.asarray(start, np.float64)
    finish = partial(_finish, run=partial(run, tolerance=tolerance))
    matched, state, held = _hold_undetermined(matched, state, finish, model, tuple(fix), origin)
    _require_converged(state, max_iterations, whole.level.scale)
    off = own_error.largest_error(own_error.covariance(matched, state, model, held), model, matched)
    off *= patterns.unseen(matched)
    result = _result(whole, matched, state, float(np.hypot(off, moved)), total + state.iterations)
    result = result._replace(undetermined=held[len(fix) :])
    if search:
        origin = tf.identity()
    _require_plausible(whole, result, origin, max_shift, max_rotation)
    return result


def _hold_undetermined(
    p: PreparedLevel,
    state: Estimate,
    finish: Callable[..., tuple[PreparedLevel, Estimate]],
    model: str,
    fix: tuple[str, ...],
    origin: tf.Matrix,
) -> tuple[PreparedLevel, Estimate, tuple[str, ...]]:
    """Go on to the end, and again with what turns out not to be determined put back to `origin`; returns what is held.

    Noise alone has a best match too, anywhere and with a small error to all appearance.
    """
    begun, held = p, fix
    while True:
        p, state = finish(begun, state, held=held)
        more = undetermined(p, state, model, held)
        if not more:
            return p, state, held
        held += more
        if len(held) == tf.MODELS[model]:
            raise RegistrationError(
                "no trustworthy motion: what the two volumes have in common is not more than noise in any direction; a "
                "mask with texture is needed"
            )
        moved = prm.put_back(state.transform, tf.to_level(origin, p.level.scale), model, p.center, held)
        state = state._replace(transform=moved, cut=3.0 * state.cut, step=np.inf)


def _finish(
    p: PreparedLevel, state: Estimate, run: Callable[..., Estimate], held: tuple[str, ...]
) -> tuple[PreparedLevel, Estimate]:
    """Go on from an estimate without the changes around, unless edges disagree far more then.

    What moves by itself beside the mask, or another sharpness, differs too but is no change of grey value.
    """
    expecting = expect_changes(p, state)
    other = run(expecting, state, held=held)
    assert other.sums is not None
    losses = [_loss(sums, other.cut, p.spread) for sums in (other.sums, sum_samples(p, state))]
    if _is_converged(other, p.level.scale) and losses[0] < _FAR * losses[1]:
        return expecting, other
    return p, run(p, state, held=held)


def _loss(sums: Sums, cut: float, spread: float) -> float:
    """Return the share of the samples, counted by squared gradient, that Tukey's weights leave out."""
    residual = (np.arange(BINS) + 0.5) * 2.0 * spread / BINS
    kept = np.square(np.clip(1.0 - np.square(residual / cut), 0.0, None))
    return float(1.0 - sums.histogram @ kept / sums.histogram.sum())


def _widening(share: float) -> float:
    """Return the factor by which volumes are smoothed more where only a share of their gradient is common to both.

    The noise's gradient adds to the motion's error as the object's makes it smaller: the wider kernel loses some of the
    edges but far more of the noise.
    """
    return next((factor for least, factor in _WIDENINGS if share >= least), 1.0)


def _cut(p: PreparedLevel, sums: Sums) -> float:
    """Return Tukey's cut (95 % efficiency for normal noise) from the gradient-weighted median residual."""
    shares = np.cumsum(sums.histogram)
    if shares[-1] <= 0.0:
        raise RegistrationError("the mask has no texture: the reference has no gradient in it")
    median = (int(np.searchsorted(shares, 0.5 * shares[-1])) + 1) * 2.0 * p.spread / BINS
    return float(max(4.685 * 1.4826 * median, 0.02 * p.spread))


def _gain_and_offset(sums: Sums) -> tuple[float, float]:
    """Return what gives the moving volume the reference's mean and standard deviation.

    Unlike a least-squares slope, the quotient of standard deviations is not lowered by noise or by misalignment.
    """
    w, r, m, rr, mm, _ = sums.moments[4:]
    variances = rr / w - (r / w) ** 2, mm / w - (m / w) ** 2
    gain = float(np.clip(np.sqrt(variances[0] / variances[1]), 0.5, 2.0)) if min(variances) > 0.0 else 1.0
    return gain, float(r / w - gain * m / w)


def _converge(
    p: PreparedLevel, state: Estimate, model: str, held: tuple[str, ...], max_iterations: int, tolerance: float
) -> Estimate:
    """Iterate Gauss-Newton on one level; goes on with the relaxation of an estimate that was found on it."""
    going_on = bool(np.isfinite(state.step))
    s = state._replace(iterations=0, relaxation=state.relaxation if going_on else 1.0)
    before = None
    for iteration in range(1, max_iterations + 1):
        sums = sum_samples(p, s)
        parameters = prm.solve(sums, model, held)
        relaxation = _relaxation(s.relaxation, parameters, before, sums, model)
        before = relaxation * parameters
        motion = prm.motion(before, model, p.center)
        step = tf.largest_distance(motion, tf.identity(), p.points)
        if step > _STEP_LIMIT:
            motion = prm.motion(before * (_STEP_LIMIT / step), model, p.center)
            before = None
        # only ever tightened: a scale that follows the solution both ways can keep it circling
        cut = min(_cut(p, sums), s.cut)
        settled = cut > 0.97 * s.cut
        if not settled:
            before = None  # another weighting has another solution: the next step says nothing about this one
        moved = tf.compose(s.transform, tf.invert(motion))
        # changes that are expected were measured with the gain and offset that were found before
        scale = (s.gain, s.offset) if p.expected.size else _gain_and_offset(sums)
        s = Estimate(moved, *scale, cut, step, iteration, relaxation, sums)
        if step < tolerance and settled and (going_on or iteration > 1):
            break
    return s


def _relaxation(
    current: float, parameters: NDArray[np.float64], before: NDArray[np.float64] | None, sums: Sums, model: str
) -> float:
    """Return the factor by which the next step is taken longer than Gauss-Newton's.

    The gradient's noise adds to the normal matrix and makes every step short by about the same factor. Where a step
    left a part q of the way still to go, the following are taken longer by 1 / (1 - q); one that went too far
    has q below 0.
    """
    if before is None:
        return current
    projection = prm.projection(model)
    metric = projection.T @ sums.hessian @ projection
    left = float(before @ metric @ parameters) / max(float(before @ metric @ before), 1e-300)
    return float(np.clip(current / (1.0 - np.clip(left, -1.0, 0.8)), 1.0, 10.0)) if abs(left) > 0.1 else current


def _search(
    p: PreparedLevel, state: Estimate, model: str, held: tuple[str, ...], start: ArrayLike | None, search: bool
) -> Estimate:
    """Try the starts on the coarsest level and return the one that correlates best."""
    level = p.level
    starts = [tf.identity()] if start is None else [tf.to_level(start, level.scale), tf.identity()]
    if start is not None and not search:
        starts = starts[:1]
    elif np.prod(level.reference.shape) <= _SEARCHED:
        volumes = [to_host(v[0 : v.shape[0]]).astype(np.float32) for v in (level.reference, level.moving)]
        free = [name not in held for name in prm.SHIFTS]
        starts += [tf.translation(shift * free) for shift in phase_shifts(volumes[0], volumes[1])]
    best, score = None, -np.inf
    problem: RegistrationError | None = None
    for transform in starts:
        try:
            s = _converge(p, state._replace(transform=transform), model, held, 12, 0.02)
            sums = sum_samples(p, s._replace(cut=np.inf))
        except RegistrationError as error:
            problem = error
            continue
        covered = sums.moments[1] / max(sums.moments[0], 1.0)
        value = _correlation(sums.moments) * min(1.0, 2.0 * covered)
        if value > score:
            best, score = s, value
    if best is None:
        raise problem if problem is not None else RegistrationError("no start could be evaluated")
    return best


def _correlation(moments: NDArray[np.float64]) -> float:
    w, r, m, rr, mm, rm = moments[4:]
    if w <= 0.0:
        return 0.0
    variances = (rr / w - (r / w) ** 2) * (mm / w - (m / w) ** 2)
    return float((rm / w - r * m / w**2) / np.sqrt(variances)) if variances > 0.0 else 0.0


def _result(whole: PreparedLevel, p: PreparedLevel, s: Estimate, tre_self: float, iterations: int) -> Registration:
    assert s.sums is not None
    matched = s.sums.moments
    # the residual is the whole mask's; without a given mask that is what kept its value
    everywhere = p._replace(mask=whole.mask, center=whole.center)
    full = matched if whole.level.mask is None else sum_samples(everywhere, s).moments
    n_mask, n_used, squares = full[:3]
    return Registration(
        transform=tf.from_level(s.transform, whole.level.scale),
        gain=s.gain,
        offset=s.offset,
        residual=float(np.sqrt(squares / n_used)),
        tre_self=tre_self,
        iterations=iterations,
        correlation=_correlation(matched),
        rings=0.0 if p.rings is None else float(np.sqrt(np.square(p.rings.moving).mean())),
        kept=float(matched[3] / n_used),
        overlap=float(n_used / n_mask),
    )


def _is_converged(s: Estimate, scale: float) -> bool:
    return s.step * scale < 0.02


def _require_converged(s: Estimate, max_iterations: int, scale: float) -> None:
    if not _is_converged(s, scale):
        raise RegistrationError(
            f"not converged: after {max_iterations} iterations the mask still moves by {s.step * scale:.2g} voxels "
            "per iteration; check that both volumes show the same object and that the mask holds texture in every "
            "direction"
        )


def _require_plausible(
    p: PreparedLevel, result: Registration, origin: tf.Matrix, max_shift: float | None, max_rotation: float
) -> None:
    scale = p.level.scale
    center = scale * p.center + (scale - 1.0) / 2.0
    shift = float(np.linalg.norm(tf.apply(result.transform, center) - tf.apply(origin, center)))
    limit = 0.25 * scale * max(p.level.reference.shape) if max_shift is None else max_shift
    if shift > limit:
        raise RegistrationError(
            f"the motion is beyond the search range: the mask's centre moves by {shift:.1f} voxels, the limit is "
            f"{limit:.1f}; raise max_shift where such a motion is possible, or give registration.start"
        )
    turned = tf.compose(result.transform, tf.invert(origin))
    angle = float(np.degrees(np.linalg.norm(tf.rotation_vector(turned))))
    if angle > max_rotation:
        raise RegistrationError(
            f"the motion is beyond the search range: it turns by {angle:.1f} degrees, the limit is {max_rotation:.1f}; "
            "raise max_rotation where such a motion is possible, or give registration.start"
        )
    if result.tre_self > 0.5 or result.correlation < 0.1:
        raise RegistrationError(
            f"no trustworthy motion: its standard error is {result.tre_self:.2g} voxels and the "
            f"volumes correlate by {result.correlation:.2f}; a mask with texture in every direction is needed"
        )
