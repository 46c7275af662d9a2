"""Dock widget: the change of mass in a region drawn in the viewer, beside the voltage, and profiles along a line."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import scipy
from magicgui.widgets import Container, LineEdit, PushButton, SpinBox

from xct_pipeline.config import RegionOfInterest
from xct_pipeline.config.edit import update_config
from xct_pipeline.store import layout
from xct_pipeline.store.files import StoreError
from xct_pipeline.store.opened import open_image
from xct_pipeline.store.series import Series
from xct_pipeline.store.store import Store
from xct_pipeline.viewer.found import mass_found
from xct_pipeline.viewer.panel import Panel, plot, show_plot
from xct_pipeline.viewer.running import RunControl

if TYPE_CHECKING:
    from napari import Viewer


Array = npt.NDArray[Any]
REGION, LINE = "mass: region", "mass: line"
MAIN = "region"


class MassPanel(Panel):
    """Draw, see, write, run."""

    title = "Mass variation"
    draws = "mass: "

    def __init__(self, napari_viewer: Viewer, config: Path | None = None) -> None:
        super().__init__(napari_viewer, config)
        self.first = SpinBox(label="z from", min=0, max=1_000_000)
        self.stop = SpinBox(label="z to (not included)", min=1, max=1_000_000, value=1)
        self.box = PushButton(text="Rectangle")
        self.disc = PushButton(text="Circle", tooltip="about the axis of rotation")
        self.line = PushButton(text="Line", tooltip="for a profile along it")
        self.name = LineEdit(label="write as", value=MAIN)
        self.write = PushButton(text="Write into the configuration")
        self.control = RunControl(
            self, "Write and run", until=lambda: "variation", ready=self.accept, finished=lambda _: self.draw_table()
        )
        drawing = Container(widgets=[self.box, self.disc, self.line], layout="horizontal", labels=False)
        self.extend([drawing, self.first, self.stop, self.name, self.write, self.control, self.status])
        self.axes, self.lines = plot(self, 230), plot(self, 190)
        self.twin: Any = None
        self.measured: dict[str, Any] = {}
        self._measuring, self._profiling = self.slot(), self.slot()
        self.file.changed.connect(self.refresh)
        self.box.changed.connect(lambda: self.draw_shape("rectangle"))
        self.disc.changed.connect(lambda: self.draw_shape("ellipse"))
        self.line.changed.connect(self.draw_line)
        self.first.changed.connect(self.measure)
        self.stop.changed.connect(self.measure)
        self.write.changed.connect(self.accept)
        if config is not None:
            self.refresh()

    def refresh(self) -> None:
        """Take the region from the configuration and draw what the tables hold."""
        with self.guard():
            config = self.load()
            frame = self._frame()
            settings = config.variation
            region = settings.region if settings else None
            span = (
                next((part.z for part in (region.cylinder, region.box) if part is not None), None) if region else None
            )
            with self.first.changed.blocked(), self.stop.changed.blocked():
                self.first.max, self.stop.max = frame[0] - 1, frame[0]
                self.first.value, self.stop.value = span or (0, frame[0])
            series = Series.open(config.store_path)
            if "mass_balance" in series.tables:
                self.draw_table()
                self.say(f"configured region, {mass_found(series)}")
            else:
                self.say("no mass was measured yet: draw a region, or run")

    def _store(self) -> Path:
        return self.load().store_path

    def _frame(self) -> tuple[int, ...]:
        path = self._store() / "registered"
        if not (path / "zarr.json").exists():
            raise StoreError(f"{self._store()} holds no registered series yet: run the registration first")
        return tuple(int(n) for n in open_image(path).shape[1:])

    # ---------------------------------------------------------------------------------------------- drawing

    def draw_shape(self, kind: str) -> None:
        """Add a region in the middle of the picture, to be dragged into place."""
        with self.guard():
            _, ny, nx = self._frame()
            cy, cx, ry, rx = (ny - 1) / 2, (nx - 1) / 2, ny / 6, nx / 6
            if kind == "ellipse":
                ry = rx = min(ry, rx)
            corners = np.array([[cy - ry, cx - rx], [cy - ry, cx + rx], [cy + ry, cx + rx], [cy + ry, cx - rx]])
            self._shapes(REGION, corners, kind, "#ffb000").events.set_data.connect(self.measure)
            self.measure()

    def draw_line(self) -> None:
        """Add a line across the middle of the picture."""
        with self.guard():
            _, ny, nx = self._frame()
            ends = np.array([[(ny - 1) / 2, 0.1 * nx], [(ny - 1) / 2, 0.9 * nx]])
            self._shapes(LINE, ends, "line", "#00d0ff").events.set_data.connect(self.profile)
            self.profile()

    def _shapes(self, name: str, data: Array, kind: str, colour: str) -> Any:
        if name in self.viewer.layers:
            self.viewer.layers.remove(name)
        step, origin = self._grid()
        layer = self.viewer.add_shapes(
            [data],
            shape_type=kind,
            name=name,
            scale=(step, step),
            translate=origin,
            units=("um", "um"),
            edge_color=colour,
            face_color="transparent",
            edge_width=max(0.5, self._frame()[1] / 160),
        )
        layer.mode = "select"
        self.viewer.layers.selection.active = layer
        return layer

    def _grid(self) -> tuple[float, tuple[float, float]]:
        image = open_image(self._store() / "registered")
        y, x = np.asarray(image.coords["y"]), np.asarray(image.coords["x"])
        return float(y[1] - y[0]), (float(y[0]), float(x[0]))

    def region(self) -> RegionOfInterest:
        """Return the drawn region as the configuration holds it.

        Raises
        ------
        ValueError
            Nothing is drawn, or it is empty.
        """
        if REGION not in self.viewer.layers or not self.viewer.layers[REGION].data:
            raise ValueError("draw a region first: a rectangle, or a circle about the axis")
        layer = self.viewer.layers[REGION]
        span = (int(self.first.value), int(self.stop.value))
        if span[0] >= span[1]:
            raise ValueError(f"planes {span[0]} to {span[1]} are none: z from must be less than z to")
        return region_of(np.asarray(layer.data[-1])[:, -2:], str(layer.shape_type[-1]), span, self._frame())

    # --------------------------------------------------------------------------------------------- measuring

    def measure(self) -> None:
        """Sum the change of mass in the drawn region, scan by scan."""
        with self.guard():
            if REGION in self.viewer.layers:
                self._measuring.start("mass in the region", self._measured, sums_of, self._store(), self.region())

    def _measured(self, found: dict[str, Any]) -> None:
        self.measured = found
        self._draw(found["time_s"], found["mass_mg"], found["limit_mg"], "drawn region; error if all pixels err alike")
        last, limit = found["mass_mg"][-1], found["limit_mg"][-1]
        name = found["scans"][-1] if found["scans"] else "last scan"
        error = f" +- at most {limit:.3g}" if math.isfinite(limit) else ""
        self.say(f"{found['voxels']} voxels, {name} {last:.4g}{error} mg")

    def draw_table(self) -> None:
        """Draw what the last run found for the configured region, with its errors."""
        with self.guard():
            table = Store(self._store()).read_table("mass_balance")
            self.measured = {
                "scans": list(table["scan"]),
                "time_s": table["time_s"],
                "mass_mg": table["mass_change_mg"],
            }
            self._draw(table["time_s"], table["mass_change_mg"], table["sigma_mg"], "configured region, one sigma")

    def _draw(self, time: npt.ArrayLike, mass: npt.ArrayLike, error: npt.ArrayLike, title: str) -> None:
        time, mass, error = (np.asarray(v, float) for v in (time, mass, error))
        self.axes.clear()
        if self.twin is not None:
            self.twin.remove()
            self.twin = None
        bars = np.where(np.isfinite(error), error, 0.0)
        self.axes.errorbar(time / 3600, mass, yerr=bars, fmt="o-", ms=4, capsize=3, color="tab:red")
        self.axes.set_xlabel("time, h")
        self.axes.set_ylabel("mass change, mg", color="tab:red")
        self.axes.set_title(title, fontsize=8)
        log = Series.open(self._store()).tables.get("cycler")
        if log is not None and "voltage_V" in log:
            self.twin = self.axes.twinx()
            self.twin.plot(log["time_s"] / 3600, log["voltage_V"], color="0.5", lw=1)
            self.twin.set_ylabel("voltage, V", color="0.4")
        show_plot(self.axes)

    def profile(self) -> None:
        """Draw attenuation along the line, one curve a scan."""
        with self.guard():
            if LINE in self.viewer.layers:
                ends = np.asarray(self.viewer.layers[LINE].data[-1])[:, -2:]
                z = (int(self.first.value) + int(self.stop.value) - 1) // 2
                self._profiling.start("profile", self._profiled, profiles_of, self._store(), ends, z)

    def _profiled(self, found: tuple[Array, Array, list[str], str]) -> None:
        distance, values, names, unit = found
        self.lines.clear()
        for curve, name in zip(values, names, strict=True):
            self.lines.plot(distance, curve, lw=1, label=name)
        self.lines.set_xlabel("along the line, um")
        self.lines.set_ylabel(f"attenuation, {unit}")
        self.lines.legend(fontsize=7)
        show_plot(self.lines)

    # ---------------------------------------------------------------------------------------------- writing

    def accept(self) -> bool:
        """Write the drawn region; without one the configuration stays as it is."""
        with self.guard():
            if REGION not in self.viewer.layers:
                self.say("no region drawn: the configuration's own is taken")
                return True
            name = str(self.name.value).strip() or MAIN
            key = "variation.region" if name == MAIN else f"variation.regions.{name}"
            update_config(self.path, {key: self.region().model_dump(mode="json", exclude_none=True)})
            self.inform(f"wrote {key} into {self.path.name}")
            return True
        return False


def region_of(corners: Array, kind: str, span: tuple[int, int], frame: tuple[int, ...]) -> RegionOfInterest:
    """Turn a drawn shape (voxels y, x) into a box, or a circle into a cylinder about the axis.

    Raises
    ------
    ValueError
        The shape holds no voxel, or a circle lies off the axis.
    """
    low, high = corners.min(axis=0), corners.max(axis=0)
    middle, half = (low + high) / 2, (high - low) / 2
    axis = (np.array(frame[1:]) - 1) / 2
    if kind == "ellipse":
        away = float(np.hypot(*(middle - axis)))
        if away > 0.25 * half.min():
            raise ValueError(
                f"the circle lies {away:.0f} voxels off the rotation axis: move it there or draw a rectangle"
            )
        return RegionOfInterest.model_validate({"cylinder": {"z": span, "radius": round(float(half.mean()), 2)}})
    first = np.clip(np.ceil(low), 0, frame[1:]).astype(int)
    stop = np.clip(np.floor(high) + 1, 0, frame[1:]).astype(int)
    if (stop <= first).any():
        raise ValueError("the drawn region holds no voxel of the volume")
    (y0, x0), (y1, x1) = first.tolist(), stop.tolist()
    return RegionOfInterest.model_validate({"box": {"z": span, "y": (y0, y1), "x": (x0, x1)}})


def sums_of(store: Path, region: RegionOfInterest) -> dict[str, Any]:
    """Return the change of mass in a region for every scan, from the store's maps of density.

    Returns
    -------
    dict
        ``scans``, ``time_s``, ``mass_mg``, ``limit_mg`` (the error if all pixels erred alike, nan outside the mapped
        region), ``voxels``.

    Raises
    ------
    StoreError
        There is no density: the variation has not run, or refused for want of a closure.
    """
    from xct_pipeline.region import RegionMask

    series = Series.open(store)
    if not series.has(layout.DENSITY):
        raise StoreError(f"{store} holds no variation/density: give variation.closure and run, then draw")
    density = series.image(layout.DENSITY)
    nz, ny, nx = (int(n) for n in density.shape[1:])
    frame = (nz, ny, nx)
    mask = RegionMask(region, frame)
    planes = mask.planes()
    z = slice(planes.start, planes.stop)
    inside = mask.slab(z)
    step = float(density.coords["y"][1] - density.coords["y"][0])
    volume = (step * 1e-4) ** 3
    masses = [
        float(np.nansum(np.asarray(density[t, z], np.float64)[inside])) * volume * 1e3 for t in range(len(density))
    ]
    sigma = np.asarray(series.image(layout.AREAL_SIGMA), np.float64)
    columns = inside.any(axis=0)
    mapped = np.isfinite(sigma[:, columns]).all()
    limit = sigma[:, columns].sum(axis=1) * (step * 1e-4) ** 2 if mapped else np.full(len(masses), np.nan)
    return {
        "scans": list(series.along(layout.DENSITY)),
        "time_s": np.asarray(density.coords["t"]),
        "mass_mg": np.array(masses),
        "limit_mg": limit,
        "voxels": int(inside.sum()),
    }


def profiles_of(store: Path, ends: Array, z: int) -> tuple[Array, Array, list[str], str]:
    """Return distance (um) and attenuation along a line in one plane for every scan, their names and the unit."""
    series = open_image(store / "registered")
    step = float(series.coords["y"][1] - series.coords["y"][0])
    length = float(np.hypot(*(ends[1] - ends[0])))
    count = max(2, math.ceil(length) + 1)
    along = np.linspace(0, 1, count)
    places = ends[0][:, None] + (ends[1] - ends[0])[:, None] * along
    curves = [
        scipy.ndimage.map_coordinates(np.asarray(series[t, z], np.float32), places, order=1, cval=np.nan)
        for t in range(len(series))
    ]
    names = Series.open(store).along(layout.REGISTERED)
    titles = list(names) or [f"time {k}" for k in range(len(curves))]
    return along * length * step, np.array(curves), titles, str(series.attrs.get("units", ""))
