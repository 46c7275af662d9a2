"""A series of volumes larger than memory, and what the stages over time take for it.

    python tests/benchmarks/series_store.py write FOLDER --size 640 --scans 4
    python tests/benchmarks/series_store.py run FOLDER --memory 2GB --workers 2

`write` computes the volumes shard by shard from analytic bodies, moved rigidly from scan to scan, with noise, into a
store as the reconstruction would leave it. `run` registers, segments and maps them under a limit and prints, as JSON,
the error of the motion against the known one, the seconds, CPU-seconds and million voxels per CPU-second of each stage,
and the peak resident memory of this process and of its children so far. Two processes, so that the peak is that of the
stages alone.
"""

from __future__ import annotations

import argparse
import json
import resource
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from xct_pipeline.boxes import Region
from xct_pipeline.engine.blocks import Array, BlockOp, Pass
from xct_pipeline.engine.execution import run_passes
from xct_pipeline.engine.resources import Resources
from xct_pipeline.engine.scheduling import share_one_heap
from xct_pipeline.store.image import Image, level_count
from xct_pipeline.store.store import Store

STAGES = ("registration", "segmentation", "variation")
VOXEL_UM = 1.6
CERAMIC, ANODE, GAS = 5.0, 1.2, 0.1
LOST = 0.15  # 1/cm, of the anode in every scan after the first
GRAIN = 1 / 64  # 1/cm, to which values are rounded, and FILLED, in sides of the volume, the radius beyond which they
FILLED = 0.45  # are 0: so that a series takes a quarter of its size on the disk


def motion(scan: int) -> Array:
    """Return the 3 x 4 motion of a scan, voxels of the reference to its own: a degree and a few voxels."""
    if scan == 0:
        return np.eye(3, 4)
    angles = np.radians([0.6, -0.25, 0.2]) * (1 if scan % 2 else -0.7)
    matrix = np.eye(3)
    for axis, (i, j) in enumerate([(1, 2), (2, 0), (0, 1)]):
        turn = np.eye(3)
        turn[[i, i, j, j], [i, j, i, j]] = (
            np.cos(angles[axis]),
            -np.sin(angles[axis]),
            np.sin(angles[axis]),
            np.cos(angles[axis]),
        )
        matrix = turn @ matrix
    return np.column_stack([matrix, np.array([1.37, -2.61, 0.83]) * scan])


def about_middle(transform: Array, size: int) -> Array:
    """Return the same motion with its rotation about the middle of the volume."""
    middle = np.full(3, (size - 1) / 2)
    matrix, shift = transform[:, :3], transform[:, 3]
    return np.column_stack([matrix, middle + shift - matrix @ middle])


@dataclass(frozen=True)
class CellSource:
    """Computes any region of a scan: a ceramic disc with pores under an anode, in a housing, all in gas."""

    size: int
    scan: int
    noise: float = 0.1

    def nbytes(self, region: Region) -> int:
        """Return the bytes of a region and the coordinates it is computed from."""
        return 40 * int(np.prod([part.stop - part.start for part in region]))

    def read(self, region: Region) -> Array:
        """Return (z, y, x) in 1/cm."""
        return np.concatenate([self._plane(z, region) for z in range(region[0].start, region[0].stop)])

    def _plane(self, z: int, region: Region) -> Array:
        n = self.size
        inverse = np.linalg.inv(np.vstack([about_middle(motion(self.scan), n), [0, 0, 0, 1]]))[:3]
        y, x = (np.arange(part.start, part.stop, dtype=np.float32) for part in region[1:])
        q = [
            (
                inverse[k, 0] * z + inverse[k, 1] * y[:, None] + inverse[k, 2] * x[None] + inverse[k, 3] - (n - 1) / 2
            ).astype(np.float32)
            / np.float32(n)
            for k in range(3)
        ]
        radius = np.hypot(q[1], q[2])
        edge = np.float32(1.0 / n)

        def solid(distance: Array) -> Array:
            """Return the share of a voxel that lies inside, from its distance to the face in sides of the volume."""
            return np.clip(0.5 - distance / edge, 0.0, 1.0)

        inner = solid(radius - 0.36)
        ceramic = solid(q[0]) * solid(-0.38 - q[0]) * inner
        anode = solid(-q[0]) * solid(q[0] - 0.25) * inner
        housing = solid(radius - 0.42) * solid(0.38 - radius)
        pores = self._pores(q, edge)
        change = 0.0 if self.scan == 0 else LOST
        value = GAS + (CERAMIC - GAS) * ceramic * (1 - 0.8 * pores) + (ANODE - change - GAS) * anode + 0.6 * housing
        rng = np.random.default_rng([self.scan, z])
        value += self.noise * rng.standard_normal(value.shape, dtype=np.float32)
        value[radius > FILLED] = 0.0
        return (np.round(value / GRAIN) * GRAIN).astype(np.float32)[None]

    @staticmethod
    def _pores(q: list[Array], edge: np.float32) -> Array:
        """Return the share of pores: balls on a jittered lattice, the same in every scan."""
        pitch = np.float32(0.06)
        cell = [np.floor(c / pitch).astype(np.int64) for c in q]
        state = (cell[0] * 73856093 ^ cell[1] * 19349663 ^ cell[2] * 83492791) & 0x7FFFFFFF
        offsets = [(((state * m) >> 7) % 1024).astype(np.float32) / 1024 for m in (40503, 30011, 20357)]
        size = 0.2 + 0.15 * (((state * 60493) >> 9) % 1024).astype(np.float32) / 1024
        distance = np.sqrt(sum((c / pitch - k - 0.4 - 0.2 * o) ** 2 for c, k, o in zip(q, cell, offsets, strict=True)))
        return np.clip(0.5 - (distance - size) * pitch / edge, 0.0, 1.0)


def _same(block: Array, before: Region, after: Region) -> Array:
    del before, after
    return block


def scan_names(count: int) -> list[str]:
    """Return the names of the scans."""
    return [f"scan_{k:02d}" for k in range(count)]


def write(folder: Path, size: int, scans: int, workers: int = 2) -> None:
    """Write the volumes of a series into a store."""
    store = Store(folder)
    store.claim({name: [f"{name}.nxs"] for name in scan_names(scans)})
    for k, name in enumerate(scan_names(scans)):
        thickness = 64
        image = Image(
            f"scans/{name}/volume",
            ("z", "y", "x"),
            (size, size, size),
            "float32",
            "1/cm",
            thickness,
            level_count((size, size, size), thickness),
            VOXEL_UM,
            (0.0, 0.0, 0.0),
        )
        step = Pass(image, CellSource(size, k), (BlockOp("cell", 1, _same),), (64, size, size), (0, 0, 0), {"scan": k})
        (result,) = run_passes(store, [step], Resources(workers, 16 * 2**30))
        if result.problem:
            raise RuntimeError(result.problem)


def configuration(folder: Path, size: int, scans: int) -> Any:
    """Return the configuration of the run: rigid motion on the ceramic, three materials, mass from the anode."""
    from xct_pipeline.config import Config

    radius, low, high = 0.33 * size, round(0.52 * size), round(0.73 * size)
    quiet = {"z": [round(0.8 * size), round(0.95 * size)], "radius": radius}
    return Config.model_validate(
        {
            "output": str(folder),
            "acquisition": {
                "scans": [f"{name}.nxs" for name in scan_names(scans)],
                "pixel_size_um": VOXEL_UM,
                "energy_keV": 25.0,
            },
            "registration": {"mask": {"min_attenuation": 3.0}},
            "segmentation": {"method": "watershed", "classes": 3},
            "variation": {
                "species": "Na",
                "closure": "na_only",
                "energy_keV": 25.0,
                "noise_region": {"cylinder": quiet},
                "region": {"cylinder": {"z": [low, high], "radius": radius}},
            },
        }
    )


def peak_bytes() -> int:
    """Return the largest resident memory of this process, or of one of its children if that is more."""
    return 1024 * max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))


def run(folder: Path, size: int, scans: int, limits: Resources, until: str = STAGES[-1]) -> dict[str, Any]:
    """Register, segment and map the series; return figures of each stage up to `until`."""
    from xct_pipeline.registration import transform as tf
    from xct_pipeline.registration.steps import stage as registration
    from xct_pipeline.segmentation.steps import stage as segmentation
    from xct_pipeline.variation.steps import stage as variation

    share_one_heap()  # as a run does
    store, config, names = Store(folder), configuration(folder, size, scans), scan_names(scans)
    times = [3600.0 * k for k in range(scans)]
    report: dict[str, Any] = {"limit": limits.memory, "workers": limits.workers, "start": peak_bytes(), "problems": []}
    clock = (time.perf_counter(), time.process_time())

    def note(stage: str, passes: Any = ()) -> None:
        nonlocal clock
        now = (time.perf_counter(), time.process_time())
        cpu = now[1] - clock[1]
        rate = scans * size**3 / 1e6 / max(cpu, 1e-9)
        report[stage] = {"wall_s": now[0] - clock[0], "cpu_s": cpu, "Mvoxel_per_cpu_s": rate, "peak": peak_bytes()}
        report["problems"] += [p.problem for p in passes if p.problem]
        clock = now

    volumes = [registration.find_volume(store, name) for name in names]
    motions = [
        registration.estimate_motion(config.registration, volumes[0], volume, store, limits) for volume in volumes
    ]
    note("motions")
    report["error_voxel"] = [
        float(tf.largest_distance(m.transform, about_middle(motion(k), size), _ceramic_corners(size)))
        for k, m in enumerate(motions)
    ]
    found = registration.run(config.registration, names, [None] * scans, times, store, limits)
    note("registered", found.passes)
    report["problems"] += [m.problem for m in found.motions if m.problem]
    if until == "registration":
        return report
    facts = segmentation.Facts(tuple(names), (), found.reference, found.volume, tuple(times))
    note("segmentation", segmentation.run(config, facts, store, limits).passes)
    if until == "segmentation":
        return report
    none = (None,) * scans
    series = variation.RegisteredSeries(tuple(names), (), found.reference, found.volume, found.motions, none)
    mapped = variation.run(config, series, store, limits)
    note("variation", mapped.passes)
    report["problems"] += list(mapped.refused)
    return report


def _ceramic_corners(size: int) -> Array:
    """Return the ends of the ceramic, between which the motion's error is taken."""
    reach = 0.36 * size
    middle = (size - 1) / 2
    return np.array(
        [
            [middle + z * size, middle + a * reach, middle + b * reach]
            for z in (-0.38, 0.0)
            for a, b in ((-1, 0), (1, 0), (0, -1), (0, 1))
        ]
    )


def main() -> None:
    """Write a series, or run the stages on one."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("write", "run"))
    parser.add_argument("folder", type=Path)
    parser.add_argument("--size", type=int, default=640)
    parser.add_argument("--scans", type=int, default=4)
    parser.add_argument("--memory", default="2GB")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--until", choices=STAGES, default=STAGES[-1], help="what is finished is not repeated")
    given = parser.parse_args()
    if given.what == "write":
        write(given.folder, given.size, given.scans, given.workers)
        return
    from xct_pipeline.cli.options import parse_bytes

    memory = parse_bytes(given.memory)
    assert memory is not None
    limits = Resources(given.workers, memory)
    print(json.dumps(run(given.folder, given.size, given.scans, limits, given.until), indent=1))


if __name__ == "__main__":
    main()
