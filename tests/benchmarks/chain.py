"""The whole chain: raw HDF5 to a volume, with zingers and all stripes removed; and the steps over time."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import scene
from entry import OURS, Entry, Job, Problem
from steps import small

Array = np.ndarray[Any, Any]
ROWS = 64  # of the raw file: four groups of slices


def raw_file(p: Problem, rows: int = ROWS) -> Path:
    """Write a Data Exchange file of a scan, once."""
    import h5py

    file = p.folder / "scan.h5"
    if not file.exists():
        raw, flat, dark = scene.counts(p, max(rows, p.rows))
        rng = np.random.default_rng(3)
        with h5py.File(file, "w") as out:
            group = out.create_group("exchange")
            group["data"] = raw
            group["data_white"] = rng.poisson(flat, (10, *flat.shape)).clip(0, 65535).astype(np.uint16)
            group["data_dark"] = rng.poisson(dark, (10, *dark.shape)).astype(np.uint16)
            group["theta"] = np.degrees(scene.angles(p))
            group["theta"].attrs["units"] = "deg"
    return file


def configuration(p: Problem, phase: bool, stripe: bool) -> Any:
    """Return the configuration of a run over the raw file; the centre is given."""
    from xct_pipeline.config import Config

    return Config.model_validate(
        {
            "output": str(p.folder / "chain.zarr"),
            "acquisition": {"scans": [str(raw_file(p))], "pixel_size_um": 1.0 if phase else 1e4, "energy_keV": 25.0},
            "correction": {
                "zinger": {"method": "median"},
                "stripe": {"method": "all", "large_size": 61, "small_size": 21} if stripe else {"method": "none"},
                **({"phase": {"method": "paganin", "delta_beta": 200.0, "distance_mm": 50.0}} if phase else {}),
            },
            "reconstruction": {"center": p.center},
        }
    )


def _ours(p: Problem, phase: bool = False, stripe: bool = True) -> Job:
    from xct_pipeline import pipeline
    from xct_pipeline.engine.resources import Resources
    from xct_pipeline.store.series import open_volume

    def one(q: Problem) -> Path:
        config = configuration(q, phase, stripe)
        shutil.rmtree(config.store_path, ignore_errors=True)
        result = pipeline.run(pipeline.plan(config, Resources(2, 6 * 2**30), "reconstruction"))
        if result.failed:
            raise RuntimeError(result.failed[0].problem)
        return config.store_path

    def error(store: Path) -> float:
        # the pixel is 1 cm, so that 1/cm are 1/pixel
        return scene.image_error(p, np.asarray(open_volume(store, "scan")[0]))

    q = small(p)
    return Job(lambda: one(p), max(ROWS, p.rows), None if phase else error, warm=lambda: one(q))


def ours(p: Problem) -> Job:
    return _ours(p)


def ours_plain(p: Problem) -> Job:
    return _ours(p, stripe=False)


def ours_phase(p: Problem) -> Job:
    return _ours(p, phase=True)


def estimates(p: Problem) -> Job:
    """Measure flats, the margin of air and the level of each projection, which the chain's lines hold too."""
    from xct_pipeline.acquisition.steps import open_scans, working_frame
    from xct_pipeline.correction.steps.fields import measure_fields

    def one(q: Problem) -> Any:
        config = configuration(q, False, False)
        (opened,) = open_scans(config)
        if opened.scan is None:
            raise RuntimeError(opened.problem)
        return measure_fields(config.correction, opened.scan, working_frame(opened.scan, config.acquisition), None)

    q = small(p)
    return Job(lambda: one(p), 1, warm=lambda: one(q))


def _algotom(p: Problem, method: str) -> Job:
    import h5py
    from algotom.prep.correction import flat_field_correction
    from algotom.prep.removal import remove_all_stripe, remove_zinger
    from algotom.rec.reconstruction import dfi_reconstruction, fbp_reconstruction

    def one(q: Problem) -> Array:
        with h5py.File(raw_file(q)) as file:
            group = file["exchange"]
            counts = group["data"][:, 0].astype(np.float32)
            flat, dark = group["data_white"][:, 0].mean(axis=0), group["data_dark"][:, 0].mean(axis=0)
        sinogram = flat_field_correction(remove_zinger(counts, 0.2), flat, dark)
        sinogram = remove_all_stripe(-np.log(sinogram.clip(1e-5)), 3.0, 61, 21)
        theta = scene.angles(q)
        if method == "dfi":
            return np.asarray(
                dfi_reconstruction(sinogram, q.center, theta, filter_name=None, pad_rate=0.5, apply_log=False, ncore=2)
            )
        return np.asarray(
            fbp_reconstruction(
                sinogram, q.center, theta, filter_name=None, apply_log=False, gpu=False, ncore=2, pad=q.columns // 2
            )
        )

    q = small(p)
    return Job(lambda: one(p), 1, lambda got: scene.image_error(p, got), warm=lambda: one(q))


def algotom_fbp(p: Problem) -> Job:
    return _algotom(p, "fbp")


def algotom_dfi(p: Problem) -> Job:
    return _algotom(p, "dfi")


# ---------------------------------------------------------------------------------------- volumes in time


def _cell(p: Problem, scan: int) -> Array:
    from series_store import CellSource

    n = p.voxels
    return CellSource(n, scan, noise=0.05).read((slice(0, n), slice(0, n), slice(0, n)))


def _true_motion(p: Problem) -> Array:
    from series_store import about_middle, motion

    return about_middle(motion(1), p.voxels)


def _motion_error(p: Problem, found: Array) -> float:
    from series_store import _ceramic_corners

    from xct_pipeline.registration import transform as tf

    return float(tf.largest_distance(found, _true_motion(p), _ceramic_corners(p.voxels)))


def _halved(volume: Array) -> Array:
    n = volume.shape[0] // 2
    return volume.reshape(n, 2, n, 2, n, 2).mean(axis=(1, 3, 5), dtype=np.float32)


def registration_ours(p: Problem) -> Job:
    from concurrent.futures import ThreadPoolExecutor

    from xct_pipeline.registration.levels import Level
    from xct_pipeline.registration.rigid import register

    pyramid = [(_cell(p, 0), _cell(p, 1))]
    while pyramid[-1][0].shape[0] >= 64 and len(pyramid) < 4:
        pyramid.append((_halved(pyramid[-1][0]), _halved(pyramid[-1][1])))

    def call() -> Array:
        levels = (Level(a, b, a > 3.0, 2.0**k) for k, (a, b) in reversed(list(enumerate(pyramid))))
        with ThreadPoolExecutor(2) as pool:
            return np.asarray(register(levels, parallel_map=pool.map).transform)

    return Job(call, p.voxels**3 / 1e6, lambda got: _motion_error(p, got))


def registration_simpleitk(p: Problem) -> Job:
    import SimpleITK as sitk

    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(2)
    volumes = [_cell(p, k) for k in (0, 1)]
    fixed, moving = (sitk.GetImageFromArray(v) for v in volumes)
    mask = sitk.GetImageFromArray((volumes[0] > 3.0).astype(np.uint8))

    def call() -> Array:
        start = sitk.CenteredTransformInitializer(
            fixed, moving, sitk.Euler3DTransform(), sitk.CenteredTransformInitializerFilter.GEOMETRY
        )
        method = sitk.ImageRegistrationMethod()
        method.SetMetricAsMeanSquares()
        method.SetMetricFixedMask(mask)
        method.SetInterpolator(sitk.sitkLinear)
        method.SetOptimizerAsGaussNewton() if hasattr(method, "SetOptimizerAsGaussNewton") else (
            method.SetOptimizerAsRegularStepGradientDescent(1.0, 1e-4, 200)
        )
        method.SetOptimizerScalesFromPhysicalShift()
        method.SetShrinkFactorsPerLevel([4, 2, 1])
        method.SetSmoothingSigmasPerLevel([2.0, 1.0, 0.7])
        method.SetInitialTransform(start, inPlace=True)
        method.Execute(fixed, moving)
        corners = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]], float) * (p.voxels - 1)
        image = np.array([start.TransformPoint(c[::-1].tolist())[::-1] for c in corners])
        matrix = np.stack([(image[k + 1] - image[0]) / (p.voxels - 1) for k in range(3)], axis=1)
        return np.column_stack([matrix, image[0]])

    return Job(call, p.voxels**3 / 1e6, lambda got: _motion_error(p, got), warm=lambda: None)


def _edge_error(p: Problem, moved: Array) -> float:
    """Return the RMSE against the reference in the middle, where both hold the same bodies and noise of 0.05."""
    n = p.voxels
    inner = tuple(slice(n // 8, -n // 8) for _ in range(3))
    reference = _cell(p, 0)
    same = reference[inner] > 3.0
    return float(np.sqrt(np.mean((moved[inner] - reference[inner])[same] ** 2)))


def warp_ours(p: Problem) -> Job:
    from xct_pipeline.registration import warp

    volume, motion = _cell(p, 1), _true_motion(p)
    n = p.voxels
    boxes = [
        (slice(z, min(z + 64, n)), slice(y, min(y + 256, n)), slice(0, n))
        for z in range(0, n, 64)
        for y in range(0, n, 256)
    ]

    def call() -> Array:
        out = np.empty(volume.shape, np.float32)
        for box in boxes:
            out[box] = warp.warp_block(volume, motion, box, shape=volume.shape)
        return out

    return Job(call, n**3 / 1e6, lambda got: _edge_error(p, got))


def warp_scipy(p: Problem) -> Job:
    from scipy.ndimage import affine_transform

    volume, motion = _cell(p, 1), _true_motion(p)
    return Job(
        lambda: affine_transform(volume, motion[:, :3], motion[:, 3], order=3, mode="mirror"),
        p.voxels**3 / 1e6,
        lambda got: _edge_error(p, got),
    )


def labels_ours(p: Problem) -> Job:
    from xct_pipeline.segmentation.watershed import watershed_classes

    volume = _cell(p, 0)
    options = {"edge": 0.3, "means": (0.1, 1.0, 5.0), "blur": 0.7}
    return Job(lambda: watershed_classes(volume, (0.65, 3.1), **options), p.voxels**3 / 1e6)


def labels_skimage(p: Problem) -> Job:
    from skimage.filters import gaussian, sobel
    from skimage.segmentation import watershed

    volume = _cell(p, 0)

    def call() -> Array:
        gradient = sobel(gaussian(volume, 1.0))
        markers = np.digitize(volume, (0.65, 3.1)).astype(np.int32) + 1
        markers[gradient > 0.3] = 0
        return np.asarray(watershed(gradient, markers))

    return Job(call, p.voxels**3 / 1e6)


def maps_ours(p: Problem) -> Job:
    from xct_pipeline.variation import column_sums, mass
    from xct_pipeline.variation.anode import Anode
    from xct_pipeline.variation.closures import CLOSURES

    fixed, moving = _cell(p, 0), _cell(p, 1)
    anode, mask = Anode(3.0, 0.0), np.ones(fixed.shape, bool)
    no_cells = np.zeros((0, 8, *fixed.shape[1:]), np.int64), np.zeros((0, column_sums.NUMBER))

    def call() -> Array:
        maps = np.zeros((column_sums.NUMBER, *fixed.shape[1:]))
        for z in range(0, p.voxels, 8):
            now = slice(z, z + 8)
            CLOSURES["na_only"].change(mass.change(fixed[now], moving[now]), anode)
            column_sums.add_columns(fixed, moving[now], mask[now], (z, 0, 0), (z, 0, 0), fixed.shape, maps, *no_cells)
        return maps

    return Job(call, p.voxels**3 / 1e6)


MEGAVOXELS = "registration, warp, labels, maps"
ENTRIES = [
    Entry("flats and air, per scan", OURS, f"{ROWS} rows", (), estimates),
    Entry("whole chain", OURS, "zinger, all-stripe, Fourier; 2 tasks", (), ours),
    Entry("whole chain", "algotom", "zinger, all-stripe, dfi, 2 threads", ("algotom",), algotom_dfi),
    Entry("whole chain", "algotom", "zinger, all-stripe, fbp, 2 threads", ("algotom",), algotom_fbp, slow=True),
    Entry("chain, no stripes", OURS, "zinger, Fourier; 2 tasks", (), ours_plain),
    Entry("chain with Paganin", OURS, "zinger, Paganin, all-stripe, Fourier; 2 tasks", (), ours_phase),
]
OVER_TIME = [
    Entry("registration", OURS, "rigid, mask, to full resolution, 2 threads", (), registration_ours),
    Entry(
        "registration",
        "SimpleITK",
        "Euler3D, mean squares, mask, 3 levels, 2 threads",
        ("SimpleITK",),
        registration_simpleitk,
        slow=True,
    ),
    Entry("warp", OURS, "cubic with prefilter, 1 task", (), warp_ours),
    Entry("warp", "scipy", "ndimage.affine_transform, order 3", (), warp_scipy),
    Entry("labels", OURS, "thresholds, watershed at faces, 1 task", (), labels_ours),
    Entry("labels", "scikit-image", "gaussian, sobel, watershed", ("skimage",), labels_skimage),
    Entry("maps", OURS, "change, density, sums along z of these and of six motions, 1 task", (), maps_ours),
]
