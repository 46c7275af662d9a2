"""One table of this project and its peers, step by step, measured side by side.

    python tests/benchmarks/run.py                     # 1801 x 2048, about twenty minutes on two cores
    python tests/benchmarks/run.py --quick             # 320 columns, half a minute
    python tests/benchmarks/run.py --only reconstruction --size 1024 --json history.json

Every entry runs in a process of its own, warm (compiled, plans made), and the least of its repeats counts. CPU-seconds
are of all threads; a line that is slow computes one slice. A peer that is not installed is left out and named below the
table. Each call appends one JSON object to the file of ``--json``.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parents[1])]

import chain  # noqa: E402
import steps  # noqa: E402
from entry import OURS, Problem  # noqa: E402

ENTRIES = [*steps.ENTRIES, *chain.ENTRIES, *chain.OVER_TIME]
OVER_TIME = {entry.step for entry in chain.OVER_TIME}
PEERS = (
    "algotom",
    "astra-toolbox",
    "scikit-image",
    "tomopy",
    "httomolib",
    "SimpleITK",
    "numpy",
    "scipy",
    "numba",
    "ducc0",
)
LIMIT_S = 900
REPEATS = 2  # the same for every line: the least of more would flatter whoever got more


def run_one(number: int, problem: Problem) -> dict[str, Any]:
    """Run one entry in this process."""
    from clock import measure

    entry = ENTRIES[number]
    job = entry.prepare(problem)
    (job.warm or job.call)()
    cost, result = measure(job.call, REPEATS)
    error = None if job.error is None else float(job.error(result))
    return {
        "step": entry.step,
        "tool": entry.tool,
        "settings": entry.settings,
        "units": job.units,
        "repeats": REPEATS,
        "cpu_s": cost.cpu_s / job.units,
        "wall_s": cost.wall_s / job.units,
        "peak_MB": cost.peak_MB,
        "error": error,
    }


def run_apart(number: int, problem: Problem) -> dict[str, Any]:
    """Run one entry in a fresh process and return its figures, or why there are none."""
    entry = ENTRIES[number]
    command = [sys.executable, str(Path(__file__).resolve()), "--entry", str(number), "--folder", str(problem.folder)]
    for name in ("columns", "angles", "rows", "voxels"):
        command += [f"--{name}", str(getattr(problem, name))]
    found = {"step": entry.step, "tool": entry.tool, "settings": entry.settings}
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT_S, check=False)
    except subprocess.TimeoutExpired:
        return found | {"problem": f"more than {LIMIT_S} s"}
    if done.returncode:
        lines = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
        return found | {"problem": lines[-1][:200]}
    result: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return result


def run_all(problem: Problem, chosen: list[int], quiet: bool = False) -> list[dict[str, Any]]:
    """Run entries one after the other."""
    steps.shared(problem)
    if any("chain" in ENTRIES[number].step for number in chosen):
        chain.raw_file(problem)
    rows = []
    for number in chosen:
        entry = ENTRIES[number]
        missing = [name for name in entry.needs if importlib.util.find_spec(name) is None]
        if missing:
            rows.append(
                {
                    "step": entry.step,
                    "tool": entry.tool,
                    "settings": entry.settings,
                    "problem": f"{missing[0]} is not installed",
                }
            )
            continue
        rows.append(run_apart(number, problem))
        if not quiet:
            print(f"{entry.step}: {entry.tool}, {entry.settings}", file=sys.stderr, flush=True)
    return rows


def table(rows: list[dict[str, Any]]) -> str:
    """Return the results as Markdown; the ratio is the CPU time over that of this project's fastest line."""
    best = {
        step: min((r["cpu_s"] for r in rows if r["step"] == step and r["tool"] == OURS and "cpu_s" in r), default=None)
        for step in {row["step"] for row in rows}
    }
    text = [
        "| step | tool | settings | CPU s | wall s | ratio | peak MB | error |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for row in rows:
        if "cpu_s" not in row:
            continue
        fastest = best[row["step"]]
        ratio = f"{row['cpu_s'] / fastest:.1f}" if fastest else ""
        costs = [f"{row[name]:.3g}" for name in ("cpu_s", "wall_s")]
        if row["step"] in OVER_TIME:
            costs = [f"{1 / row[name]:.3g} Mvoxel/s" for name in ("cpu_s", "wall_s")]
        error = "" if row["error"] is None else f"{row['error']:.3g}"
        text.append(
            f"| {row['step']} | {row['tool']} | {row['settings']} | {costs[0]} | {costs[1]} | {ratio} "
            f"| {row['peak_MB']:.0f} | {error} |"
        )
    left = [f"{row['step']}, {row['tool']}: {row['problem']}" for row in rows if "problem" in row]
    return "\n".join(text + ([""] + [f"- not run: {line}" for line in left] if left else []))


def machine() -> dict[str, Any]:
    """Return what the figures were taken on."""
    model = next(
        (
            line.split(":")[1].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if line.startswith("model name")
        ),
        platform.processor(),
    )
    versions = {}
    for name in PEERS:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            if importlib.util.find_spec(name.replace("-toolbox", "").replace("scikit-image", "skimage")):
                versions[name] = "built from source"
    return {
        "time": time.strftime("%Y-%m-%d %H:%M:%S"),
        "cpu": model,
        "cores": len(os.sched_getaffinity(0)),
        "load": os.getloadavg()[0],
        "python": platform.python_version(),
        "versions": versions,
    }


def main() -> None:
    """Run the benchmark from the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=2048, help="detector columns; angles follow")
    parser.add_argument("--voxels", type=int, default=192, help="side of the volumes of the steps over time")
    parser.add_argument("--rows", type=int, default=16, help="slices computed together")
    parser.add_argument("--quick", action="store_true", help="small, and without the slowest peers")
    parser.add_argument("--only", action="append", help="step, or part of its name; may be repeated")
    parser.add_argument("--json", type=Path, help="file that the results are appended to, one object per line")
    for name in ("entry", "columns", "angles"):
        parser.add_argument(f"--{name}", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.entry is not None:
        problem = Problem(given.columns, given.angles, given.rows, given.voxels, given.folder)
        print(json.dumps(run_one(given.entry, problem)))
        return
    size, voxels = (320, 96) if given.quick else (given.size, given.voxels)
    angles = {2048: 1801, 1024: 901, 320: 361}.get(size, round(size * 0.88) | 1)
    chosen = [
        k
        for k, entry in enumerate(ENTRIES)
        if not (given.quick and entry.slow) and (not given.only or any(text in entry.step for text in given.only))
    ]
    before = machine()
    with tempfile.TemporaryDirectory(prefix="xct-benchmark-") as folder:
        rows = run_all(Problem(size, angles, given.rows, voxels, Path(folder)), chosen)
    after = os.getloadavg()[0]
    print(f"{angles} x {size}, {given.rows} rows; volumes {voxels}^3; {before['cpu']}, {before['cores']} cores,")
    print(f"load {before['load']:.1f} to {after:.1f}; Python {before['python']}; {before['versions']}\n")
    print(table(rows))
    if given.json is not None:
        record = {
            "size": size,
            "angles": angles,
            "voxels": voxels,
            "machine": before,
            "load_after": after,
            "rows": rows,
        }
        with given.json.open("a") as out:
            out.write(json.dumps(record) + "\n")


if __name__ == "__main__":
    main()
