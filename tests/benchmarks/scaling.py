"""How the cost grows: with rows and threads, and what a stage hands to dask.

    python tests/benchmarks/scaling.py --size 512 --rows 64 256 1024

One raw file; every line is a run in a process of its own, its estimates (flats, air) cached by a run before.
CPU-seconds are those of the whole process within `pipeline.run`, divided by the rows.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parents[1])]

import chain  # noqa: E402
import numpy as np  # noqa: E402
from entry import Problem  # noqa: E402


def one(problem: Problem, rows: int, workers: int, memory: float = 6e9) -> dict[str, Any]:
    """Run the chain on the first `rows` rows of the raw file; return its figures."""
    from xct_pipeline import pipeline
    from xct_pipeline.engine.resources import Resources

    config = chain.configuration(problem, phase=False, stripe=True)
    limits = Resources(workers, int(memory))
    figures: dict[str, Any] = {"rows": rows, "workers": workers}
    for count in (16, rows):  # the first compiles, and caches what does not depend on rows
        cut = config.model_copy(update={"acquisition": config.acquisition.model_copy(update={"rows": (0, count)})})
        shutil.rmtree(cut.store_path / "scans", ignore_errors=True)
        layout = pipeline.plan(cut, limits, "reconstruction")
        cpu, wall = time.process_time(), time.perf_counter()
        result = pipeline.run(layout)
        if result.failed:
            raise RuntimeError(result.failed[0].problem)
        cost = {"cpu_s": (time.process_time() - cpu) / count, "wall_s": (time.perf_counter() - wall) / count}
    figures |= cost
    figures["tasks"] = sum(len(step.shards()) for item in layout.good for step in item.passes)
    figures["task_bytes"] = [step.memory() for item in layout.good for step in item.passes]
    figures["graph_bytes"] = graph_bytes([step for item in layout.good for step in item.passes], problem.folder)
    return figures


def graph_bytes(passes: list[Any], folder: Path) -> int:
    """Return the bytes of the tasks of passes as a scheduler gets them; what many of them share is in files."""
    import cloudpickle

    from xct_pipeline.engine import parcels
    from xct_pipeline.engine.execution import run_shard

    calls = [(str(folder), step, shard, step.digest(shard)) for step in passes for shard in step.shards()]
    tasks = parcels.wrap(calls, folder / "parcels")
    return sum(len(cloudpickle.dumps((parcels.call, run_shard, *task))) for task in tasks)


def main() -> None:
    """Print a table over rows and threads."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--rows", type=int, nargs="+", default=[64, 256, 1024])
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    angles = round(given.size * 0.88) | 1
    if given.folder is not None:
        problem = Problem(given.size, angles, 16, 0, given.folder)
        print(json.dumps(one(problem, given.rows[0], given.workers[0])))
        return
    with tempfile.TemporaryDirectory(prefix="xct-scaling-") as folder:
        chain.raw_file(Problem(given.size, angles, 16, 0, Path(folder)), max(given.rows))
        print(f"{angles} x {given.size}; zinger, all-stripe, Fourier")
        print("| rows | workers | tasks | graph, bytes | CPU s per slice | wall s per slice |")
        print("| --- | --- | --- | --- | --- | --- |")
        for workers in given.workers:
            for rows in given.rows:
                command = [
                    sys.executable,
                    str(Path(__file__).resolve()),
                    "--folder",
                    folder,
                    "--size",
                    str(given.size),
                    "--rows",
                    str(rows),
                    "--workers",
                    str(workers),
                ]
                found = [
                    json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
                    for _ in range(2)
                ]
                cpu, wall = (float(np.min([f[name] for f in found])) for name in ("cpu_s", "wall_s"))
                tasks, graph = found[0]["tasks"], found[0]["graph_bytes"]
                print(f"| {rows} | {workers} | {tasks} | {graph} | {cpu:.4f} | {wall:.4f} |", flush=True)


if __name__ == "__main__":
    main()
