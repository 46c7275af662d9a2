"""Dock widget: two scans compared as a checkerboard and as a difference, and the mask they are matched on."""

from __future__ import annotations

import contextlib
import math
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import scipy
from magicgui.widgets import CheckBox, ComboBox, Container, FloatSpinBox, PushButton, SpinBox

from xct_pipeline.config import Config, MaskSettings, Registration, StartMotion
from xct_pipeline.config.edit import update_config
from xct_pipeline.outputs import written_whole
from xct_pipeline.store import layout
from xct_pipeline.store.files import StoreError
from xct_pipeline.store.opened import open_image
from xct_pipeline.store.series import Series
from xct_pipeline.store.store import Store
from xct_pipeline.viewer.found import found_motion, series_at
from xct_pipeline.viewer.layers import diverging, label_colours
from xct_pipeline.viewer.ome import contrast, signed_contrast
from xct_pipeline.viewer.panel import NameBox, Panel, set_picture
from xct_pipeline.viewer.running import RunControl
from xct_pipeline.viewer.section import FormFields

if TYPE_CHECKING:
    import xarray as xr
    from napari import Viewer


Array = npt.NDArray[Any]

BOARD, DIFFERENCE, PAINT, MASK = (
    "register: checkerboard",
    "register: difference",
    "register: paint what does not change",
    "register: mask",
)
RAW, DONE = "as reconstructed", "registered"
FIELDS = ("method", "reference", "order", "smoothing", "max_shift", "max_rotation")
LIMIT_VOXELS = 500_000  # of the level that the range of values is taken from
PAINT_VOXELS = 30_000_000  # a painted layer lies in memory; a coarser level is taken beyond


class RegisterPanel(Panel):
    """Compare, mask, run."""

    title = "Register"
    draws = "register: "

    def __init__(self, napari_viewer: Viewer, config: Path | None = None) -> None:
        super().__init__(napari_viewer, config)
        self.source = ComboBox(label="volumes", choices=[RAW, DONE])
        self.fixed, self.moving = NameBox("reference"), NameBox("compared")
        self.plane = SpinBox(label="plane z", min=0, max=1_000_000)
        self.size = SpinBox(label="square", min=2, max=1000, value=16)
        self.nudge = {axis: FloatSpinBox(label=axis, min=-999, max=999, step=0.25, value=0) for axis in "zyx"}
        self.turn = FloatSpinBox(label="turn, deg", min=-180, max=180, step=0.1, value=0)
        self.begin = CheckBox(text="the search for its motion begins at the nudge", value=False)
        self.form = FormFields(Registration, FIELDS)
        self.low = FloatSpinBox(label="min 1/cm", min=-1e4, max=1e4, step=0.1, value=0)
        self.high = FloatSpinBox(label="max 1/cm", min=-1e4, max=1e4, step=0.1, value=1e4)
        self.masked = CheckBox(text="mask", value=False)
        self.paint = PushButton(text="Paint")
        self.take = PushButton(text="Mask: box", tooltip="the box about the paint, and the range of its grey values")
        self.take_exactly = PushButton(text="Mask: paint", tooltip="what is painted, voxel by voxel")
        self.write = PushButton(text="Write into the configuration")
        self.control = RunControl(
            self, "Register", until=lambda: "registration", ready=self.accept, finished=self._done
        )
        self.shapes: dict[str, Any] = {}  # keys of the mask that have no field here
        nudges = Container(widgets=[*self.nudge.values(), self.turn], label="nudge")
        limits = Container(widgets=[self.masked, self.low, self.high], label="matched on")
        painting = Container(widgets=[self.paint, self.take, self.take_exactly], layout="horizontal", labels=False)
        self.extend(
            [
                self.source,
                self.fixed,
                self.moving,
                self.plane,
                self.size,
                nudges,
                self.begin,
                self.form,
                limits,
                painting,
                self.write,
                self.control,
                self.status,
            ]
        )
        self._work, self._masking = self.slot(), self.slot()
        self.file.changed.connect(self.refresh)
        self.moving.changed.connect(self.take_start)
        self.source.changed.connect(self.take_start)
        for widget in (self.source, self.fixed, self.moving, self.plane, self.size, nudges):
            widget.changed.connect(self.look)
        limits.changed.connect(self.show_mask)
        self.paint.changed.connect(self.start_painting)
        self.take.changed.connect(self.take_paint)
        self.take_exactly.changed.connect(self.take_painted)
        self.write.changed.connect(self.accept)
        if config is not None:
            self.refresh()

    # ------------------------------------------------------------------------------------------- comparing

    def refresh(self) -> None:
        """Take the series and its settings from the configuration and its store."""
        with self.guard():
            config = self.load()
            series = Series.open(config.store_path)
            names = [name for name in series.scans if name in series.volumes]
            if len(names) < 2:
                raise StoreError(f"{config.store_path} holds {len(names)} volumes: reconstruct two scans first")
            for box in (self.fixed, self.moving):
                box.offer(names)
            with self.moving.changed.blocked(), self.plane.changed.blocked():
                self.moving.value = names[-1]
                depth = int(series.volume(names[0]).shape[0])
                self.plane.max, self.plane.value = depth - 1, depth // 2
            self.form.show(config.registration or Registration())
            mask = config.registration.mask if config.registration else "auto"
            self._limit(coarse(config.store_path / layout.VOLUME(scan=names[0]), LIMIT_VOXELS))
            if isinstance(mask, MaskSettings):
                self._take_mask(mask)
            self.take_start()
            self.look()

    def _limit(self, volume: Any) -> None:
        """Let the boxes of the mask's range end where the values of a volume do: at its end a box says no limit."""
        values = np.asarray(volume)
        known = values[np.isfinite(values)]
        if known.size:
            with self.low.changed.blocked(), self.high.changed.blocked():
                self.low.min, self.high.value = (
                    math.floor(min(0.0, known.min())),
                    math.ceil(1.2 * max(1.0, known.max())),
                )
                self.high.max = self.high.value

    def _take_mask(self, mask: MaskSettings) -> None:
        given = mask.model_dump(mode="json", exclude_unset=True, exclude_none=True)
        self.shapes = {key: value for key, value in given.items() if not key.endswith("attenuation")}
        self.masked.value = True
        for box, edge in ((self.low, mask.min_attenuation), (self.high, mask.max_attenuation)):
            if edge is not None:
                box.min, box.max = min(box.min, edge), max(box.max, edge)
        self.low.value = mask.min_attenuation if mask.min_attenuation is not None else self.low.min
        self.high.value = mask.max_attenuation if mask.max_attenuation is not None else self.high.max

    def take_start(self) -> None:
        """Nudge the compared scan by where its search begins, else by the motion that a run found.

        What is registered already lies where it should.
        """
        with self.guard():
            config, raw, name = self.load(), self.source.value == RAW, str(self.moving.value)
            saved = config.registration
            start = saved.start.get(name) if saved and raw else None
            series = series_at(config.store_path) if raw and start is None else None
            motion = start or (None if series is None else found_motion(series, name)) or StartMotion()
            boxes = (*self.nudge.values(), self.turn)
            with contextlib.ExitStack() as still:
                for box in boxes:
                    still.enter_context(box.changed.blocked())
                for box, value in zip(boxes, (*motion.shift, motion.rotation[0]), strict=True):
                    box.value = value
            self.begin.value, self.begin.enabled = start is not None, raw

    def look(self) -> None:
        """Compare the two scans in one plane."""
        with self.guard():
            store = self.load().store_path
            names, registered = (str(self.fixed.value), str(self.moving.value)), self.source.value == DONE
            shift = tuple(float(self.nudge[axis].value) for axis in "zyx")
            job = (store, names, registered, int(self.plane.value), shift, float(self.turn.value))
            self._work.start("comparison", self._show, planes_of, *job)

    def _show(self, found: tuple[Array, Array, float, str]) -> None:
        fixed, moving, step, unit = found
        place = {"scale": (step, step), "units": ("um", "um"), "axis_labels": ("y", "x")}
        note = {"metadata": {"xct": {"unit": unit, "kind": "preview"}}}
        board = checkerboard(fixed, moving, int(self.size.value))
        set_picture(self.viewer, BOARD, board, contrast_limits=contrast(fixed[np.isfinite(fixed)]), **place, **note)
        change = moving - fixed
        shown = set_picture(self.viewer, DIFFERENCE, change, colormap=diverging(), visible=False, **place, **note)
        shown.contrast_limits = signed_contrast(change[np.isfinite(change)])
        self.say(f"root mean square difference {float(np.sqrt(np.nanmean(change**2))):.4g} {unit}")

    # --------------------------------------------------------------------------------------------- the mask

    def start_painting(self) -> None:
        """Add a layer to paint on, on the grid of a level that fits in memory."""
        with self.guard():
            reference = self._reference()
            if PAINT in self.viewer.layers:
                layer = self.viewer.layers[PAINT]
            else:
                scale, shift = _placement(reference)
                layer = self.viewer.add_labels(
                    np.zeros(reference.shape, np.uint8),
                    name=PAINT,
                    scale=scale,
                    translate=shift,
                    units=("um",) * 3,
                    colormap=label_colours({1: np.array([0.2, 0.8, 0.2, 0.8])}),
                    axis_labels=("z", "y", "x"),
                )
            layer.mode, layer.selected_label, layer.brush_size = "paint", 1, 12
            self.viewer.layers.selection.active = layer
            self.say("paint parts that do not change, in a few planes, then take the mask from them")

    def take_paint(self) -> None:
        """Turn what was painted into a mask: the box around it and the range of attenuation in it."""
        with self.guard():
            if PAINT not in self.viewer.layers or not np.any(self.viewer.layers[PAINT].data):
                raise ValueError("nothing is painted yet")
            reference = self._reference()
            painted = np.asarray(self.viewer.layers[PAINT].data) > 0
            factor = round(float(_placement(reference)[0][0]) / self._voxel())
            where = np.argwhere(painted)
            low, high = where.min(axis=0) * factor, (where.max(axis=0) + 1) * factor
            self.shapes = {"box": {axis: [int(a), int(b)] for axis, a, b in zip("zyx", low, high, strict=True)}}
            values = np.asarray(reference)[painted]
            with self.low.changed.blocked(), self.high.changed.blocked(), self.masked.changed.blocked():
                self.low.value, self.high.value = (round(float(v), 3) for v in np.percentile(values, [1, 99]))
                self.masked.value = True
            self.show_mask()

    def take_painted(self) -> None:
        """Take what was painted as the mask, voxel by voxel: saved beside the configuration, which names it."""
        import tifffile

        with self.guard():
            if PAINT not in self.viewer.layers or not np.any(self.viewer.layers[PAINT].data):
                raise ValueError("nothing is painted yet")
            file = self.path.with_name(f"{self.path.stem}_mask.tif")
            painted = (np.asarray(self.viewer.layers[PAINT].data) > 0).astype(np.uint8)
            with written_whole(file) as part:
                tifffile.imwrite(part, painted, photometric="minisblack", compression="zlib")
            self.shapes = {"painted": file.name}
            with self.low.changed.blocked(), self.high.changed.blocked(), self.masked.changed.blocked():
                self.low.value, self.high.value, self.masked.value = self.low.min, self.high.max, True
            self.show_mask()

    def mask(self) -> dict[str, Any] | str:
        """Return ``registration.mask`` as it would be written."""
        if not self.masked.value:
            return "auto"
        found: dict[str, Any] = {}
        if self.low.value > self.low.min:
            found["min_attenuation"] = float(self.low.value)
        if self.high.value < self.high.max:
            found["max_attenuation"] = float(self.high.value)
        found |= self.shapes
        if not set(found) - {"grow"}:
            raise ValueError("an empty mask selects everything: paint, or give a range of attenuation")
        return found

    def show_mask(self) -> None:
        """Show the voxels that the scans are matched on."""
        with self.guard():
            mask = self.mask()
            if isinstance(mask, dict):
                job = (self.load(), MaskSettings.model_validate(mask), str(self.fixed.value))
                self._masking.start("mask", self._show_mask, mask_of, *job)

    def _show_mask(self, found: tuple[Array, tuple[float, ...], tuple[float, ...]]) -> None:
        values, scale, shift = found
        if MASK in self.viewer.layers:
            self.viewer.layers[MASK].data = values.astype(np.uint8)
        else:
            self.viewer.add_labels(
                values.astype(np.uint8),
                name=MASK,
                scale=scale,
                translate=shift,
                units=("um",) * 3,
                opacity=0.4,
                colormap=label_colours({1: np.array([0.9, 0.8, 0.1, 1.0])}),
                axis_labels=("z", "y", "x"),
            )
        self.say(f"the mask holds {100 * float(values.mean()):.1f} % of the volume")

    def _reference(self) -> Any:
        folder = self.load().store_path / layout.VOLUME(scan=str(self.fixed.value))
        return coarse(folder, PAINT_VOXELS)

    def _voxel(self) -> float:
        return _placement(open_image(self.load().store_path / layout.VOLUME(scan=str(self.fixed.value))))[0][0]

    # ---------------------------------------------------------------------------------------------- writing

    def changes(self) -> dict[str, Any]:
        """Return what differs from the file."""
        saved = self.load().registration
        found = {f"registration.{key}": value for key, value in self.form.differences(saved or Registration()).items()}
        mask = self.mask()
        old = saved.mask if saved else "auto"
        if (MaskSettings.model_validate(mask) if isinstance(mask, dict) else mask) != old:
            found["registration.mask"] = mask
        starts = self.starts(saved or Registration())
        if starts is not None:
            found["registration.start"] = starts
        if saved is None and not found:
            found["registration.method"] = str(self.form.values()["method"])
        return found

    def starts(self, saved: Registration) -> dict[str, Any] | None:
        """Return ``registration.start`` with the compared scan's nudge, None where the file says so already."""
        if self.source.value != RAW:
            return None
        z, y, x = (float(self.nudge[axis].value) for axis in "zyx")
        start = StartMotion(shift=(z, y, x), rotation=(float(self.turn.value), 0.0, 0.0))
        wanted = {name: motion for name, motion in saved.start.items() if name != self.moving.value}
        if self.begin.value and start != StartMotion():
            wanted[str(self.moving.value)] = start
        if wanted == saved.start:
            return None
        return {name: motion.model_dump(mode="json", exclude_defaults=True) for name, motion in wanted.items()}

    def accept(self) -> bool:
        """Write the settings."""
        with self.guard():
            changes = self.changes()
            update_config(self.path, changes)
            self.say(f"wrote {', '.join(changes)}" if changes else f"{self.path.name} says so already")
            return True
        return False

    def _done(self, result: object) -> None:
        del result
        self.source.value = DONE


def coarse(folder: Path, most: int) -> Any:
    """Open the finest level of an image that has at most `most` voxels."""
    level = 0
    while True:
        image = open_image(folder, level)
        if math.prod(image.shape) <= most:
            return image
        try:
            open_image(folder, level + 1)
        except StoreError:
            return image
        level += 1


def _placement(image: xr.DataArray) -> tuple[tuple[float, ...], tuple[float, ...]]:
    axes = [np.asarray(image.coords[axis]) for axis in ("z", "y", "x")]
    return tuple(float(a[1] - a[0]) if len(a) > 1 else 1.0 for a in axes), tuple(float(a[0]) for a in axes)


def planes_of(
    store: Path, names: tuple[str, str], registered: bool, z: int, shift: tuple[float, ...], turn: float
) -> tuple[Array, Array, float, str]:
    """Return the same plane of two scans, the second moved by hand; its edge of a voxel and unit.

    Parameters
    ----------
    shift : tuple of float
        Voxels (z, y, x) that the second scan is moved by.
    turn : float
        Degrees about z and the middle, anticlockwise as seen on the screen, before it is shifted.
    """
    series = Series.open(store)
    if registered:
        volumes = [series.registered()[series.plane(layout.REGISTERED, name)] for name in names]
    else:
        volumes = [series.volume(name) for name in names]
    fixed, moving = volumes
    z = min(z, fixed.shape[0] - 1)
    first = math.floor(z - shift[0])
    low, high = max(0, first), min(moving.shape[0], first + 2)
    if low >= high:
        raise ValueError(f"nudged by {shift[0]:g} planes, the scan is not there any more")
    slab = np.asarray(moving[low:high], np.float32)
    plane = moved(slab, z - shift[0] - low, shift[1:], turn)
    return np.asarray(fixed[z], np.float32), plane, _placement(fixed)[0][1], str(fixed.attrs.get("units", ""))


def moved(slab: Array, z: float, shift: tuple[float, ...], turn: float) -> Array:
    """Return a plane at height `z` of a slab, shifted and turned about its middle, linearly interpolated."""
    ny, nx = slab.shape[1:]
    y, x = np.meshgrid(np.arange(ny) - shift[0], np.arange(nx) - shift[1], indexing="ij")
    cy, cx, angle = (ny - 1) / 2, (nx - 1) / 2, math.radians(turn)
    sy = cy + math.cos(angle) * (y - cy) + math.sin(angle) * (x - cx)
    sx = cx - math.sin(angle) * (y - cy) + math.cos(angle) * (x - cx)
    height = np.full(y.shape, min(max(z, 0.0), len(slab) - 1.0))
    return np.asarray(scipy.ndimage.map_coordinates(slab, [height, sy, sx], order=1, cval=np.nan))


def checkerboard(fixed: Array, moving: Array, size: int) -> Array:
    """Return squares of one image beside squares of the other."""
    y, x = np.indices(fixed.shape)
    return np.where((y // size + x // size) % 2 == 0, fixed, moving)


def mask_of(config: Config, mask: MaskSettings, name: str) -> tuple[Array, tuple[float, ...], tuple[float, ...]]:
    """Return the mask that registration takes, on a coarse level, with its scale and place."""
    from xct_pipeline.registration.steps.stage import Mask, find_volume

    if mask.painted is not None:
        mask = mask.model_copy(update={"painted": str(config.resolve(mask.painted))})
    store = Store(config.store_path)
    folder = store.path / layout.VOLUME(scan=name)
    image = coarse(folder, PAINT_VOXELS)
    scale, shift = _placement(image)
    level = round(math.log2(scale[0] / _placement(open_image(folder))[0][0]))
    volume = np.asarray(image)
    chosen = config.registration.reference if config.registration else 0
    time = chosen if isinstance(chosen, int) else Series.open(store).index(name)
    reference = replace(find_volume(store, name), time=time)
    return np.asarray(Mask(mask, reference, volume, level, store)[0 : volume.shape[0]]), scale, shift
