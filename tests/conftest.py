"""Fixtures shared by all tests."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from hypothesis import settings

settings.register_profile("patient", deadline=None)  # which would measure what else the machine does
settings.load_profile("patient")
settings.register_profile("repeatable", derandomize=True, deadline=None)
if os.environ.get("CI"):
    settings.load_profile("repeatable")  # a check that lands changes must not depend on luck

LONGEST = (  # of those collected last; as the last file of a process one would leave the other idle for minutes
    *("test_imitated_device.py", "test_compiled.py", "test_rings.py", "test_rigid.py", "test_changes.py"),
    *("test_corruptions_property.py", "test_registration_volumes.py", "test_slurm.py"),
    *("test_report.py", "test_golden_bytes.py", "test_defects.py"),
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with files that take minutes."""
    items.sort(key=lambda item: item.path.name not in LONGEST)


@pytest.fixture(scope="session")
def data_folder() -> Path:
    """Measured data of other projects, kept outside the repository."""
    root = Path(__file__).resolve().parents[1]
    folder = Path(os.environ.get("XCT_TEST_DATA", root.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"no measured data at {folder} (set XCT_TEST_DATA)")
    return folder


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Keep previews of tests out of the user's cache."""
    os.environ["XCT_CACHE"] = str(tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="session")
def small_series(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The store of eleven small scans that ``xct run`` has finished, made once a session; not to be changed.

    Sessions that follow each other share it where ``XCT_TEST_SHARED`` names a folder that begins empty.
    """
    from filelock import FileLock
    from small_series import run_series

    shared = tmp_path_factory.getbasetemp()
    if "XCT_TEST_SHARED" in os.environ:
        shared = Path(os.environ["XCT_TEST_SHARED"])
        shared.mkdir(parents=True, exist_ok=True)
    elif "PYTEST_XDIST_WORKER" in os.environ:  # the processes of one run share it
        shared = shared.parent
    folder = shared / "small_series"
    with FileLock(shared / "small_series.lock"):
        if not (folder / "made").exists():
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            run_series(folder / "cell")
            (folder / "made").touch()
    return folder / "cell" / "store.zarr"


@pytest.fixture
def small_series_copy(small_series: Path, tmp_path: Path) -> Path:
    """A copy of that store, to be changed."""
    shutil.copytree(small_series.parent, tmp_path / "cell")
    return tmp_path / "cell" / "store.zarr"
