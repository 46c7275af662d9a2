"""What a path given to a command is, and what to type instead where the command takes something else."""

from __future__ import annotations

from pathlib import Path

_HDF5 = b"\x89HDF\r\n\x1a\n"
_TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")


def kind_of(path: Path) -> str:
    """Return scan, tiff, store, tiffs (a folder of images), folder, toml, other or missing, from its first bytes."""
    if path.is_dir():
        if (path / ".xct").is_dir():
            return "store"
        images = any(child.suffix.lower() in (".tif", ".tiff") for child in path.iterdir())
        return "tiffs" if images else "folder"
    if not path.is_file():
        return "missing" if not path.exists() else "other"
    with path.open("rb") as stream:
        start = stream.read(4096)
    if any(start[at : at + 8] == _HDF5 for at in (0, 512, 1024, 2048)):  # a file may begin with a block of its user
        return "scan"
    found = "tiff" if start.startswith(_TIFF) else None
    return found or ("toml" if path.suffix.lower() == ".toml" else "other")


def require_config(path: Path) -> None:
    """Refuse what is clearly no configuration, and say what to type.

    Raises
    ------
    ValueError
        A raw scan, an image, a store or a folder.
    """
    match kind_of(path):
        case "scan":
            raise ValueError(
                f"{path} is a raw scan, not a configuration: write one with xct init {path} -o run.toml, "
                "then xct run run.toml"
            )
        case "store":
            raise ValueError(
                f"{path} is a store, not a configuration: look at it with xct info {path} or xct view {path}, "
                "or run the configuration that wrote it"
            )
        case "tiff" | "tiffs":
            raise ValueError(_tiffs(path))
        case "folder":
            raise ValueError(f"{path} is a folder, not a configuration: name a file such as {path / 'run.toml'}")


def require_scan(path: Path) -> None:
    """Refuse what is clearly no raw scan, and say what to type.

    Raises
    ------
    ValueError
        A configuration, an image, a store or a folder.
    """
    match kind_of(path):
        case "tiff" | "tiffs":
            raise ValueError(_tiffs(path))
        case "store":
            raise ValueError(f"{path} is a store, not a raw scan: look at it with xct info {path}")
        case "folder":
            raise ValueError(f"{path} is a folder, not a raw scan: name the files in it, xct init {path / '*.nxs'}")
        case "toml":
            raise ValueError(f"{path} is a configuration, not a raw scan: xct check {path} reads it")


def _tiffs(path: Path) -> str:
    pattern = path / "*.tif" if path.is_dir() else path.with_name("*.tif")
    return (
        f"{path} holds TIFF images, which carry no angles: describe them in a configuration under [[acquisition.tiff]] "
        f'with name, projections = "{pattern}", flats, darks and angles; configs/tiff_stack.toml is an example'
    )
