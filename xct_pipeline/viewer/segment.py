"""Dock widget: materials by thresholds or from painted examples, seen in one plane of the labels that a run makes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from magicgui.widgets import Container, PushButton, SpinBox

from xct_pipeline.config import Config, SegmentWatershed
from xct_pipeline.config import Denoise as DenoiseUnion
from xct_pipeline.config import Segmentation as SegmentationUnion
from xct_pipeline.config.edit import change_text, parse_text, update_config
from xct_pipeline.outputs import written_whole
from xct_pipeline.store import layout
from xct_pipeline.store.files import StoreError
from xct_pipeline.store.opened import open_image
from xct_pipeline.store.series import Series
from xct_pipeline.viewer import ome
from xct_pipeline.viewer.layers import label_colours
from xct_pipeline.viewer.panel import NameBox, Panel, plot, show_plot
from xct_pipeline.viewer.running import RunControl
from xct_pipeline.viewer.section import MethodEditor

if TYPE_CHECKING:
    from napari import Viewer


Array = npt.NDArray[Any]

LABELS, PAINT = "segment: labels", "segment: paint"
ELSEWHERE = ("denoise", "interface", "objects", "thickness", "colors", "ceramic")  # kept as the file has them
PAINTED = "painted.tif"


class SegmentPanel(Panel):
    """Choose, click, paint, look, run."""

    title = "Segment"
    draws = "segment: "

    def __init__(self, napari_viewer: Viewer, config: Path | None = None) -> None:
        super().__init__(napari_viewer, config)
        self.scan = NameBox("scan")
        self.plane = SpinBox(label="plane z", min=0, max=1_000_000)
        self.denoise = MethodEditor("denoise", DenoiseUnion)
        self.method = MethodEditor("materials", SegmentationUnion, ELSEWHERE)
        self.paint, self.take = PushButton(text="Paint examples"), PushButton(text="Train on the paint")
        self.write = PushButton(text="Write into the configuration")
        self.control = RunControl(self, "Segment", until=lambda: "segmentation", ready=self.accept)
        painting = Container(widgets=[self.paint, self.take], layout="horizontal", labels=False)
        self.extend([self.scan, self.plane, self.denoise, self.method, painting, self.write, self.control, self.status])
        self.axes = plot(self, 200)
        self.axes.figure.canvas.mpl_connect("button_press_event", self._clicked)
        self.thresholds: tuple[float, ...] = ()
        self._counts: tuple[Array, Array] | None = None
        self._work = self.slot()
        self.file.changed.connect(self.refresh)
        for widget in (self.scan, self.plane, self.denoise, self.method):
            widget.changed.connect(self.look)
        self.paint.changed.connect(self.start_painting)
        self.take.changed.connect(self.take_paint)
        self.write.changed.connect(self.accept)
        if config is not None:
            self.refresh()

    def refresh(self) -> None:
        """Take the settings from the configuration and the histogram from its store."""
        with self.guard():
            config = self.load()
            series = self._series()
            self.scan.offer(list(Series.open(config.store_path).along(layout.REGISTERED)))
            with self.plane.changed.blocked():
                self.plane.max, self.plane.value = series.shape[1] - 1, series.shape[1] // 2
            settings = config.segmentation or SegmentWatershed()
            self.method.show(settings)
            self.denoise.show(settings.denoise)
            image = ome.open_ome(config.store_path / "registered")
            values = ome.sample(image.arrays)
            self._counts = np.histogram(values, bins=200, range=ome.contrast(values))
            self.look()

    def _series(self) -> Any:
        folder = self.load().store_path / "registered"
        if not (folder / "zarr.json").exists():
            raise StoreError(f"{folder.parent} holds no registered series yet: run the registration first")
        return open_image(folder)

    def changes(self) -> dict[str, Any]:
        """Return what the widget would write, and only what differs from the file."""
        saved = self.load().segmentation
        wanted = self.method.table()
        wanted.pop("denoise", None)
        model = type(self.method.section())
        if self.denoise.section() != model.model_fields["denoise"].default:
            wanted["denoise"] = self.denoise.table()
        section = model.model_validate(wanted)
        return {} if section == saved else {"segmentation": wanted}

    # ---------------------------------------------------------------------------------------------- looking

    def look(self) -> None:
        """Label one plane with the functions of a run."""
        with self.guard():
            text, folder = self.path.read_text(encoding="utf-8"), self.path.parent
            config = parse_text(change_text(text, self.changes()), folder, self.path.name)
            self.say("computing")
            self._work.start("labels", self._show, plane_labels, config, str(self.scan.value), int(self.plane.value))

    def _show(self, found: tuple[Array, tuple[float, ...], dict[int, str], list[str]]) -> None:
        labels, self.thresholds, names, palette = found
        series = self._series()
        y, x = np.asarray(series.coords["y"]), np.asarray(series.coords["x"])
        colours = {k: np.array([*bytes.fromhex(c[1:]), 255]) / 255 for k, c in zip(names, palette, strict=True)}
        if LABELS in self.viewer.layers:
            self.viewer.layers.remove(LABELS)
        self.viewer.add_labels(
            labels,
            name=LABELS,
            scale=(float(y[1] - y[0]),) * 2,
            translate=(float(y[0]), float(x[0])),
            opacity=0.5,
            units=("um", "um"),
            colormap=label_colours(colours),
            features={"index": list(names), "name": list(names.values())},
            metadata={"xct": {"names": names}},
        )
        shares = [f"{name} {100 * float((labels == k).mean()):.1f} %" for k, name in names.items()]
        self.say(", ".join(shares))
        self._draw()

    def _draw(self) -> None:
        self.axes.clear()
        if self._counts is not None:
            self.axes.stairs(*self._counts, fill=True, color="0.6")
        for value in self.thresholds:
            self.axes.axvline(value, color="tab:red", lw=1)
        self.axes.set_yscale("log")
        self.axes.set_xlabel("attenuation, 1/cm (click to move a threshold)")
        show_plot(self.axes)

    def _clicked(self, event: Any) -> None:
        if event.inaxes is self.axes:
            self.move_threshold(float(event.xdata))

    def move_threshold(self, value: float) -> None:
        """Move the nearest threshold; from then on thresholds are as given."""
        with self.guard():
            if not self.thresholds:
                raise ValueError("this method has no thresholds")
            found = list(self.thresholds)
            found[int(np.argmin(np.abs(np.array(found) - value)))] = value
            text = ", ".join(f"{v:.4g}" for v in found)
            if "thresholds" not in self.method.fields:
                names = self.method.fields["names"].value
                with self.method.changed.blocked():
                    self.method.method.value = "values"
                    self.method.fields["names"].value = names
            self.method.fields["thresholds"].value = text

    # --------------------------------------------------------------------------------------------- painting

    def start_painting(self) -> None:
        """Add a layer to paint examples on: label 1 is the first, darkest name."""
        with self.guard():
            series = self._series()
            if PAINT not in self.viewer.layers:
                place = [np.asarray(series.coords[axis]) for axis in ("z", "y", "x")]
                step = float(place[1][1] - place[1][0])
                self.viewer.add_labels(
                    np.zeros(series.shape[1:], np.uint8),
                    name=PAINT,
                    scale=(step,) * 3,
                    units=("um",) * 3,
                    translate=[float(p[0]) for p in place],
                    axis_labels=("z", "y", "x"),
                )
            layer = self.viewer.layers[PAINT]
            layer.mode, layer.selected_label, layer.brush_size = "paint", 1, 5
            self.viewer.layers.selection.active = layer
            self.say(
                f"paint {self.scan.value}: label 1 for the darkest material, 2 for the next, in one or a few planes"
            )

    def take_paint(self) -> None:
        """Save the painted planes beside the configuration and train on them."""
        import tifffile

        with self.guard():
            if PAINT not in self.viewer.layers or not self.viewer.layers[PAINT].data.any():
                raise ValueError("nothing is painted yet")
            painted = self.viewer.layers[PAINT].data
            planes = np.flatnonzero(painted.any(axis=(1, 2)))
            with written_whole(self.path.parent / PAINTED) as part:
                tifffile.imwrite(part, painted[planes], photometric="minisblack")
            count = int(painted.max())
            names = self.method.fields["names"].value if "names" in self.method.fields else ""
            if len([name for name in names.split(",") if name.strip()]) != count:
                names = ", ".join(f"material_{k + 1}" for k in range(count))
            with self.method.changed.blocked():
                self.method.method.value = "classifier"
                given = {"labels": PAINTED, "names": names, "scan": str(self.scan.value)}
                for key, value in {**given, "z": ", ".join(map(str, planes))}.items():
                    self.method.fields[key].value = value
            with self.denoise.changed.blocked():
                self.denoise.method.value = "none"
            self.look()

    # ---------------------------------------------------------------------------------------------- writing

    def accept(self) -> bool:
        """Write the settings."""
        with self.guard():
            changes = self.changes()
            update_config(self.path, changes)
            self.inform(
                f"wrote [segmentation] into {self.path.name}" if changes else f"{self.path.name} says so already"
            )
            return True
        return False


def plane_labels(config: Config, scan: str, z: int) -> tuple[Array, tuple[float, ...], dict[int, str], list[str]]:
    """Label one plane of a registered series as a run would: with thresholds or a forest of the whole series.

    Returns
    -------
    labels, thresholds, names of the labels, colours

    Raises
    ------
    ValueError
        The series cannot be divided as asked for.
    """
    from xct_pipeline.config import Registration
    from xct_pipeline.engine.resources import resources
    from xct_pipeline.registration.steps.stage import find_volume, reference_index
    from xct_pipeline.segmentation.steps import stage

    series = Series.open(config.store_path)
    store, settings, limits = series.store, config.segmentation or SegmentWatershed(), resources()
    names = series.along(layout.REGISTERED)
    reference = reference_index(config.registration or Registration(), names)
    image = series.registered()
    times = tuple(float(t) if np.isfinite(t) else None for t in np.asarray(image.coords["t"]))
    lost = tuple(k for k, name in enumerate(names) if name in series.problems)
    facts = stage.Facts(names, lost, reference, find_volume(store, names[reference]), times)
    chosen = stage.find_thresholds(settings, facts, store, limits)
    rows, columns = image.shape[2:]
    step = stage.labels_pass(config, settings, facts, chosen, store, limits, (1, rows, columns))
    t = names.index(scan)
    labels, _ = step.compute((slice(t, t + 1), slice(z, z + 1), slice(0, rows), slice(0, columns)))
    values = chosen.values if chosen is not None else ()
    return np.asarray(labels[0, 0]), values, stage.material_names(settings), settings.palette
