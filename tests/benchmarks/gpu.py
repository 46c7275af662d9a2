"""Reconstruction in the memory of a CUDA device: milliseconds per slice, and as a share of the copy bandwidth.

    python tests/benchmarks/gpu.py                     # 2048 x 2048 slices from 1801 angles

The sinograms are on the device already, and the slices stay there. The share is the time that the slice's unavoidable
traffic (sinogram in, padded transforms written and read, grid written and read, slice out) would take at the measured
speed of a copy within the device's memory, over the time taken. ASTRA's FBP_CUDA stands beside where it can run.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parents[1])]

import numpy as np  # noqa: E402
import scene  # noqa: E402
from entry import Problem  # noqa: E402

from xct_pipeline.device import cuda_problem  # noqa: E402
from xct_pipeline.reconstruction import fourier  # noqa: E402

GROUP = 16


def seconds(call: Callable[[], Any], repeats: int = 5) -> float:
    """Return the least time of a call, the device's work included, after one call that compiles."""
    import cupy

    times = []
    for _ in range(repeats + 1):
        cupy.cuda.Device().synchronize()
        start = time.perf_counter()
        call()
        cupy.cuda.Device().synchronize()
        times.append(time.perf_counter() - start)
    return min(times[1:])


def copy_bandwidth(count: int = 1 << 27) -> float:
    """Return the bytes per second of a copy within the device, read and written ones counted."""
    import cupy

    source, target = cupy.zeros(count, np.float32), cupy.empty(count, np.float32)

    def copy() -> None:
        target[...] = source

    return 2 * source.nbytes / seconds(copy)


def traffic(n_angles: int, columns: int) -> float:
    """Return the bytes per slice that no order of the arithmetic spares."""
    padded, grid = 2 * columns, int(fourier.OVERSAMPLING * columns)
    return 4.0 * (n_angles * columns + 2 * 2 * n_angles * padded + 2 * 2 * grid**2 + columns**2)


def astra_seconds(p: Problem) -> float | None:
    """Return the time of one slice of ASTRA's FBP_CUDA, transfers included; None where it cannot run."""
    try:
        import astra
    except ImportError:
        return None
    if not astra.use_cuda():
        return None
    volume = astra.create_vol_geom(p.columns, p.columns)
    geometry = astra.create_proj_geom("parallel", 1.0, p.columns, scene.angles(p))
    sinogram = astra.data2d.create("-sino", geometry, scene.centred(p, (p.columns - 1) / 2))
    image = astra.data2d.create("-vol", volume)
    config = {"type": "FBP_CUDA", "ProjectionDataId": sinogram, "ReconstructionDataId": image, "option": {}}
    algorithm = astra.algorithm.create(config)
    return seconds(lambda: astra.algorithm.run(algorithm))


def main() -> None:
    """Print the table, or why there is none."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=2048)
    parser.add_argument("--angles", type=int)
    given = parser.parse_args()
    problem = cuda_problem()
    if problem is not None:
        print(f"not run: {problem}")
        return
    import cupy

    with tempfile.TemporaryDirectory(prefix="xct-gpu-") as folder:
        angles = given.angles or {2048: 1801}.get(given.size, round(given.size * 0.88) | 1)
        p = Problem(given.size, angles, GROUP, 0, Path(folder))
        there = cupy.asarray(scene.sinograms(p))
        theta = scene.angles(p)
        ours = seconds(lambda: fourier.reconstruct(there, theta, center=p.center)) / GROUP
        error = scene.image_error(p, fourier.reconstruct(there, theta, center=p.center)[0].get())
        bandwidth, peer = copy_bandwidth(min(1 << 27, 64 * there.size)), astra_seconds(p)
        share = traffic(p.angles, p.columns) / bandwidth / ours
        print(f"{p.angles} x {p.columns}; copies at {bandwidth / 1e9:.0f} GB/s\n")
        print("| tool | ms per slice | share of the copy bandwidth | error |\n| --- | --- | --- | --- |")
        print(f"| xct_pipeline, Fourier, 16 slices | {1e3 * ours:.3g} | {share:.0%} | {error:.3g} |")
        if peer is not None:
            print(f"| ASTRA, FBP_CUDA, one slice with transfers | {1e3 * peer:.3g} | | |")


if __name__ == "__main__":
    main()
