"""What all static pictures share: canvas, colours, scales, units; pictures leave as data URIs."""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from xct_pipeline.report.contents import Array
from xct_pipeline.variation.closures import CLOSURES

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


BLUE, ORANGE, GREEN, VERMILION, PURPLE, GREY = "#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#5b6570"
PALETTE = (BLUE, VERMILION, GREEN, ORANGE, PURPLE, "#56B4E9", "#000000", "#F0E442")
"""Okabe and Ito's colours, told apart by every kind of colour vision."""
DIVERGING = "RdBu_r"
NOTHING = "#e4e6e8"
INK = "#20262d"
SMALL = 7.5


def canvas(width: float, height: float) -> Figure:
    """Return a figure; sizes in inches, drawn at 100 CSS pixels per inch."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), facecolor="white")


def axes_at(figure: Figure, left: float, top: float, width: float, height: float) -> Axes:
    """Return new axes, placed in inches from the upper left corner: a layout takes longer to find than to draw."""
    wide, tall = figure.get_size_inches()
    return figure.add_axes((left / wide, 1 - (top + height) / tall, width / wide, height / tall))


def data_uri(figure: Figure, dpi: int = 170) -> str:
    """Return a drawn figure as a WebP in a data URI: grains of noise make PNG several times as large.

    WebP's default effort (4) takes twice as long for a picture a twentieth smaller.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from PIL import Image

    figure.set_dpi(dpi)
    drawn = FigureCanvasAgg(figure)
    drawn.draw()
    buffer = io.BytesIO()
    Image.fromarray(np.asarray(drawn.buffer_rgba())).save(buffer, format="WEBP", quality=84, method=2)
    return _uri(buffer.getvalue(), "webp")


def grey_uri(plane: Array, tone: tuple[float, float, float], quality: int = 82) -> str:
    """Return a plane as a grey JPEG in a data URI; row 0 is at the bottom. `tone` is from `contrast`."""
    from PIL import Image

    low, high, power = tone
    values = np.nan_to_num((plane - low) / (high - low), nan=0.0).clip(0, 1) ** power * 255
    buffer = io.BytesIO()
    Image.fromarray(values[::-1].round().astype(np.uint8)).save(buffer, format="JPEG", quality=quality)
    return _uri(buffer.getvalue(), "jpeg")


def palette_uri(plane: Array, colors: dict[int, tuple[int, int, int, int]]) -> str:
    """Return a plane of labels as a PNG with a palette; values without a colour are transparent."""
    from PIL import Image

    image = Image.fromarray(np.ascontiguousarray(plane[::-1].astype(np.uint8)))
    table, alpha = np.zeros((256, 3), np.uint8), np.zeros(256, np.uint8)
    for value, rgba in colors.items():
        table[value], alpha[value] = rgba[:3], rgba[3]
    image.putpalette(table.tobytes())
    buffer = io.BytesIO()
    image.save(buffer, format="PNG", optimize=True, transparency=alpha.tobytes())
    return _uri(buffer.getvalue(), "png")


def _uri(data: bytes, kind: str) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(data).decode()}"


def plain_axes(ax: Axes, title: str = "", frame: bool = True) -> Any:
    """Leave ticks out; keep a thin frame."""
    ax.set_xticks([])
    ax.set_yticks([])
    for spine in ax.spines.values():
        spine.set_linewidth(0.6)
        spine.set_color("#9aa3ab")
        spine.set_visible(frame)
    if title:
        ax.set_title(title, fontsize=8.5, color=INK)
    return ax


def curve_axes(ax: Axes, xlabel: str, ylabel: str) -> Any:
    """Two spines, a light grid, small labels."""
    ax.spines[["top", "right"]].set_visible(False)
    ax.grid(color="#e6e9ec", linewidth=0.6)
    ax.set_axisbelow(True)
    ax.tick_params(labelsize=SMALL, color="#9aa3ab")
    ax.set_xlabel(xlabel, fontsize=8.5)
    ax.set_ylabel(ylabel, fontsize=8.5)
    return ax


def colour_bar(figure: Figure, shown: Any, place: tuple[float, float, float, float], label: str, **more: Any) -> Any:
    """Draw a labelled colour bar; `place` is left, top, width and height as of `axes_at`."""
    lying = "horizontal" if place[2] > place[3] else "vertical"
    bar = figure.colorbar(shown, cax=axes_at(figure, *place), orientation=lying, **more)
    bar.set_label(label, fontsize=8.5)
    bar.ax.tick_params(labelsize=SMALL)
    bar.outline.set_linewidth(0.5)
    return bar


def diverging(limit: float) -> dict[str, Any]:
    """Return imshow's keywords of a signed quantity."""
    import matplotlib

    return {"cmap": matplotlib.colormaps[DIVERGING].with_extremes(bad=NOTHING), "vmin": -limit, "vmax": limit}


def scale_bar(ax: Axes, width: float, unit: str, color: str = "white") -> None:
    """Draw a scale bar at the lower left of a picture `width` wide, in axes' fractions."""
    length = bar_length(width)
    ax.plot(
        [0.05, 0.05 + length / width],
        [0.055, 0.055],
        color=color,
        linewidth=2.4,
        transform=ax.transAxes,
        solid_capstyle="butt",
    )
    ax.text(0.05, 0.075, length_text(length, unit), color=color, fontsize=SMALL, transform=ax.transAxes, va="bottom")


def bar_length(width: float) -> float:
    """Return a round length of about a quarter of `width`."""
    return nice(width / 4, below=True)


def length_text(length: float, unit: str) -> str:
    """Return a length as people write it."""
    return f"{length / 1000:g} mm" if unit == "µm" and length >= 1000 else f"{length:g} {unit}{'s' * (unit == 'voxel')}"


def nice(value: float, below: bool = False) -> float:
    """Return the next round number at or above (or at or below) a positive one."""
    if not math.isfinite(value) or value <= 0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(value))
    steps = [step * power for step in ((1, 2, 2.5, 5, 10) if below else (1, 1.5, 2, 2.5, 3, 4, 5, 6, 8, 10))]
    return (
        max(s for s in steps if s <= value * (1 + 1e-9)) if below else min(s for s in steps if s >= value * (1 - 1e-9))
    )


def contrast(values: Array) -> tuple[float, float, float]:
    """Return a grey scale: low, high (without the most extreme values) and the power that grey rises with.

    The power is 1/2 where nearly everything is dark beside something heavy, as lithium or sodium beside a ceramic.
    """
    finite = values[np.isfinite(values)]
    if not finite.size:
        return 0.0, 1.0, 1.0
    low, upper, high = (float(v) for v in np.percentile(finite, [2, 75, 99.5]))
    if high <= low:
        return low, low + 1.0, 1.0
    return low, high, 0.5 if upper - low < 0.3 * (high - low) else 1.0


def grey(tone: tuple[float, float, float]) -> dict[str, Any]:
    """Return imshow's keywords of a grey picture."""
    from matplotlib.colors import PowerNorm

    return {"cmap": "gray", "norm": PowerNorm(tone[2], tone[0], tone[1], clip=True)}


def symmetric(values: Sequence[Array], quantile: float = 99.0) -> float:
    """Return a round limit of a diverging scale that holds all but the most extreme values of several pictures."""
    sizes = [np.abs(v[np.isfinite(v)]) for v in values]
    tops = [float(np.percentile(size, quantile)) for size in sizes if size.size]
    return nice(max(tops, default=1.0))


def time_unit(seconds: Sequence[float]) -> tuple[float, str]:
    """Return what to divide seconds by, and the unit that gives."""
    longest = max((abs(t) for t in seconds if math.isfinite(t)), default=0.0)
    return (3600.0, "h") if longest >= 7200 else (60.0, "min") if longest >= 300 else (1.0, "s")


def shown_scans(count: int, most: int) -> list[int]:
    """Return at most `most` positions, evenly spread, the first and last among them."""
    if count <= most:
        return list(range(count))
    return sorted({round(k) for k in np.linspace(0, count - 1, most)})


def hue(position: int, count: int) -> str:
    """Return the colour of a scan in a series: dark to bright with time."""
    import matplotlib
    from matplotlib.colors import to_hex

    return str(to_hex(matplotlib.colormaps["viridis"](0.05 + 0.8 * position / max(count - 1, 1))))


def show(ax: Axes, plane: Array, **style: Any) -> Any:
    """Draw a plane with row 0 at the bottom and its voxels seen."""
    return ax.imshow(plane, origin="lower", interpolation="none", **style)


def plain_unit(unit: str) -> str:
    """Return a unit with raised digits."""
    return unit.replace("cm3", "cm³").replace("cm2", "cm²")


def closure_words(closure: object) -> str:
    """Return what a closure of the configuration assumes."""
    name = str(closure.get("method", "") if isinstance(closure, dict) else closure)
    return CLOSURES[name].words if name in CLOSURES else name
