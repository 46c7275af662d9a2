"""Training of the pixel classifier on painted labels."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import zarr

from xct_pipeline.config import Config, SegmentClassifier
from xct_pipeline.execution import load_estimate, save_estimate
from xct_pipeline.registration.stage import PATH
from xct_pipeline.segmentation.classifier import Forest, feature_halo, train_forest, training_samples
from xct_pipeline.segmentation.denoise import denoise
from xct_pipeline.segmentation.painted import check_painted, painted_planes, tiles
from xct_pipeline.segmentation.stage_series import VERSION, Facts, box_source, inputs_of
from xct_pipeline.segmentation.stage_thresholds import denoise_reach, denoising_of
from xct_pipeline.store import Store


def trained_forest(config: Config, settings: SegmentClassifier, facts: Facts, store: Store) -> Forest:
    """Train a random forest on painted labels, or return the one that was trained on equal ones with this seed.

    Raises
    ------
    ValueError
        Painted labels that cannot be read, do not fit, or lack a material.
    """
    file = config.resolve(settings.labels)
    halo = denoise_reach(settings) + feature_halo(settings.sigmas)
    source = box_source(store, PATH, halo)
    try:
        planes = painted_planes(
            _open_painted(file), source.image.shape, time=_painted_scan(settings, facts), z=settings.z
        )
        check_painted(planes, settings.materials)
    except ValueError as error:
        raise ValueError(f"{file}: {error}") from None
    lost = sorted({facts.names[plane.time] for plane in planes if plane.time in facts.failed})
    if lost:
        raise ValueError(f"{file}: {', '.join(lost)} is painted but has no registered volume; paint another scan")
    key = {
        "version": VERSION, "seed": config.seed, "trees": settings.trees, "depth": settings.depth,
        "sigmas": settings.sigmas, "denoise": denoising_of(settings), "painted": [tuple(plane) for plane in planes],
        "inputs": inputs_of(store),
    }  # fmt: skip
    found = load_estimate(store, "segmentation/forest", key)
    if found is None:
        samples = []
        for region, labels in (tile for plane in planes for tile in tiles(plane)):
            block = denoise(source.read(region), **denoising_of(settings))
            samples.append(training_samples(block, labels, sigmas=settings.sigmas, core=source.core(region)))
        forest = train_forest(samples, seed=config.seed, trees=settings.trees, depth=settings.depth)
        save_estimate(store, "segmentation/forest", key, forest._asdict())
        return forest
    return Forest(**found)


def _painted_scan(settings: SegmentClassifier, facts: Facts) -> int:
    chosen = settings.scan
    if chosen is None:
        return facts.reference
    if isinstance(chosen, str) and chosen in facts.names:
        return facts.names.index(chosen)
    if isinstance(chosen, int) and chosen < len(facts.names):
        return chosen
    raise ValueError(f"segmentation.scan = {chosen!r} is no scan; there are {', '.join(facts.names)}")


def _open_painted(file: Path) -> Any:
    """Open a TIFF, a zarr array, an OME-Zarr image, or a labels group that holds one image."""
    if not file.exists():
        raise ValueError("no such file (segmentation.labels)")
    if file.is_file():
        import tifffile

        try:
            return np.asarray(tifffile.imread(file))
        except (tifffile.TiffFileError, OSError, ValueError) as error:
            raise ValueError(f"cannot be read as TIFF ({error})") from None
    try:
        node = zarr.open(str(file), mode="r")
    except (OSError, ValueError, KeyError) as error:
        raise ValueError(f"neither a TIFF nor an OME-Zarr image ({error})") from None
    if isinstance(node, zarr.Array):
        return node
    attributes = dict(node.attrs)
    ome: Any = attributes.get("ome", attributes)
    if "multiscales" in ome:
        return node[ome["multiscales"][0]["datasets"][0]["path"]]
    inner = list(ome.get("labels", []))
    if len(inner) == 1:
        return _open_painted(file / inner[0])
    raise ValueError(f"holds the labels {', '.join(inner)}: name one of them" if inner else "holds no OME-Zarr image")
