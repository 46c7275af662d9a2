"""The whole configuration of a run."""

from __future__ import annotations

import glob
import os
from pathlib import Path

from natsort import natsorted
from pydantic import Field, NonNegativeInt, model_validator

from xct_pipeline.config.acquisition import Acquisition
from xct_pipeline.config.correction import Correction
from xct_pipeline.config.electrochemistry import Electrochemistry
from xct_pipeline.config.experiment import Experiment, Report
from xct_pipeline.config.reconstruction import Fourier, Reconstruction
from xct_pipeline.config.registration import Registration
from xct_pipeline.config.section import Section
from xct_pipeline.config.segmentation import Segmentation
from xct_pipeline.config.store import StoreSettings
from xct_pipeline.config.variation import Variation
from xct_pipeline.inputs import matching
from xct_pipeline.scan import ScanError


class Config(Section):
    """A run. `folder` is where the file lies; relative paths start there."""

    output: str
    """The store that is written."""
    acquisition: Acquisition
    """The raw scans."""
    correction: Correction = Correction()
    """From counts to line integrals."""
    reconstruction: Reconstruction = Fourier()
    """From sinograms to attenuation."""
    registration: Registration | None = None
    """All scans in one frame."""
    segmentation: Segmentation | None = None
    """Labels."""
    variation: Variation | None = None
    """Changes of mass."""
    electrochemistry: Electrochemistry | None = None
    """The log of the cycler."""
    store: StoreSettings = StoreSettings()
    """How images are kept on the disk."""
    experiment: Experiment = Experiment()
    """What the experiment was, in words."""
    report: Report = Report()
    """The report."""
    seed: NonNegativeInt = 0
    """Of every random draw."""
    folder: Path = Field(default=Path("."), exclude=True)

    @model_validator(mode="after")
    def _check(self) -> Config:
        if not self.output.strip():
            raise ValueError('output is empty: name the folder of the results, "store.zarr"')
        scheme, mark, _ = self.output.partition("://")
        if mark and scheme.isalnum():
            raise ValueError(
                f"output = {self.output!r}: a run writes into a folder of a file system, not to {scheme}://; write it "
                "here, then copy it there (aws s3 sync, rclone): it can be read from there"
            )
        try:
            self.resolve(self.output).resolve()
        except (RuntimeError, OSError) as error:  # of a circle of links; which of them depends on the version of Python
            raise ValueError(f"output = {self.output!r}: no folder can be there ({error})") from None
        return self

    @property
    def store_path(self) -> Path:
        """Where the store is."""
        return self.resolve(self.output)

    def resolve(self, path: str) -> Path:
        """Return a path of the file as an absolute one.

        Raises
        ------
        ScanError
            It begins with the home of a user that does not exist, or holds a character that no path may.
        """
        if "\0" in path:
            raise ScanError(f"{path!r}: a path cannot hold a zero character")
        try:
            return Path(os.path.normpath(self.folder.resolve() / Path(path).expanduser()))
        except RuntimeError as error:
            raise ScanError(f"{path}: there is no such user, or no home folder ({error})") from None

    def expand(self, patterns: str | list[str]) -> list[Path]:
        """Return the files of names and globs, each glob's sorted naturally.

        Raises
        ------
        ScanError
            A pattern matches nothing, or cannot be a path.
        """
        files: list[Path] = []
        unmatched: list[str] = []
        for pattern in [patterns] if isinstance(patterns, str) else patterns:
            path = self.resolve(pattern)
            if not glob.has_magic(pattern) or os.path.lexists(path):  # a file may be called so
                files.append(path)
                continue
            folder = str(self.folder.resolve())
            below = os.path.join(glob.escape(folder), Path(pattern).expanduser())  # what it lies in is no pattern
            try:
                found = natsorted(map(os.path.normpath, matching(below)))
            except ValueError as error:
                raise ScanError(str(error)) from None
            if not found:
                unmatched.append(f"{path}: no file matches this pattern")
            files += map(Path, found)
        if unmatched:
            raise ScanError("; ".join(unmatched))
        return files
