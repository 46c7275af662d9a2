"""Pictures to look at before believing: a slice of each scan, what registration did, several values of a setting."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from xct_pipeline.config import Config
from xct_pipeline.outputs import written_whole
from xct_pipeline.planning import preview as previewing
from xct_pipeline.planning.plan import STAGES, plan
from xct_pipeline.store import layout

if TYPE_CHECKING:
    from matplotlib.figure import Figure


Array = npt.NDArray[Any]


def middle_row(config: Config) -> int:
    """Return the row in the middle of what is reconstructed, in rows of the binned detector."""
    step = plan(config, until=STAGES[0]).good[0].passes[-1]
    return int(step.offset[0] + step.image.shape[0] // 2)


def preview_sheet(config: Config, z: int | None, scans: Sequence[str] | None, file: Path) -> tuple[str, ...]:
    """Draw one slice of each scan, on one grey scale with its unit; return the names of the scans drawn."""
    z = middle_row(config) if z is None else z
    slices = previewing.preview(config, z, scans)
    layout = plan(config, until=STAGES[0])
    unit = next(item.passes[-1].image.unit for item in layout.good)
    _save(_planes([f"{name}, row {z}" for name in slices], list(slices.values()), unit, 4, 4.2), file)
    return tuple(slices)


def registration_sheet(config: Config, z: int | None, scans: Sequence[str] | None, file: Path) -> tuple[str, ...]:
    """Draw each scan's difference from the reference before and after registration, in three planes, on one scale.

    Parameters
    ----------
    z : int or None
        Slice of the reference volume; the middle by default.

    Returns
    -------
    tuple of str
        Names of the scans drawn.

    Raises
    ------
    StoreError
        The store holds no registered series yet.
    """
    from xct_pipeline.store.files import StoreError
    from xct_pipeline.store.series import Series

    if not (config.store_path / layout.REGISTERED / "zarr.json").exists():
        raise StoreError(
            f"{config.store_path} holds no registered series: xct run --until registration, then preview again"
        )
    series = Series.open(config.store_path)
    volumes = series.registered()
    names = series.along(layout.REGISTERED)
    reference = series.scans[series.reference]
    chosen = [n for n in names if n != reference and n in series.volumes and (scans is None or n in scans)]
    if not chosen:
        raise StoreError(f"nothing to compare: the store's scans are {', '.join(names)}, the reference {reference}")
    fixed = volumes[names.index(reference)]
    z = fixed.sizes["z"] // 2 if z is None else z
    if not 0 <= z < fixed.sizes["z"]:
        raise ValueError(f"--z {z} lies outside the volume, which has {fixed.sizes['z']} slices")
    planes = ({"z": z}, {"y": fixed.sizes["y"] // 2}, {"x": fixed.sizes["x"] // 2})
    rows = []
    for name in chosen:
        before, after = series.volume(name), volumes[names.index(name)]
        rows.append([(moved[p] - fixed[p].values).values for moved in (before, after) for p in planes])
    limit = float(np.nanpercentile(np.abs(np.concatenate([d.ravel() for d in rows[0][:3]])), 99)) or 1.0
    figure, axes = _sheet(len(chosen), 6, size=2.6)
    shown = None
    for row, name, pictures in zip(axes, chosen, rows, strict=True):
        for k, (ax, picture) in enumerate(zip(row, pictures, strict=True)):
            shown = ax.imshow(picture, cmap="RdBu_r", vmin=-limit, vmax=limit)
            where = "xyz"[2 - k % 3] + f" = {next(iter(planes[k % 3].values()))}"
            ax.set_title(f"{'after' if k > 2 else 'before'}, {where}", fontsize=8)
        row[0].set_ylabel(f"{name} - {reference}", fontsize=8)
    figure.colorbar(shown, ax=axes, label=f"difference, {volumes.attrs['units']}", shrink=0.8)
    _save(figure, file)
    return tuple(chosen)


def sweep_sheet(config: Config, change: str, z: int | None, scan: str | None, file: Path) -> None:
    """Draw one slice with several values of one setting, on one grey scale; also as a TIFF stack that `view` opens.

    Parameters
    ----------
    change : str
        ``section.key=value,value``; values as TOML would have them, quotes may be left out.

    Raises
    ------
    ValueError
        A key or value that the configuration does not take.
    """
    key, separator, text = change.partition("=")
    if not separator or not text:
        raise ValueError(f"{change}: write KEY=VALUE,VALUE as in correction.stripe.snr=2,3,5")
    values = [_value(part) for part in text.split(",")]
    z = middle_row(config) if z is None else z
    layout = plan(config, until=STAGES[0])
    name = scan or layout.good[0].name
    image = next(item.passes[-1].image for item in layout.good)
    slices = [previewing.preview(with_value(config, key, value), z, [name])[name] for value in values]
    titles = [f"{key.rsplit('.', 1)[-1]} = {value}" for value in values]
    figure = _planes(titles, slices, image.unit, 5, 3.2)
    figure.suptitle(f"{name}, row {z}: {key}", fontsize=10)
    _save(figure, file)
    import tifffile

    about = {
        "key": key,
        "values": [str(value) for value in values],
        "scan": name,
        "row": z,
        "unit": image.unit,
        "pixel_um": image.voxel_um,
    }
    with written_whole(file.with_suffix(".tif")) as part:
        tifffile.imwrite(part, np.stack(slices), metadata={"axes": "QYX", "xct": about})


def _value(text: str) -> Any:
    import tomllib

    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text.strip()


def with_value(config: Config, key: str, value: object) -> Config:
    """Return a configuration with one setting changed, checked as the file would be.

    Raises
    ------
    ConfigError
        The key or the value does not exist.
    """
    from xct_pipeline.config.file import parse_config

    data = config.model_dump(mode="json", exclude_none=True)
    *parents, last = key.strip().split(".")
    table = data
    for part in parents:
        table = table.setdefault(part, {})
        if not isinstance(table, dict):
            raise ValueError(f"{key}: {part} is not a table of the configuration")
    table[last] = value
    return parse_config(data, folder=config.folder, source=f"{key} = {value}")


def contrast(values: Array) -> tuple[float, float]:
    """Return a grey scale that leaves out the most extreme half per cent."""
    finite = values[np.isfinite(values)]
    if not finite.size:
        return 0.0, 1.0
    low, high = np.percentile(finite, [0.5, 99.5])
    return float(low), float(high) if high > low else float(low) + 1.0


def _planes(titles: Sequence[str], planes: Sequence[Array], unit: str, columns: int, size: float) -> Any:
    """Draw planes side by side, at most `columns` in a row, on one grey scale that is shown; return the figure."""
    columns = min(columns, len(planes))
    figure, axes = _sheet(-(-len(planes) // columns), columns, size)
    low, high = contrast(np.concatenate([np.ravel(plane)[:: max(1, plane.size // 200_000)] for plane in planes]))
    shown = None
    for ax, title, plane in zip(axes.flat, titles, planes, strict=False):
        shown = ax.imshow(plane, cmap="gray", vmin=low, vmax=high)
        ax.set_title(title, fontsize=9)
    for ax in axes.flat[len(planes) :]:
        ax.set_visible(False)
    figure.colorbar(shown, ax=axes, label=f"attenuation, {unit}", shrink=0.8)
    return figure


def _sheet(rows: int, columns: int, size: float = 1.9) -> tuple[Any, Any]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(size * columns + 1, size * rows + 0.7), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False)
    for ax in axes.flat:
        ax.set_xticks([])
        ax.set_yticks([])
    return figure, axes


def _save(figure: Figure, file: Path) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(file, dpi=130)
