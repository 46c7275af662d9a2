"""Small stores of every kind of image that the pipeline writes, for the tests of the viewer."""

import json
from pathlib import Path

import numpy as np
import zarr

from xct_pipeline.engine.execution import write_block
from xct_pipeline.store.files import read_attributes, write_group
from xct_pipeline.store.image import Image, level_count
from xct_pipeline.store.marker import Marker, write_marker
from xct_pipeline.store.store import Store

SHAPE = (32, 80, 96)
VOXEL_UM = 5.0
TIMES = [30.0, 5000.0, 40000.0]
SCANS = [f"scan_{k:02}" for k in range(len(TIMES))]
MATERIALS = {1: ("gas", [60, 60, 60, 255]), 2: ("anode", [230, 160, 0, 255]), 3: ("separator", [0, 110, 180, 255])}


def write_image(store, path, axes, values, unit, thickness=16, labels=False, levels=None, **attributes):
    spatial = values.shape[-3:] if axes[-3:] == ("z", "y", "x") else (64, *values.shape[-2:])
    count = level_count(spatial, thickness) if levels is None else levels
    image = Image(
        path,
        axes,
        values.shape,
        values.dtype.name,
        unit,
        thickness,
        count,
        VOXEL_UM,
        labels=labels,
        attributes=attributes,
    )
    finish_image(store, image, values)
    return image


def finish_image(store, image, values):
    """Write an image as a run does: shards, and markers that vouch for them."""
    store.prepare(image)
    for shard in image.shards():
        box = tuple(slice(k * s, (k + 1) * s) for k, s in zip(shard, image.shard_shape(), strict=True))
        marker = Marker("by hand", {}, 0.0, write_block(store.path, image, shard, np.ascontiguousarray(values[box])))
        write_marker(store.path, image.path, shard, marker)


def make_store(folder: Path, scans=SCANS) -> Path:
    """Write a store with scans, a registered series, labels and changes: a disc whose inside loses and rim gains."""
    store = Store(folder)
    store.claim({name: [f"../{name}.nxs"] for name in scans})
    store.update({"times_s": {name: [t, t] for name, t in zip(SCANS, TIMES, strict=True)}, "config": {}})
    z, y, x = np.meshgrid(*(np.arange(n) - (n - 1) / 2 for n in SHAPE), indexing="ij")
    radius = np.hypot(y, x)
    solid = np.where(radius < 30, 4.0, 0.1) + 0.01 * z
    series = np.stack([solid - 0.8 * k * (radius < 15) + 0.4 * k * ((radius > 20) & (radius < 30)) for k in range(3)])
    series = series.astype("float32")
    for k, name in enumerate(scans):
        write_image(store, f"scans/{name}/volume", ("z", "y", "x"), series[k], "1/cm")
    txyz, note = ("t", "z", "y", "x"), {"time_s": TIMES}
    write_image(store, "registered", txyz, series, "1/cm", **note)
    names = {str(k): name for k, (name, _) in MATERIALS.items()}
    labels = np.where(radius < 15, 2, np.where(radius < 30, 3, 1)).astype("uint8")
    labels = np.broadcast_to(labels, series.shape).copy()
    write_image(store, "registered/labels/materials", txyz, labels, "", labels=True, names=names, **note)
    group = store.path / "registered" / "labels" / "materials"
    attributes = read_attributes(group)
    attributes["ome"]["image-label"] = {
        "colors": [{"label-value": k, "rgba": rgba} for k, (_, rgba) in MATERIALS.items()],
        "properties": [{"label-value": k, "name": name} for k, (name, _) in MATERIALS.items()],
    }
    write_group(group, attributes)
    write_image(store, "variation/attenuation", txyz, series - series[:1], "1/cm", **note)
    write_image(store, "variation/density", txyz, (series - series[:1]) * np.float32(0.3), "g/cm3", **note)
    write_image(store, "variation/flags", txyz, np.zeros(series.shape, "uint8"), "", labels=True, **note)
    areal = ((series - series[:1]).sum(1) * np.float32(0.1)).astype("float32")
    areal[:, radius[0] > 35] = np.nan
    write_image(store, "variation/areal", ("t", "y", "x"), areal, "mg/cm2", **note)
    write_image(store, "variation/areal_sigma", ("t", "y", "x"), np.abs(areal) * 0 + np.float32(0.02), "mg/cm2", **note)
    return folder


def make_sparse(folder: Path, planes=1600, side=1600, times=7) -> Path:
    """Write the metadata of a store of 100 GB and a few of its shards."""
    store = Store(folder)
    names = [f"scan_{k:02}" for k in range(times)]
    store.claim({name: [f"../{name}.nxs"] for name in names})
    shape = (planes, side, side)
    levels = level_count(shape, 64)
    images = [
        Image(f"scans/{name}/volume", ("z", "y", "x"), shape, "float32", "1/cm", 64, levels, 2.0) for name in names
    ]
    note = {"time_s": [3600.0 * k for k in range(times)]}
    series = ("registered", "variation/attenuation", "variation/density")
    images += [
        Image(path, ("t", "z", "y", "x"), (times, *shape), "float32", "1/cm", 64, levels, 2.0, attributes=note)
        for path in series
    ]
    for image in images:
        store.prepare(image)
        attributes = read_attributes(store.path / image.path)
        del attributes["xct"]["arrays"]  # as earlier versions wrote it, without markers that vouch for the shards
        write_group(store.path / image.path, attributes)
        for level in range(2, levels):
            array = zarr.open_array(str(store.path / image.path / str(level)), mode="r+")
            box = tuple(slice(0, n) for n in image.shard_shape(level))
            array[box] = np.ones([min(b.stop, n) for b, n in zip(box, array.shape, strict=True)], "float32")
    assert sum(np.prod(i.shape) * 4 for i in images[times:]) > 100e9
    return folder


def leave_lock(folder: Path) -> None:
    """Make a store look as if a run that wrote it had been killed."""
    state = folder / ".xct"
    state.mkdir(exist_ok=True)
    (state / "lock.json").write_text(json.dumps({"pid": 4711, "host": "beamline"}))


def damage(folder: Path, image: str, level: int = 0) -> Path:
    """Flip bytes in the first shard of an image."""
    shard = next(p for p in sorted((folder / image / str(level) / "c").rglob("*")) if p.is_file())
    data = bytearray(shard.read_bytes())
    for k in range(64, len(data) // 2, 97):
        data[k] ^= 0xFF
    shard.write_bytes(bytes(data))
    return shard
