"""Results of every operation at its present version: a result that changes must raise the version.

A shard is reused as long as its parameters, its inputs and the versions of its operations are the same. If a test here
fails, either the change was not meant, or raise the operation's version in its ``steps`` folder (so that stores
recompute) and write new values: ``python tests/unit/test_golden_bytes.py`` (with ``tests`` in ``PYTHONPATH``).

What is guarded is discovered: the methods from the models of the configuration, the steps from what a small series is
planned with, and every place in the package that makes an operation or a reduction must have been reached by them.
"""

from __future__ import annotations

import json
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import scipy.ndimage
from golden_steps import KINDS, all_results, methods, places_of_makers, spied

from xct_pipeline.acquisition.steps import Frame
from xct_pipeline.acquisition.steps.volumes import volume_pass
from xct_pipeline.acquisition.volumes.arrays import FlatArray, VolumeView
from xct_pipeline.acquisition.volumes.given import GivenVolume
from xct_pipeline.config import Acquisition, Config, Correction, SegmentOtsu
from xct_pipeline.config.file import parse_config
from xct_pipeline.correction import flatfield
from xct_pipeline.correction.steps import defects as stage_defects
from xct_pipeline.correction.steps import stage as correction
from xct_pipeline.engine.resources import Resources
from xct_pipeline.reconstruction.steps import stage as reconstruction
from xct_pipeline.reconstruction.steps.upright import upright_op
from xct_pipeline.scan import ArrayFrames, Axis, Scan
from xct_pipeline.segmentation import surface, threshold
from xct_pipeline.segmentation.interface import height_partial
from xct_pipeline.segmentation.steps import labels as stage_labels
from xct_pipeline.segmentation.steps.thresholds import Thresholds

GOLDEN = Path(__file__).with_name("golden_results.json")
ANGLES, ROWS, COLUMNS = 48, 16, 64
REGION = (slice(0, ANGLES), slice(0, ROWS), slice(0, COLUMNS))
STRIPES = methods(Correction.model_fields["stripe"].annotation)
FILTERS = ("ram-lak", "hann", "butterworth")


class WholeFrames(ArrayFrames):
    """Frames that are decoded whole, whatever rows are read."""

    @property
    def chunk_rows(self) -> int:
        return 10**6


def phantom() -> np.ndarray:
    """Line integrals of a disc off the axis with noise, stripes and zingers, from a fixed sequence of numbers."""
    state = np.random.Generator(np.random.PCG64(7))
    angles = np.linspace(0, np.pi, ANGLES, endpoint=False)
    u = np.arange(COLUMNS) - 31.5
    middle = 6 * np.cos(angles)[:, None] + 4 * np.sin(angles)[:, None]
    disc = 0.06 * np.sqrt(np.clip(18.0**2 - (u - middle) ** 2, 0, None))
    p = disc[:, None, :] * np.linspace(0.8, 1.2, ROWS)[:, None]
    p = p + 0.01 * state.normal(size=p.shape) + 0.05 * (state.random((ROWS, COLUMNS)) < 0.03)
    return p.astype(np.float32)


def scan_and_fields() -> tuple[Scan, Frame, correction.Fields, np.ndarray]:
    state = np.random.Generator(np.random.PCG64(8))
    flat = 20000 * (1 + 0.1 * state.random((2, ROWS, COLUMNS)))
    dark = 100 + 5 * state.random((ROWS, COLUMNS))
    counts = dark + (flat[0] - dark) * np.exp(-phantom())
    counts[state.random(counts.shape) < 2e-3] *= 3
    counts = np.clip(np.round(counts), 0, 65535).astype(np.uint16)
    scan = Scan(
        "golden",
        ArrayFrames(counts),
        np.linspace(0, np.pi, ANGLES, endpoint=False),
        pixel_size_um=2.0,
        energy_keV=25.0,
        distance_mm=50.0,
        saturation=65535.0,
    )
    offset = np.zeros((ROWS, COLUMNS), np.float32)
    offset[:, 20] = 0.05
    dead = np.zeros((ROWS, COLUMNS), bool)
    dead[5, 40] = True
    fields = correction.Fields(
        flat.astype(np.float32),
        flatfield.flat_weights(np.array([0.0, ANGLES]), ANGLES),
        dark.astype(np.float32),
        np.linspace(1, 1.01, ANGLES),
        (4, 4),
        offset,
        dead,
    )
    return scan, Frame(ANGLES, ROWS, COLUMNS, 0, 1), fields, counts


def config(**correction_tables: object) -> Correction:
    data = {"output": "s", "acquisition": {"scans": ["a"]}, "correction": correction_tables}
    return parse_config(data).correction


def operations() -> dict[str, tuple[object, np.ndarray]]:
    """Return every operation with the block that it is given."""
    scan, frame, fields, counts = scan_and_fields()
    full = config(
        zinger={"method": "median"},
        scatter={"method": "halo", "share": 0.03, "width": 20.0},
        distortion={"method": "radial", "center": [31.0, 8.0], "coefficients": [1, 1e-4]},
        phase={"method": "paganin", "delta_beta": 100.0},
        beam_hardening={"method": "polynomial", "coefficients": [1.0, 0.02]},
    )
    found: dict[str, tuple[object, np.ndarray]] = {}
    for op in correction.to_integrals(full, scan, frame, fields):
        found[op.name] = (op, counts if op.name in ("zinger.median", "flatfield") else phantom())
    for method in STRIPES:
        for op in correction.on_sinograms(config(stripe={"method": method}), scan, frame, fields):
            found[op.name] = (op, phantom())
    for name in FILTERS:
        data = {"filter": name, "fft": "scipy"}
        whole: Config = parse_config({"output": "s", "acquisition": {"scans": ["a"]}, "reconstruction": data})
        geometry = reconstruction.geometry_of(whole.reconstruction, scan, frame, Axis(31.2), 2.0)
        op = reconstruction.reconstruct_op(whole.reconstruction, geometry, 0)
        found[f"{op.name}.{name}"] = (op, phantom())
    turned = upright_op(frame, 1.5)
    assert turned is not None
    return found | {turned.name: (turned, phantom())} | volume_operation() | label_operations()


def volume_operation() -> dict[str, tuple[object, np.ndarray]]:
    """Return the operation that brings a volume of another program onto the scale 1/cm."""
    values = phantom().astype(np.float64)
    values[0, 0, 0] = np.nan
    array = FlatArray(Path("golden.npy"), 0, values.shape, values.dtype)
    view = VolumeView(array, tuple((0, n) for n in values.shape), (0, 1, 2))
    volume = GivenVolume("golden", view, 2.0, 3.0, 0.25, 0.5, "NumPy", (Path("golden.npy"),), {})
    (op,) = volume_pass(volume, Acquisition(scans=["a"])).ops
    return {op.name: (op, values)}


def cell() -> np.ndarray:
    """Blurred gas, metal and ceramic with noise, and a corner without data, 1/cm."""
    state = np.random.Generator(np.random.PCG64(9))
    smooth = scipy.ndimage.gaussian_filter(state.normal(size=(ANGLES, ROWS, COLUMNS)), 3)
    material = np.digitize(smooth / smooth.std(), [-0.6, 0.8])
    volume = scipy.ndimage.gaussian_filter(np.array([0.0, 0.6, 7.0])[material], 0.7)
    volume += 0.05 * state.normal(size=volume.shape)
    volume[:4, :4, :9] = np.nan
    return volume.astype(np.float32)


def label_operations() -> dict[str, tuple[object, np.ndarray]]:
    """Return the operations of segmentation, and as such the kernels of its reductions."""
    volume, found = cell(), {}
    frame = (1, *volume.shape)
    chosen = Thresholds((0.3, 3.8), 0.3, (0.0, 0.6, 7.0))
    for method in methods(SegmentOtsu.model_fields["denoise"].annotation):
        settings = {"method": "values", "thresholds": list(chosen.values), "denoise": {"method": method}}
        whole = parse_config({"output": "s", "acquisition": {"scans": ["a"]}, "segmentation": settings})
        (op,) = stage_labels.denoise_op(whole.segmentation, frame)
        found[f"{op.name}.{method}"] = (op, volume[None])
    for settings in ({"method": "values", "thresholds": list(chosen.values)}, {"method": "watershed"}):
        whole = parse_config({"output": "s", "acquisition": {"scans": ["a"]}, "segmentation": settings})
        op = stage_labels._segment_op(whole, whole.segmentation, None, chosen, frame, None, None)
        found[op.name] = (op, volume[None])
    labels = threshold.apply_thresholds(volume, chosen.values)
    kernels = {
        "histogram": lambda: threshold.histogram(volume, bins=[64])["counts"],
        "area": lambda: surface.area_partial(labels, REGION)["area"],
        "thickness": lambda: surface.local_thickness(labels == 1, largest=8.0),
        "height": lambda: np.nan_to_num(height_partial(labels, REGION, REGION, ceramic=2)["height"]),
    }
    for name, kernel in kernels.items():
        op = stage_labels.block_op(name, lambda *_, kernel=kernel: kernel(), {}, 0, frame, 1, 4)
        found[op.name] = (op, volume[None])
    return found


def result(op: object, block: np.ndarray) -> dict[str, object]:
    """Return the version of an operation and a sample of its result: 64 values, mean and spread."""
    source = (slice(0, 1), *REGION) if block.ndim == 4 else REGION
    target = (slice(0, ROWS), slice(0, COLUMNS), slice(0, COLUMNS)) if "reconstruction" in op.name else source
    values = op.function(block, source, target)
    return sampled(op.version, values[0] if isinstance(values, tuple) else values)


def statistics() -> dict[str, tuple[int, np.ndarray]]:
    """Return the column statistics, by bands of rows and by parts of the rotation."""
    scan, frame, fields, counts = scan_and_fields()
    twice = {name: np.concatenate([getattr(fields, name)] * 2, axis=-2) for name in ("flats", "dark", "offset", "dead")}
    fields, frame = replace(fields, **twice), replace(frame, rows=2 * ROWS)  # more rows than are computed together
    settings = config(stripe={"method": "defects"})
    found = {}
    for name, kind in (("bands", ArrayFrames), ("parts", WholeFrames)):
        each = replace(scan, projections=kind(np.concatenate([counts] * 2, axis=1)))
        values = stage_defects.column_statistics(settings, each, frame, fields, None, Resources(1, 10**10))
        found[f"columns.{name}"] = (stage_defects.columns_step(settings, each, frame).version, values)
    return found


def sampled(version: int, values: np.ndarray) -> dict[str, object]:
    """Return the version of an operation and a sample of its result: 64 values, mean and spread."""
    values = np.nan_to_num(np.asarray(values, np.float64))
    sample = values.ravel()[np.linspace(0, values.size - 1, 64).astype(int)]
    return {"version": version, "values": [float(f"{v:.9g}") for v in (*sample, values.mean(), values.std())]}


def everything(folder: Path) -> dict[str, dict[str, object]]:
    """Return the golden values of all operations and reductions of the package."""
    found = {name: result(*pair) for name, pair in operations().items()}
    found |= {name: sampled(*pair) for name, pair in statistics().items()}
    return found | {name: sampled(version, values) for name, version, values in all_results(folder)}


SEEN: set[tuple[str, str]] = set()


@pytest.fixture(scope="module")
def now(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        for kind in KINDS:
            patch.setattr(kind, "__init__", spied(SEEN, kind))
        return everything(tmp_path_factory.mktemp("golden"))


def test_every_operation_and_reduction_of_the_package_is_guarded(now):
    assert set(now) == set(json.loads(GOLDEN.read_text())), f"write the values with python {Path(__file__).name}"
    assert places_of_makers() - SEEN == set()  # a place that makes one, but is not reached by any of the methods


@pytest.mark.parametrize("name", json.loads(GOLDEN.read_text()) if GOLDEN.exists() else ())
def test_changed_results_raise_the_version(name, now):
    stored = json.loads(GOLDEN.read_text())[name]
    expected, values = np.array(stored["values"]), np.array(now[name]["values"])
    same = np.allclose(values, expected, rtol=2e-5, atol=2e-5 * np.abs(expected).max())  # CPUs differ in the last bits
    if now[name]["version"] != stored["version"]:
        pytest.fail(f"{name} has a new version: write its values with python {Path(__file__).name}")
    assert same, f"the result of {name} changed but not its version {now[name]['version']}: raise it"


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as made:
        GOLDEN.write_text(json.dumps(everything(Path(made)), indent=0) + "\n")
