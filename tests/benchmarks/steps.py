"""Entries from counts to slices: this project and its peers, each at the settings that suit it best."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import numpy as np
import scene
from entry import OURS, Entry, Job, Problem

Array = np.ndarray[Any, Any]
CORES = "2 threads"


def small(problem: Problem, columns: int = 128) -> Problem:
    """Return a problem for compilation."""
    folder = problem.folder / "small"
    folder.mkdir(exist_ok=True)
    return problem._replace(columns=columns, angles=181, rows=min(problem.rows, 2), folder=folder)


def rms(a: Array, b: Array) -> float:
    """Return the root mean square difference."""
    return float(np.sqrt(np.mean((np.asarray(a, np.float32) - b) ** 2, dtype=np.float64)))


# ---------------------------------------------------------------------------------------------- counts


def normalise_ours(p: Problem) -> Job:
    from xct_pipeline.correction.flatfield import line_integrals

    raw, flat, dark = scene.counts(p)
    return Job(lambda: line_integrals(raw, dark, flat)[0], p.rows, lambda got: rms(got, _integrals(raw, flat, dark)))


def _integrals(raw: Array, flat: Array, dark: Array) -> Array:
    return -np.log(((raw.astype(np.float64) - dark) / (flat - dark)).clip(1e-5)).astype(np.float32)


def normalise_algotom(p: Problem) -> Job:
    from algotom.prep.correction import flat_field_correction

    raw, flat, dark = scene.counts(p)
    data = raw.astype(np.float32)
    return Job(
        lambda: -np.log(flat_field_correction(data, flat, dark)),
        p.rows,
        lambda got: rms(got, _integrals(raw, flat, dark)),
    )


def normalise_tomopy(p: Problem) -> Job:
    import tomopy

    raw, flat, dark = scene.counts(p)
    return Job(
        lambda: tomopy.minus_log(tomopy.normalize(raw, flat[None], dark[None], ncore=2), ncore=2),
        p.rows,
        lambda got: rms(got, _integrals(raw, flat, dark)),
    )


def zinger_ours(p: Problem) -> Job:
    from xct_pipeline.correction.zinger import remove_zingers

    raw, _, _ = scene.counts(p)
    return Job(lambda: remove_zingers(raw, threshold=0.2)[0], p.rows)


def zinger_algotom(p: Problem) -> Job:
    from algotom.prep.removal import remove_zinger

    raw = scene.counts(p)[0][:, : min(4, p.rows)].astype(np.float32)

    def call() -> Array:
        return np.stack([remove_zinger(raw[:, k], 0.2) for k in range(raw.shape[1])], axis=1)

    return Job(call, raw.shape[1])


def zinger_tomopy(p: Problem) -> Job:
    import tomopy

    raw = scene.counts(p)[0].astype(np.float32)
    return Job(lambda: tomopy.remove_outlier(raw, 5000, 3, ncore=2), p.rows)


# --------------------------------------------------------------------------------------------- stripes


def _stripe_job(p: Problem, rows: int, function: Any) -> Job:
    data, clean = scene.noisy(p)[:, :rows], scene.sinograms(p)[:, :rows]
    warm = scene.noisy(small(p))[:, :rows]
    return Job(lambda: function(data), rows, lambda got: rms(got, clean), lambda: function(warm))


def stripes_left(p: Problem) -> Job:
    """Do nothing: what every method has to be better than."""
    return _stripe_job(p, p.rows, lambda d: d)


def all_stripe_ours(p: Problem) -> Job:
    from xct_pipeline.correction.stripes.vo import remove_all_stripe

    return _stripe_job(p, p.rows, lambda d: remove_all_stripe(d, snr=3.0, large_size=61, small_size=21))


def all_stripe_algotom(p: Problem) -> Job:
    from algotom.prep.removal import remove_all_stripe

    return _stripe_job(p, 1, lambda d: remove_all_stripe(d[:, 0], 3.0, 61, 21)[:, None])


def all_stripe_tomopy(p: Problem) -> Job:
    import tomopy

    return _stripe_job(p, 2, lambda d: tomopy.remove_all_stripe(d, 3, 61, 21, ncore=2))


def wavelet_ours(p: Problem) -> Job:
    from xct_pipeline.correction.stripes.wavelet import remove_stripe_fourier_wavelet

    return _stripe_job(p, p.rows, lambda d: remove_stripe_fourier_wavelet(d, level=5, sigma=2.0, wavelet="db5"))


def wavelet_algotom(p: Problem) -> Job:
    from algotom.prep.removal import remove_stripe_based_wavelet_fft

    return _stripe_job(p, 1, lambda d: remove_stripe_based_wavelet_fft(d[:, 0], 5, 2, "db5")[:, None])


def wavelet_tomopy(p: Problem) -> Job:
    import tomopy

    return _stripe_job(p, 2, lambda d: tomopy.remove_stripe_fw(d, 5, "db5", 2, ncore=2))


# ----------------------------------------------------------------------------------------------- phase

PROJECTIONS = 2


def _projections(p: Problem) -> tuple[Array, float]:
    """Return a few whole square projections, and how many slices of a scan their cost is worth."""
    line = scene.exact(p)[: PROJECTIONS * 7 : 7]
    data = np.repeat(line[:, None], p.columns, axis=1) * (1 - 0.1 * np.linspace(0, 1, p.columns)[:, None])
    return data.astype(np.float32), PROJECTIONS * p.columns / p.angles


def paganin_ours(p: Problem) -> Job:
    from xct_pipeline.correction.phase import retrieve_phase

    data, units = _projections(p)
    options = {"delta_beta": 200.0, "energy_keV": 25.0, "distance_mm": 50.0, "pixel_size_um": 1.6}
    return Job(lambda: retrieve_phase(data, **options), units)


def paganin_algotom(p: Problem) -> Job:
    from algotom.prep.filtering import fresnel_filter

    data, units = _projections(p)
    through = np.exp(-data)
    return Job(lambda: [fresnel_filter(image, 200.0, dim=2) for image in through], units)


def paganin_tomopy(p: Problem) -> Job:
    import tomopy

    data, units = _projections(p)
    through = np.exp(-data)
    options = {"pixel_size": 1.6e-4, "dist": 5.0, "energy": 25.0, "alpha": 1e-3, "ncore": 2}
    return Job(lambda: tomopy.minus_log(tomopy.retrieve_phase(through, pad=True, **options)), units)


# -------------------------------------------------------------------------------------- reconstruction


def _fourier(p: Problem, library: str) -> Job:
    from xct_pipeline.reconstruction.fourier import reconstruct

    data, theta = scene.sinograms(p), scene.angles(p)
    return Job(
        lambda: reconstruct(data, theta, center=p.center, fft=library)[0], p.rows, lambda got: scene.image_error(p, got)
    )


def fourier_scipy(p: Problem) -> Job:
    return _fourier(p, "scipy")


def fourier_ducc0(p: Problem) -> Job:
    return _fourier(p, "ducc0")


def exact_fbp(p: Problem) -> Job:
    """Take the definition of the accuracy that is aimed at, not a competitor."""
    import closed_form as cf

    data, theta = scene.exact(p).astype(np.float64), scene.angles(p)
    call = lambda: cf.exact_fbp(data, theta, p.center, p.columns)  # noqa: E731
    return Job(call, 1, lambda got: scene.image_error(p, got), warm=lambda: None)


def _one_slice(p: Problem, function: Any, center: Any = None) -> Job:
    """Prepare one slice; `center` (of a width) is where a package has the axis that cannot be told where it is."""
    q = small(p)
    scene.exact(q)
    data, first = (scene.exact(r) if center is None else scene.centred(r, center(r.columns)) for r in (p, q))
    return Job(
        lambda: function(data, scene.angles(p), p),
        1,
        lambda got: scene.image_error(p, got),
        lambda: function(first, scene.angles(q), q),
    )


def algotom_fbp(p: Problem) -> Job:
    from algotom.rec.reconstruction import fbp_reconstruction as fbp

    options = {"filter_name": None, "apply_log": False, "gpu": False, "ncore": 2, "pad": p.columns // 2}
    return _one_slice(p, lambda d, theta, q: fbp(d, q.center, theta, **{**options, "pad": q.columns // 2}))


def algotom_dfi(p: Problem) -> Job:
    from algotom.rec.reconstruction import dfi_reconstruction as dfi

    return _one_slice(
        p, lambda d, theta, q: dfi(d, q.center, theta, filter_name=None, pad_rate=0.5, apply_log=False, ncore=2)
    )


def astra_fbp(p: Problem) -> Job:
    """Reconstruct a sinogram whose axis is in the middle: on a CPU, FBP takes no geometry that moves it."""
    import astra

    def call(data: Array, theta: Array, q: Problem) -> Array:
        n = q.columns
        volume = astra.create_vol_geom(n, n)
        geometry = astra.create_proj_geom("parallel", 1.0, n, theta)
        sinogram = astra.data2d.create("-sino", geometry, data)
        image = astra.data2d.create("-vol", volume)
        projector = astra.create_projector("linear", geometry, volume)
        config = astra.astra_dict("FBP")
        config |= {"ProjectorId": projector, "ProjectionDataId": sinogram, "ReconstructionDataId": image}
        config["option"] = {"FilterType": "ram-lak"}
        algorithm = astra.algorithm.create(config)
        astra.algorithm.run(algorithm)
        result: Array = astra.data2d.get(image)
        astra.algorithm.delete(algorithm)
        astra.data2d.delete([sinogram, image])
        astra.projector.delete(projector)
        return result

    return _one_slice(p, call, lambda n: (n - 1) / 2)


def iterations_ours(p: Problem, name: Any) -> Job:
    from xct_pipeline.reconstruction.methods.iterative import reconstruct_iterative

    data, theta = scene.sinograms(p, 16), scene.angles(p)
    return Job(
        lambda: reconstruct_iterative(data, theta, center=p.center, algorithm=name, iterations=10)[0],
        16,
        lambda got: scene.image_error(p, got),
        lambda: reconstruct_iterative(data[:8, :, :64], theta[:8], center=31.5, algorithm=name, iterations=1),
    )


def iterations_astra(p: Problem, name: Any) -> Job:
    from xct_pipeline.reconstruction.methods.astra import reconstruct_astra

    options = {"algorithm": name, "iterations": 10}
    return _one_slice(p, lambda d, theta, q: reconstruct_astra(d[:, None], theta, center=q.center, **options)[0])


def skimage_iradon(p: Problem) -> Job:
    from skimage.transform import iradon

    def call(data: Array, theta: Array, q: Problem) -> Array:
        del q
        return np.asarray(iradon(data.T, np.degrees(theta), circle=True, filter_name="ramp"))

    return _one_slice(p, call, lambda n: n // 2)


def tomopy_gridrec(p: Problem, padded: bool = True) -> Job:
    import tomopy

    rows = min(4, p.rows)  # two threads have two each
    data, theta = scene.sinograms(p, rows), scene.angles(p)
    pad = p.columns // 2 if padded else 0
    wide = np.pad(data, ((0, 0), (0, 0), (pad, pad)), mode="edge")
    options = {"algorithm": "gridrec", "filter_name": "ramlak", "ncore": 2}

    def call() -> Array:
        image = tomopy.recon(wide, theta, center=p.center + pad, **options)[0]
        return image[pad : image.shape[0] - pad, pad : image.shape[1] - pad] if pad else image

    return Job(call, rows, lambda got: scene.image_error(p, got))


def tomopy_gridrec_unpadded(p: Problem) -> Job:
    return tomopy_gridrec(p, padded=False)


# -------------------------------------------------------------------------------------- write, centre


class _Ready:
    """A source of voxels that are already there."""

    def __init__(self, volume: Array) -> None:
        self.volume = volume

    def read(self, region: tuple[slice, ...]) -> Array:
        return self.volume[region]

    def nbytes(self, region: tuple[slice, ...]) -> int:
        return 0


def write_ours(p: Problem) -> Job:
    from xct_pipeline.engine.blocks import BlockOp, Pass
    from xct_pipeline.engine.execution import run_shard
    from xct_pipeline.store.files import marker_file
    from xct_pipeline.store.image import Image, level_count
    from xct_pipeline.store.store import Store

    rng = np.random.default_rng(0)
    clean = np.broadcast_to(scene.truth(p), (p.rows, p.columns, p.columns))
    volume = clean + 0.05 * rng.standard_normal(clean.shape, dtype=np.float32)
    folder = p.folder / "write.zarr"
    image = Image("volume", ("z", "y", "x"), volume.shape, "float32", "1/cm", p.rows, level_count(volume.shape, p.rows))
    store = Store(folder)
    store.prepare(image)
    marker_file(folder, "volume", (0, 0, 0)).parent.mkdir(parents=True)
    step = Pass(image, _Ready(volume), (BlockOp("same", 1, _same),), volume.shape, (0, 0, 0), {})

    def call() -> Any:
        result = run_shard(str(folder), step, (0, 0, 0), "")
        if result.problem:
            raise RuntimeError(result.problem)
        return result

    def error(got: Any) -> float:
        del got
        import zarr

        return float(np.abs(np.asarray(zarr.open_array(str(folder / "volume/0"), mode="r")[:]) - volume).max())

    return Job(call, p.rows, error)


def _same(block: Any, before: Any, after: Any) -> Any:
    return block


def write_plain_zarr(p: Problem) -> Job:
    import zarr

    rng = np.random.default_rng(0)
    clean = np.broadcast_to(scene.truth(p), (p.rows, p.columns, p.columns))
    volume = clean + 0.05 * rng.standard_normal(clean.shape, dtype=np.float32)
    array = zarr.create_array(
        str(p.folder / "plain.zarr"), shape=volume.shape, chunks=(p.rows, 256, 256), dtype="float32", overwrite=True
    )

    def call() -> None:
        array[:] = volume

    return Job(call, p.rows)


def center_ours(p: Problem) -> Job:
    from xct_pipeline.reconstruction.center.find import find_center

    rows = np.arange(12)
    q = p._replace(rows=12)
    data = scene.sinograms(q)
    data = data + 0.01 * np.random.default_rng(0).standard_normal(data.shape, dtype=np.float32)
    return Job(lambda: find_center(data, scene.angles(p), rows).center, 1, lambda got: abs(got - p.center))


def center_algotom(p: Problem) -> Job:
    from algotom.prep.calculation import find_center_vo

    data = scene.exact(p) + 0.01 * np.random.default_rng(0).standard_normal(scene.exact(p).shape, dtype=np.float32)
    return Job(lambda: find_center_vo(data, ncore=2), 1, lambda got: abs(got - p.center), warm=lambda: None)


def center_tomopy(p: Problem) -> Job:
    import tomopy

    data = scene.exact(p) + 0.01 * np.random.default_rng(0).standard_normal(scene.exact(p).shape, dtype=np.float32)
    return Job(
        lambda: tomopy.find_center_vo(data[:, None], ncore=2), 1, lambda got: abs(got - p.center), warm=lambda: None
    )


T, A = ("tomopy",), ("algotom",)
ENTRIES = [
    Entry("normalise, log", OURS, "", (), normalise_ours),
    Entry("normalise, log", "algotom", "whole block, numpy", A, normalise_algotom),
    Entry("normalise, log", "tomopy", CORES, T, normalise_tomopy),
    Entry("zinger", OURS, "3 x 3 median", (), zinger_ours),
    Entry("zinger", "algotom", "size 2", A, zinger_algotom),
    Entry("zinger", "tomopy", f"size 3, {CORES}", T, zinger_tomopy),
    Entry("all-stripe", OURS, "windows 61, 21", (), all_stripe_ours),
    Entry("all-stripe", "algotom", "windows 61, 21", A, all_stripe_algotom),
    Entry("all-stripe", "tomopy", f"windows 61, 21, {CORES}", T, all_stripe_tomopy),
    Entry("all-stripe", "nothing done", "", (), stripes_left),
    Entry("Fourier-wavelet", OURS, "db5, 5 levels", (), wavelet_ours),
    Entry("Fourier-wavelet", "algotom", "db5, 5 levels", A, wavelet_algotom),
    Entry("Fourier-wavelet", "tomopy", f"db5, 5 levels, {CORES}", T, wavelet_tomopy),
    Entry("Paganin", OURS, "padded by the kernel's reach", (), paganin_ours),
    Entry("Paganin", "algotom", "fresnel_filter, pad 150", A, paganin_algotom),
    Entry("Paganin", "tomopy", f"padded, {CORES}", T, paganin_tomopy),
    Entry("reconstruction", OURS, "Fourier, scipy.fft", (), fourier_scipy),
    Entry("reconstruction", OURS, "Fourier, ducc0", ("ducc0",), fourier_ducc0),
    Entry("reconstruction", "exact FBP", "float64 non-uniform FFT", ("ducc0",), exact_fbp),
    Entry("reconstruction", "tomopy", f"gridrec, padded to 2N, {CORES}", T, tomopy_gridrec),
    Entry("reconstruction", "tomopy", f"gridrec, unpadded, {CORES}", T, tomopy_gridrec_unpadded),
    Entry("reconstruction", "algotom", f"dfi, padded to 2N, {CORES}", A, algotom_dfi),
    Entry("reconstruction", "algotom", f"fbp (numba), padded to 2N, {CORES}", A, algotom_fbp, slow=True),
    Entry("reconstruction", "ASTRA", "FBP, linear, axis in the middle, 1 thread", ("astra",), astra_fbp, slow=True),
    Entry("reconstruction", "scikit-image", "iradon, 1 thread", ("skimage",), skimage_iradon, slow=True),
    *(
        Entry("10 iterations", tool, f"{name}, linear interpolation, 1 thread", needs, job, slow=True)
        for name in ("SIRT", "CGLS")
        for tool, needs, job in (
            (OURS, (), functools.partial(iterations_ours, name=name)),
            ("ASTRA", ("astra",), functools.partial(iterations_astra, name=name)),
        )
    ),
    Entry("write zarr", OURS, "sharded, levels, lz4 + bitshuffle, crc32c", (), write_ours),
    Entry("write zarr", "zarr", "one level, zstd (default)", ("zarr",), write_plain_zarr),
    Entry("centre, per scan", OURS, "12 rows, all angles, both methods", (), center_ours),
    Entry("centre, per scan", "algotom", f"Vo, one row, {CORES}", A, center_algotom, slow=True),
    Entry("centre, per scan", "tomopy", f"Vo, one row, {CORES}", T, center_tomopy, slow=True),
]


def shared(problem: Problem) -> Path:
    """Make what the entries' processes share, before the first of them is timed."""
    scene.exact(problem)
    for shift in [(0.0, 0.0), *((a, b) for a in (0.5, -0.5) for b in (0.5, -0.5))]:
        scene.truth(problem, shift)
    return problem.folder
