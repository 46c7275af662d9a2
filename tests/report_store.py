"""Write a small store by hand, as a finished run leaves it: a cell whose anode loses sodium in three scans."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import zarr
from vouch import vouch

from xct_pipeline.electrochemistry.drt import relaxation
from xct_pipeline.electrochemistry.spectrum import spectrum_of
from xct_pipeline.electrochemistry.steps.tables import Taken, write_spectra
from xct_pipeline.simulation.spectra import FREQUENCIES_HZ, impedance_ohm
from xct_pipeline.store.files import read_attributes, write_group
from xct_pipeline.store.image import Image, level_count
from xct_pipeline.store.store import Store

SCANS = ("scan_00", "scan_01", "scan_02")
SHAPE = (48, 72, 72)
VOXEL_UM = 20.0
TIMES_S = (300.0, 4500.0, 8700.0)
CHARGE_C = (0.0, 0.049, 0.098)
REGION_Z, REGION_RADIUS = (25, 37), 24.0
K_SPECIES = 0.2804  # cm2/g of Na at 50 keV
NAMES = {1: "gas", 2: "nasicon", 3: "nak", 4: "housing"}
SIGMA = 0.06
"""Noise of one voxel, 1/cm."""


def write_store(
    path: Path,
    loss: float = 1.0,
    shape: tuple[int, int, int] = SHAPE,
    voxel_um: float | None = VOXEL_UM,
    tables: bool = True,
    maps: bool = True,
    registered: bool = True,
    scans: tuple[str, ...] = SCANS,
    warnings: tuple[tuple[str, str], ...] = (("scan_02", "5 <b>rows</b> were left uncorrected"),),
) -> Store:
    """Write the store; `loss` scales what leaves the anode."""
    store = Store(path)
    store.claim({name: [f"../{name}.nxs"] for name in scans})
    times = {name: [t - 300, t + 300] for name, t in zip(scans, TIMES_S, strict=False)}
    facts = {
        name: {
            "projections": 301,
            "rows": shape[0],
            "columns": shape[2],
            "angle_range_deg": 180.0,
            "flats": 40,
            "darks": 10,
            "pixel_size_um": voxel_um,
            "energy_keV": 50.0,
            "instrument": "ID00",
        }
        for name in scans
    }
    store.update({"config": _config(), "times_s": times, "warnings": [list(w) for w in warnings], "facts": facts})
    labels, change = cell(shape, loss, len(scans))
    base = np.array([0, 0.02, 7.1, 0.5, 0.26], np.float32)[labels]
    rng = np.random.default_rng(7)
    noise = rng.normal(0, SIGMA, (len(scans), *shape)).astype(np.float32)
    series = base + change * K_SPECIES + noise
    for k, name in enumerate(scans):
        moved = np.roll(series[k], (0, k, -k), axis=(0, 1, 2))
        put(store, f"scans/{name}/volume", "zyx", moved, "1/cm", voxel_um)
    if registered:
        times_s = list(TIMES_S[: len(scans)])
        put(store, "registered", "tzyx", series, "1/cm", voxel_um, {"time_s": times_s})
        _labels(store, labels, change, voxel_um, times_s)
    if maps:
        _maps(store, series, labels, voxel_um)
        write_noise(store, scans)
    if tables:
        write_tables(store, loss, scans)
        _centres(store, scans)
    return store


def cell(shape: tuple[int, int, int], loss: float, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Return labels (z, y, x) and the change of density (t, z, y, x), g/cm3."""
    z, y, x = np.meshgrid(*(np.arange(n, dtype=np.float32) for n in shape), indexing="ij")
    r = np.hypot(y - (shape[1] - 1) / 2, x - (shape[2] - 1) / 2) * 72 / shape[2]
    z = z * 48 / shape[0]
    labels = np.ones(shape, np.uint8)
    labels[(z >= 10) & (z < 23) & (r < 28)] = 2
    labels[(z >= 23) & (z < 38) & (r < 26)] = 3
    labels[(r > 30) & (r < 33)] = 4
    change = np.zeros((count, *shape), np.float32)
    scaled = (y * 72 / shape[1], x * 72 / shape[2])
    for k in range(1, count):
        for cy, cx, size, start in ((28, 30, 9, 0), (44, 42, 7, 0.3), (30, 48, 6, 0.6)):
            grown = size * max(k / max(count - 1, 1) - start, 0) ** 0.5
            ball = ((z - 29) / 0.7) ** 2 + (scaled[0] - cy) ** 2 + (scaled[1] - cx) ** 2
            change[k][(ball < grown**2) & (labels == 3)] = -0.38 * loss
        change[k][
            ((z - 33) ** 2 + (scaled[0] - 48) ** 2 + (scaled[1] - 28) ** 2 < (9 * k / count) ** 2) & (labels == 3)
        ] = 0.35 * loss
    return labels, change


def put(
    store: Store,
    path: str,
    axes: str,
    values: np.ndarray,
    unit: str,
    voxel_um: float | None,
    attributes: dict[str, Any] | None = None,
    labels: bool = False,
) -> None:
    """Write an image with its levels."""
    spatial = values.shape[1:] if axes[0] == "t" else values.shape
    levels = level_count(spatial, 16) if len(spatial) == 3 else 1
    image = Image(
        path,
        tuple(axes),
        values.shape,
        str(values.dtype),
        unit,
        16 if len(spatial) == 3 else 1,
        levels,
        voxel_um,
        labels=labels,
        attributes=attributes or {},
    )
    store.prepare(image)
    for level in range(levels):
        array = zarr.open_array(str(store.path / path / str(level)), mode="r+")
        array.with_config({"write_empty_chunks": True})[...] = _reduced(values, len(spatial), level, labels)
    vouch(store.path, path)


def _reduced(values: np.ndarray, dims: int, level: int, labels: bool) -> np.ndarray:
    for _ in range(level):
        for axis in range(values.ndim - dims, values.ndim):
            even, odd = (np.take(values, np.arange(k, values.shape[axis] // 2 * 2, 2), axis) for k in (0, 1))
            values = even if labels else (even + odd) / 2
    return values


def _config() -> dict[str, Any]:
    return {
        "output": "sample.zarr",
        "seed": 0,
        "acquisition": {"scans": ["scan_*.nxs"], "energy_keV": None},
        "registration": {"method": "rigid", "reference": 0},
        "variation": {
            "species": "Na",
            "closure": "na_only",
            "region": {"cylinder": {"z": list(REGION_Z), "radius": REGION_RADIUS}, "box": None, "label": None},
        },
    }


def _labels(store: Store, labels: np.ndarray, change: np.ndarray, voxel_um: float | None, times: list[float]) -> None:
    series = np.stack([np.where(c < -0.1, 1, labels) for c in change]).astype(np.uint8)
    names = {str(value): name for value, name in NAMES.items()}
    put(store, "registered/labels/materials", "tzyx", series, "", voxel_um, {"names": names, "time_s": times}, True)
    folder = store.path / "registered/labels/materials"
    attributes = read_attributes(folder)
    attributes["ome"]["image-label"] = {"properties": [{"label-value": v, "name": n} for v, n in NAMES.items()]}
    write_group(folder, attributes)


def _maps(store: Store, series: np.ndarray, labels: np.ndarray, voxel_um: float | None) -> None:
    delta = series - series[:1]
    density = (delta / K_SPECIES).astype(np.float32)
    put(store, "variation/attenuation", "tzyx", delta, "1/cm", voxel_um)
    put(store, "variation/density", "tzyx", density, "g/cm3", voxel_um)
    z0, z1 = REGION_Z
    y, x = (np.arange(n) - (n - 1) / 2 for n in labels.shape[1:])
    outside = np.hypot(y[:, None], x[None, :]) > REGION_RADIUS
    step = (voxel_um or 1.0) * 1e-4 * 1e3
    areal = np.where(outside, np.nan, density[:, z0:z1].sum(axis=1) * step).astype(np.float32)
    sigma = np.where(outside, np.nan, SIGMA * 2**0.5 / K_SPECIES * (z1 - z0) ** 0.5 * step)
    sigma = np.broadcast_to(sigma, areal.shape).astype(np.float32).copy()
    sigma[0][~outside] = 0
    put(store, "variation/areal", "tyx", areal, "mg/cm2", voxel_um)
    put(store, "variation/areal_sigma", "tyx", sigma, "mg/cm2", voxel_um)
    put(store, "variation/areal_noise", "tyx", sigma, "mg/cm2", voxel_um)
    steps = np.concatenate([areal[:1], np.diff(areal, axis=0)])
    put(store, "variation/areal_consecutive", "tyx", steps.astype(np.float32), "mg/cm2", voxel_um)


def write_noise(store: Store, scans: tuple[str, ...]) -> None:
    """Write how white noise averages out over bins, which no reconstruction has."""
    rows = [
        {"scan": name, "bin_pixels": size, "noise_ratio": 1 / size, "noise_voxels": 10**6}
        for name in scans[1:]
        for size in range(1, 9)
    ]
    store.write_table("areal_noise", pd.DataFrame(rows, columns=["scan", "bin_pixels", "noise_ratio", "noise_voxels"]))


def _electrochemistry(store: Store, scans: tuple[str, ...]) -> None:
    """Write spectra of every scan, a voltammogram and cycles."""
    taken = []
    for k, name in enumerate(scans):
        spectrum = spectrum_of(f"{name}.csv", FREQUENCIES_HZ, impedance_ohm(1 - 0.2 * k))
        taken.append(Taken(spectrum, relaxation(spectrum, bootstrap=20), TIMES_S[k], name))
    write_spectra(store, taken)
    voltage = np.abs(np.linspace(0, 4, 80) % 2 - 1)
    store.write_table("voltammetry", pd.DataFrame({"cycle": 1, "voltage_V": voltage, "current_A": voltage**2}))
    cycles = {"cycle": [1, 2], "charge_C": [3.6, 3.5], "discharge_C": [3.5, 3.4], "efficiency": [0.97, 0.97]}
    store.write_table("cycling", pd.DataFrame(cycles))


def write_tables(store: Store, loss: float = 1.0, scans: tuple[str, ...] = SCANS) -> None:
    """Write every table."""
    n = len(scans)
    full = -0.02334
    mass = [loss * full * k / 2 * (1.02 - 0.03 * k) for k in range(n)]
    faraday = [full * k / 2 for k in range(n)]
    noise = [0.0] + [3.1e-4] * (n - 1)
    balance = pd.DataFrame(
        {
            "scan": scans,
            "time_s": TIMES_S[:n],
            "charge_C": CHARGE_C[:n],
            "voltage_V": (0.01, 0.01, 0.01)[:n],
            "mass_change_mg": mass,
            "sigma_mg": [0.0] + [5.2e-4] * (n - 1),
            "faraday_mg": faraday,
            "sigma_noise_mg": noise,
            "sigma_registration_mg": noise,
            "sigma_calibration_mg": [0.8 * s for s in noise],
            "sigma_table_mg": [abs(m) * 0.01 for m in mass],
            "decision_limit_mg": [1.645 * 5.2e-4] * n,
        }
    )
    store.write_table("mass_balance", balance)
    routes = [
        {"scan": scans[k], "route": route, "mass_change_mg": mass[k], "sigma_mg": 4e-4}
        for k in range(1, n)
        for route in ("volume", "rows", "all rows")
    ]
    store.write_table("mass_routes", pd.DataFrame(routes, columns=["scan", "route", "mass_change_mg", "sigma_mg"]))
    z = np.arange(SHAPE[0])
    along = [
        pd.DataFrame({"scan": scans[k], "z": z, "mass_change_mg": mass[k] / 15, "sigma_mg": 1e-4, "in_region": z > 22})
        for k in range(1, n)
    ]
    store.write_table("row_totals", pd.concat(along) if along else pd.DataFrame())
    grey = {
        "scan": scans[:n],
        "cupping": 0.004,
        "sigma_cupping": 0.001,
        "mass_scatter": -0.03,
        "mass_nonlinearity": 0.02,
    }
    store.write_table("grey_scale", pd.DataFrame(grey))
    fit = pd.DataFrame({"quantity": ["slope", "intercept"], "value": [0.981 * loss, 1e-4], "sigma": [0.021, 3e-4]})
    store.write_table("faraday", fit)
    time = np.linspace(0, 9000, 400)
    charge = np.clip((time - 600) / 3600, 0, 1) * 0.049 + np.clip((time - 4800) / 3600, 0, 1) * 0.049
    voltage = 0.01 + 0.4 * (np.gradient(charge) > 0) * (0.1 + charge**2 * 40)
    store.write_table("cycler", pd.DataFrame({"time_s": time, "charge_C": charge, "voltage_V": voltage}))
    store.write_table(
        "reconstruction",
        pd.DataFrame(
            {
                "scan": scans,
                "center": [80.97, 81.01, 81.56][:n],
                "center_sigma": 0.006,
                "center_method": "registration",
                "unit": "1/cm",
                "voxel_size_um": VOXEL_UM,
                "noise_halves": [0.41, 0.4, 0.44][:n],
                "noise_halves_sigma": 0.003,
                "resolution_voxel": [3.1, 3.0, 3.6][:n],
                "resolution_um": [3.1 * VOXEL_UM, 3.0 * VOXEL_UM, 3.6 * VOXEL_UM][:n],
                "resolution_seventh_voxel": [2.8, 2.7, 3.2][:n],
                "resolution_seventh_um": [2.8 * VOXEL_UM, 2.7 * VOXEL_UM, 3.2 * VOXEL_UM][:n],
                "halves": "z 0 to 64, y 20 to 60, x 20 to 60",
                "problem": None,
            }
        ),
    )
    _shells(store, scans)
    matrix = {f"m{i}{j}": [float(i == j) if j < 3 else 7.5 * k for k in range(n)] for i in range(3) for j in range(4)}
    store.write_table(
        "registration",
        pd.DataFrame(
            {
                "scan": scans,
                "gain": [1, 1.004, 0.997][:n],
                "gain_sigma": [0, 0.001, 0.001][:n],
                "residual": [0, 0.071, 0.074][:n],
                "tre_self": [0, 0.031, 0.035][:n],
                "iterations": [0, 9, 11][:n],
                **matrix,
            }
        ),
    )
    _profiles(store, loss, scans)
    _electrochemistry(store, scans)


def _shells(store: Store, scans: tuple[str, ...]) -> None:
    frequency = (np.arange(20) + 0.5) / 40
    correlation = 1 / (1 + np.exp(30 * (frequency - 0.3)))
    columns = {
        "frequency_per_voxel": frequency,
        "frequency_per_um": frequency / VOXEL_UM,
        "correlation": correlation,
        "correlation_sigma": 0.01,
        "half_bit": 0.1716 + 0.4 * np.exp(-20 * frequency),
        "independent": 500.0,
    }
    store.write_table("shell_correlation", pd.concat([pd.DataFrame({"scan": s, **columns}) for s in scans]))


def _profiles(store: Store, loss: float, scans: tuple[str, ...]) -> None:
    depth, radius = np.arange(10, 250, 20.0), np.arange(10, 480, 20.0)
    store.write_table(
        "depth_profile",
        pd.DataFrame(
            [
                {"scan": s, "depth_um": d, "density_g_cm3": -0.1 * loss * k * np.exp(-d / 90), "voxels": 1700}
                for k, s in enumerate(scans)
                for d in depth
            ]
        ),
    )
    store.write_table(
        "radial_profile",
        pd.DataFrame(
            [
                {
                    "scan": s,
                    "radius_um": d,
                    "density_g_cm3": -0.06 * loss * k * np.exp(-((d / 300) ** 2)),
                    "voxels": 900,
                }
                for k, s in enumerate(scans)
                for d in radius
            ]
        ),
    )
    store.write_table(
        "interface",
        pd.DataFrame(
            [
                {"scan": s, "material": m, "offset_voxels": o, "fraction": f + sign * 0.12 * loss * k}
                for k, s in enumerate(scans)
                for o in (1.0, 2.0)
                for m, f, sign in (("nak", 0.93, -1), ("gas", 0.05, 1))
            ]
        ),
    )
    store.write_table(
        "labels",
        pd.DataFrame(
            [
                {
                    "scan": s,
                    "label": v,
                    "name": name,
                    "voxels": 9000 * v,
                    "volume_mm3": 0.07 * v + 0.01 * k * (-1) ** v,
                    "mean_attenuation": 0.5,
                }
                for k, s in enumerate(scans)
                for v, name in NAMES.items()
            ]
        ),
    )


def _centres(store: Store, scans: tuple[str, ...]) -> None:
    for k, name in enumerate(scans):
        folder = store.state / "estimates" / name
        folder.mkdir(parents=True, exist_ok=True)
        trial = np.linspace(70, 92, 120)
        score = 1 / (1 + (trial - 81 - 0.3 * k) ** 2)
        metric = np.stack([trial[40:80], (trial[40:80] - 81 - 0.3 * k) ** 2 + 1])
        np.savez(
            folder / "center.npz",
            center=81 + 0.3 * k,
            curve=np.stack([trial, score]),
            metric_curve=metric,
            method="registration",
        )
