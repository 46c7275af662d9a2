"""The whole configuration of a run."""

from __future__ import annotations

import glob
import os
import re
from pathlib import Path

from pydantic import Field, NonNegativeInt

from xct_pipeline.config.acquisition import Acquisition
from xct_pipeline.config.correction import Correction
from xct_pipeline.config.electrochemistry import Electrochemistry
from xct_pipeline.config.reconstruction import Fourier, Reconstruction
from xct_pipeline.config.registration import Registration
from xct_pipeline.config.section import Section
from xct_pipeline.config.segmentation import Segmentation
from xct_pipeline.config.variation import Variation
from xct_pipeline.scan import ScanError


class Config(Section):
    """A run. `folder` is where the file lies; relative paths start there."""

    output: str
    acquisition: Acquisition
    correction: Correction = Correction()
    reconstruction: Reconstruction = Fourier()
    registration: Registration | None = None
    segmentation: Segmentation | None = None
    variation: Variation | None = None
    electrochemistry: Electrochemistry | None = None
    seed: NonNegativeInt = 0
    folder: Path = Field(default=Path("."), exclude=True)

    @property
    def store_path(self) -> Path:
        """Where the store is."""
        return self.resolve(self.output)

    def resolve(self, path: str) -> Path:
        """Return a path of the file as an absolute one."""
        return Path(os.path.normpath(self.folder.resolve() / Path(path).expanduser()))

    def expand(self, patterns: str | list[str]) -> list[Path]:
        """Return the files of names and globs, each glob's sorted naturally.

        Raises
        ------
        ScanError
            A pattern matches nothing.
        """
        files: list[Path] = []
        unmatched: list[str] = []
        for pattern in [patterns] if isinstance(patterns, str) else patterns:
            path = str(self.resolve(pattern))
            if not glob.has_magic(path):
                files.append(Path(path))
                continue
            found = sorted(glob.glob(path, recursive=True), key=natural)
            if not found:
                unmatched.append(f"{path}: no file matches this pattern")
            files += map(Path, found)
        if unmatched:
            raise ScanError("; ".join(unmatched))
        return files


def natural(text: str) -> list[tuple[int, int | str]]:
    """Return a key that sorts frame_2 before frame_10."""
    return [(0, int(part)) if part.isdigit() else (1, part) for part in re.split(r"(\d+)", text)]
