"""A store, or any OME-Zarr image, as napari layers: names, units, scale, times, contrast and colours. No Qt."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from xct_pipeline.store import layout
from xct_pipeline.store.files import StoreError
from xct_pipeline.store.remote import is_remote, remote_attributes, remote_facts
from xct_pipeline.store.series import Series
from xct_pipeline.store.store import Store
from xct_pipeline.viewer import ome
from xct_pipeline.viewer.sweep import sweep_layers

Layer = tuple[Any, dict[str, Any], str]  # napari's LayerDataTuple

LOSS, GAIN = (0.13, 0.40, 0.67), (0.70, 0.09, 0.17)  # blue and red that colour-blind readers tell apart
TITLES = {
    "registered": "registered",
    "variation/attenuation": "attenuation change",
    "variation/density": "density change",
    "variation/areal": "areal mass change",
    "variation/areal_sigma": "areal mass sigma",
    "variation/areal_noise": "areal mass noise",
    "variation/attenuation_consecutive": "attenuation change, consecutive",
    "variation/density_consecutive": "density change, consecutive",
    "variation/areal_consecutive": "areal mass change, consecutive",
    "variation/areal_sigma_consecutive": "areal mass sigma, consecutive",
    "variation/areal_noise_consecutive": "areal mass noise, consecutive",
}
SHOWN = ("variation/density", "variation/attenuation")  # the first of these that is there is visible


def read(path: str | os.PathLike[str]) -> list[Layer]:
    """Return the layers of whatever `path` is: a store, an OME-Zarr image, a raw scan, a sweep, a configuration.

    Raises
    ------
    StoreError, ScanError, ConfigError
        It cannot be opened.
    """
    from xct_pipeline.viewer import raw

    if is_remote(path):
        return remote_layers(os.fspath(path))
    file = Path(path)
    store = store_at(file)
    if store is not None:
        return store_layers(store)
    if file.suffix == ".toml":
        from xct_pipeline.config.file import load_config

        return raw.config_layers(load_config(file))
    if file.suffix.lower() in (".tif", ".tiff") and file.is_file():
        return sweep_layers(file)
    if not file.is_dir():
        return raw.file_layers(file)
    return image_layers(file)


def store_at(path: str | os.PathLike[str]) -> Path | None:
    """Return the store that `path` is, or that a configuration writes and that holds images; None for all else."""
    if is_remote(path):
        return None
    file = Path(path)
    if file.suffix == ".toml" and file.is_file():
        from xct_pipeline.config.file import load_config

        folder = load_config(file).store_path
        return folder if has_images(folder) else None
    return file if file.is_dir() and Series.is_at(file) else None


def has_images(folder: Path) -> bool:
    """Tell whether a store holds an image to show."""
    return (folder / "registered").is_dir() or any(folder.glob("scans/*/volume/zarr.json"))


def store_layers(path: str | os.PathLike[str]) -> list[Layer]:
    """Return the layers of a store; nothing but metadata and the coarsest levels are read.

    Images that are damaged or not begun are left out with a notification.

    Parameters
    ----------
    path : path
        A store.

    Returns
    -------
    list of (data, keywords, kind)
        napari's layer tuples, drawn in this order. ``metadata["xct"]`` of each holds its path in the store, the unit
        of its values and, along t, ``time_s`` and the scans' names.

    Raises
    ------
    StoreError
        There is no store, or nothing in it yet.
    """
    store = Store(path)
    series = Series.open(store)
    found = dict(_open_all(series))
    if not found:
        raise StoreError(f"{path} holds no image yet: run the pipeline, then open it again")
    holder = series.holder
    if holder is not None:
        begun = f"is being written by {holder}" if holder.held else f"was left by {holder}, which was killed"
        more = "Open it again to see more." if holder.held else "xct run goes on."
        ome.tell(f"{path} {begun}: what is not finished is empty. {more}")
    return _drawn(found, str(store.path), {key: _scans(key, series) for key in found})


def remote_layers(url: str) -> list[Layer]:
    """Return the layers of a store, or of one image, behind an address; see `store_layers`.

    Raises
    ------
    StoreError
        It cannot be reached, or there is no image.
    """
    url = url.rstrip("/")
    attributes = remote_attributes(url)
    paths = list(remote_facts(url)["images"]) if "order" in attributes.get("xct", {}) else [""]
    rank = {key: -k for k, key in enumerate(TITLES)}
    found: dict[str, ome.OmeImage] = {}
    for path in sorted(paths, key=lambda key: ("labels" in key, not key.startswith("scans/"), rank.get(key, -99))):
        key = path or url.rsplit("/", 1)[-1]
        try:
            found[key] = ome.open_remote_ome(f"{url}/{path}".rstrip("/"), key)
        except StoreError as error:
            if not path:
                raise
            ome.tell(f"{key} is left out: {error}")
    if not found:
        raise StoreError(f"{url} holds no image yet")
    along = {key: list(image.xct.get("scans", ())) for key, image in found.items()}
    volumes = {key: [key.split("/")[1]] for key in found if key.startswith("scans/")}
    return _drawn(found, url, along | volumes)


def _drawn(found: Mapping[str, ome.OmeImage], store: str, scans: Mapping[str, list[str]]) -> list[Layer]:
    """Return the layers of the images of a store, in their order."""
    depth = next((image for image in found.values() if image.axes[-3:] == ("z", "y", "x")), None)
    signed = next((key for key in SHOWN if key in found), None)
    grey = "registered" if "registered" in found else next((k for k in found if k.startswith("scans/")), None)
    layers: list[Layer] = []
    for key, image in found.items():
        image = _with_depth(image, depth)
        title = _title(key, image)
        common = _common(image, title, {"path": key, "store": store, "scans": scans[key]})
        if image.attributes.get("image-label") is not None or key.endswith("flags"):
            layers.append(_labels(image, common, visible=not key.endswith("flags")))
        elif key.startswith("variation/") and not _is_error(key):
            layers += _signed(image, common, visible=key == signed)
        else:
            layers.append(_grey(image, common, visible=key == grey or len(found) == 1))
    return layers


def image_layers(path: str | os.PathLike[str]) -> list[Layer]:
    """Return the layers of an OME-Zarr 0.4 or 0.5 image of any writer, its labels and channels included.

    Raises
    ------
    StoreError
        There is no image.
    """
    folder = Path(path)
    layers: list[Layer] = []
    for place in ome.images_in(folder):
        image = ome.open_ome(place, None if place == folder else place.name)
        layers += [layer for channel in _channels(image) for layer in (_plain(channel, place),)]
        for name in _label_names(place / "labels"):
            label = ome.open_ome(place / "labels" / name, name)
            layers += [_labels(c, _common(c, c.name, {"path": str(place)}), True) for c in _channels(label)]
    if not layers:
        raise StoreError(f"{folder}: no OME-Zarr image in it (looked for multiscales metadata of versions 0.4 and 0.5)")
    return layers


# ---------------------------------------------------------------------------------------------- what is there


def _open_all(series: Series) -> Iterator[tuple[str, ome.OmeImage]]:
    """Open every image of a store in drawing order; those that cannot be opened are told and left out."""
    root = series.store.path
    variation = sorted(p.name for p in (root / "variation").glob("*") if p.is_dir())
    rank = {key: k for k, key in enumerate(TITLES)}
    maps = sorted((f"variation/{name}" for name in variation), key=lambda key: (rank.get(key, 99), key), reverse=True)
    labels = (f"{layout.LABELS}/{name}" for name in series.labels)
    for key in (*series.volumes.values(), layout.REGISTERED, *maps, *labels):
        if not series.has(key):
            continue
        try:
            yield key, ome.open_ome(root / key, key)
        except StoreError as error:
            ome.tell(f"{key} is left out: {error}")


def _is_error(key: str) -> bool:
    return any(key.startswith(path) for path in (layout.AREAL_SIGMA, layout.AREAL_NOISE))


def _title(key: str, image: ome.OmeImage) -> str:
    parts = key.split("/")
    title = TITLES.get(key) or (parts[1] if parts[0] == "scans" else parts[-1])
    unit = image.xct.get("unit", "")
    return f"{title}, {unit}" if unit and "labels" not in parts and title != "flags" else title


def _scans(key: str, series: Series) -> list[str]:
    """Return the scan of each plane along t, or the one whose volume it is."""
    return next(([scan] for scan, path in series.volumes.items() if path == key), list(series.along(key)))


def _with_depth(image: ome.OmeImage, volume: ome.OmeImage | None) -> ome.OmeImage:
    """Give a map (t, y, x) one voxel along z that is as thick as the volume, so that every slice shows the map."""
    if image.axes != ("t", "y", "x"):
        return image
    step, first, count = 1.0, 0.0, 1
    if volume is not None:
        step, first, count = volume.scale[-3], volume.translate[-3], volume.arrays[0].shape[-3]
    return replace(
        image,
        axes=("t", "z", "y", "x"),
        scale=(image.scale[0], step * count, *image.scale[1:]),
        translate=(0.0, first + step * (count - 1) / 2, *image.translate[1:]),
    )


# --------------------------------------------------------------------------------------------------- layers


def _common(image: ome.OmeImage, name: str, more: Mapping[str, Any]) -> dict[str, Any]:
    xct = image.xct
    note = {"unit": xct.get("unit", ""), "time_s": xct.get("time_s"), **more}
    return {
        "name": name,
        "scale": image.scale,
        "translate": image.translate,
        "axis_labels": image.axes,
        "units": tuple(image.unit if axis in "zyx" else "pixel" for axis in image.axes),
        "metadata": {"xct": note},
    }


def _data(image: ome.OmeImage) -> list[Any]:
    levels = image.levels()
    missing = len(image.axes) - levels[0].ndim  # a map that was given a depth
    return [level[:, None] for level in levels] if missing else levels


def _grey(image: ome.OmeImage, common: dict[str, Any], visible: bool) -> Layer:
    limits = ome.contrast(ome.sample(image.arrays))
    colormap = "viridis" if _is_error(common["metadata"]["xct"]["path"]) else "gray"
    more = {"contrast_limits": limits, "colormap": colormap, "visible": visible, "multiscale": True}
    return _data(image), {**common, **more}, "image"


def _signed(image: ome.OmeImage, common: dict[str, Any], visible: bool) -> list[Layer]:
    """Return a diverging layer and, for volumes, one-sided ones: a projection in 3-D would drop what is negative."""
    limits = ome.signed_contrast(ome.sample(image.arrays, time=-1), ome.fine_sample(image.arrays, time=-1))
    data = _data(image)
    style = {"multiscale": True, "blending": "translucent"}
    whole = {"contrast_limits": limits, "colormap": diverging(), "visible": visible, **style}
    layers: list[Layer] = [(data, {**common, **whole}, "image")]
    if len(image.axes) == image.arrays[0].ndim:
        for side, colour, sign in (("gain", GAIN, 1), ("loss", LOSS, -1)):
            title = f"{common['name']}: {side} in 3-D"
            note = {**common["metadata"]["xct"], "side": side, "shown_in_3d": visible}
            one = {
                "name": title,
                "metadata": {"xct": note},
                "contrast_limits": (0.0, limits[1]),
                "colormap": one_sided(side, colour),
                "visible": False,
                "rendering": "mip",
                **style,
            }
            layers.append(([level * np.asarray(sign, level.dtype) for level in data], {**common, **one}, "image"))
    return layers


def _labels(image: ome.OmeImage, common: dict[str, Any], visible: bool) -> Layer:
    label = image.attributes.get("image-label") or {}
    names = {int(k): str(v) for k, v in image.xct.get("names", {}).items()}
    for entry in label.get("properties", ()):
        title = entry.get("name") or entry.get("class")
        if title is not None:
            names.setdefault(int(entry["label-value"]), str(title))
    levels = _data(image)
    pyramid = len(levels) > 1  # napari takes a list of one array of labels for the array's planes
    keywords = {**common, "visible": visible, "opacity": 0.45, "multiscale": pyramid}
    colours = {int(c["label-value"]): np.asarray(c["rgba"]) / 255 for c in label.get("colors", ()) if "rgba" in c}
    if colours:
        keywords["colormap"] = label_colours(colours)
    if names:
        keywords["features"] = {"index": list(names), "name": list(names.values())}
        keywords["metadata"] = {"xct": {**common["metadata"]["xct"], "names": names}}
    return levels if pyramid else levels[0], keywords, "labels"


def label_colours(colours: Mapping[int, Any]) -> Any:
    """Return napari's colormap of labels; what has no colour is transparent."""
    from napari.utils.colormaps import DirectLabelColormap

    clear = np.zeros(4)
    shown: dict[int | None, Any] = dict([(None, clear), (0, clear), *colours.items()])
    return DirectLabelColormap(color_dict=shown)


def diverging() -> Any:
    """Return the colormap of signed changes: blue for loss, red for gain, transparent at zero."""
    from napari.utils.colormaps import Colormap

    colours = [(*LOSS, 1.0), (*LOSS, 0.0), (*GAIN, 0.0), (*GAIN, 1.0)]
    return Colormap(colours, controls=[0.0, 0.499, 0.501, 1.0], name="xct loss-gain", nan_color=(0, 0, 0, 0))


def one_sided(name: str, colour: Sequence[float]) -> Any:
    """Return a colormap from transparent to a colour."""
    from napari.utils.colormaps import Colormap

    return Colormap([(*colour, 0.0), (*colour, 1.0)], name=f"xct {name}", nan_color=(0, 0, 0, 0))


# ----------------------------------------------------------------------------------- images of other writers


def _label_names(folder: Path) -> list[str]:
    """Return the label images beside an image: those that are listed, or those that are there."""
    listed = ome.ome_attributes(folder).get("labels")
    if listed is None and folder.is_dir():
        listed = [place.name for place in ome.images_in(folder)]
    return list(listed or ())


def _channels(image: ome.OmeImage) -> list[ome.OmeImage]:
    """Split an image along c."""
    if "c" not in image.axes:
        return [image]
    axis = image.axes.index("c")
    omero = image.attributes.get("omero", {}).get("channels", [])

    def without(values: Sequence[Any]) -> tuple[Any, ...]:
        return (*values[:axis], *values[axis + 1 :])

    split = []
    for k in range(image.arrays[0].shape[axis]):
        arrays = tuple(ome.Guarded(_Channel(a, axis, k), a.name) for a in image.arrays)
        about = omero[k] if k < len(omero) else {}
        name = about.get("label") or (image.name if image.arrays[0].shape[axis] == 1 else f"{image.name} channel {k}")
        split.append(
            replace(
                image,
                name=str(name),
                axes=without(image.axes),
                arrays=arrays,
                scale=without(image.scale),
                translate=without(image.translate),
                attributes={**image.attributes, "channel": about},
            )
        )
    return split


class _Channel:
    """One channel of an array."""

    def __init__(self, source: ome.Guarded, axis: int, index: int) -> None:
        self.source, self.axis, self.index = source, axis, index
        chunks = getattr(source.array, "chunks", source.shape)
        self.shape, self.chunks = (tuple(n for k, n in enumerate(v) if k != axis) for v in (source.shape, chunks))
        self.dtype, self.ndim = source.dtype, source.ndim - 1

    def __getitem__(self, key: tuple[slice, ...]) -> ome.Array:
        parts = list(key)
        parts.insert(self.axis, slice(self.index, self.index + 1))
        return np.squeeze(self.source[tuple(parts)], self.axis)


def _plain(image: ome.OmeImage, folder: Path) -> Layer:
    common = _common(image, image.name, {"path": str(folder)})
    about = image.attributes.get("channel", {})
    window = about.get("window", {})
    stated = (window.get("start"), window.get("end"))
    limits = stated if None not in stated and stated[0] < stated[1] else ome.contrast(ome.sample(image.arrays))
    more: dict[str, Any] = {"contrast_limits": limits, "multiscale": True, "visible": about.get("active", True)}
    if "color" in about:
        more |= {"colormap": f"#{about['color']}", "blending": "additive"}
    return _data(image), {**common, **more}, "image"
