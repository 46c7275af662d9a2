"""A store in a bucket is the store on the disk; one that is half there cannot be read."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from command import xct

from xct_pipeline import open_volume
from xct_pipeline.store import upload
from xct_pipeline.store.files import StoreError
from xct_pipeline.store.store import Store

fsspec = pytest.importorskip("fsspec")
pytest.importorskip("s3fs")
moto_server = pytest.importorskip("moto.server")

PLACE = "s3://cells/store.zarr"


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    server = moto_server.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture(autouse=True)
def bucket(endpoint: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "a")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "b")
    files = fsspec.filesystem("s3", use_listings_cache=False)
    files.mkdir("cells")
    yield files
    if files.exists("cells"):
        files.rm("cells", recursive=True)


def objects(files: Any) -> dict[str, int]:
    return {name.removeprefix("cells/store.zarr/"): size for name, size in files.du("cells", total=False).items()}


@pytest.mark.slow
def test_what_is_read_there_is_what_is_read_here(
    small_series: Path, bucket: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ended = xct(capsys, "export", small_series, "--to", PLACE + "/")
    assert ended.code == 0, ended.err
    assert ended.out.startswith(f"{PLACE}/: wrote ")
    for arguments in ({"scan": "scan_10"}, {"scan": None}):
        there, here = open_volume(PLACE, **arguments), open_volume(small_series, **arguments)
        assert there.coords.equals(here.coords)
        assert np.array_equal(there[..., 10, :, :].values, here[..., 10, :, :].values, equal_nan=True)
    facts = xct(capsys, "info", PLACE, "--json")
    assert facts.json["order"][1] == "scan_2"
    bucket.get("cells/store.zarr", str(tmp_path / "store.zarr"), recursive=True)
    checked = xct(capsys, "verify", tmp_path / "store.zarr")
    assert checked.code == 0, checked.out
    assert not any("lock" in name or "lease" in name for name in objects(bucket))


@pytest.mark.slow
def test_a_second_time_only_what_changed_is_written(
    small_series_copy: Path, bucket: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    first = upload.upload_store(small_series_copy, PLACE)
    assert (first.kept, first.removed) == (0, 0)
    again = xct(capsys, "export", small_series_copy, "--to", PLACE)
    assert again.out == f"{PLACE}: nothing to write, {first.sent} were there already\n"
    bucket.rm("cells/store.zarr/report.html")
    Store(small_series_copy).forget("scan_3")
    changed = upload.upload_store(small_series_copy, PLACE)
    assert 0 < changed.sent < first.sent / 4
    assert changed.removed > 0
    assert {"report.html", "zarr.json"} <= set(objects(bucket))
    assert not any(name.startswith("scans/scan_3/") for name in objects(bucket))


@pytest.mark.slow
@pytest.mark.parametrize("after", [1, 5])
def test_an_interrupted_upload_cannot_be_read_and_is_resumed(
    after: int, small_series_copy: Path, bucket: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    upload.upload_store(small_series_copy, PLACE)
    file = small_series_copy / "zarr.json"
    root = json.loads(file.read_bytes())
    there = [name for name in objects(bucket) if name not in ("zarr.json", upload.MANIFEST)]
    bucket.rm([f"cells/store.zarr/{name}" for name in there])  # most of it must be written again
    put, calls = upload._Bucket._put, []

    def dying(self: Any, path: Path, files: Any) -> None:
        calls.append(files)
        if len(calls) > after:
            raise KeyboardInterrupt
        put(self, path, files)

    with monkeypatch.context() as patched:
        patched.setattr(upload._Bucket, "_put", dying)
        with pytest.raises(KeyboardInterrupt):
            upload.upload_store(small_series_copy, PLACE)
    with pytest.raises(StoreError, match="cannot be read"):
        open_volume(PLACE)
    resumed = upload.upload_store(small_series_copy, PLACE)
    assert resumed.kept >= after * upload.AT_ONCE - 1
    assert json.loads(bucket.cat("cells/store.zarr/zarr.json")) == root


def test_a_damaged_store_is_not_spread(small_series_copy: Path, bucket: Any) -> None:
    shard = next(file for file in small_series_copy.glob("scans/**/c/**/*") if file.is_file())
    data = bytearray(shard.read_bytes())
    data[len(data) // 2] ^= 1
    shard.write_bytes(data)
    with pytest.raises(StoreError, match=r"verify .* --repair"):
        upload.upload_store(small_series_copy, PLACE)
    assert objects(bucket) == {}


@pytest.mark.slow
def test_what_lies_there_already_is_kept(small_series: Path, bucket: Any) -> None:
    bucket.pipe("cells/store.zarr/thesis.txt", b"mine")
    with pytest.raises(StoreError, match=r"holds thesis\.txt, which no upload of xct wrote"):
        upload.upload_store(small_series, PLACE)
    bucket.pipe("cells/store.zarr2/thesis.txt", b"mine")
    bucket.rm("cells/store.zarr/thesis.txt")
    upload.upload_store(small_series, PLACE)
    assert bucket.cat("cells/store.zarr2/thesis.txt") == b"mine"


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("s3://nowhere/store.zarr", "bucket does not exist"),
        ("s3://cells", "give the name of the store"),
        ("https://example.org/store.zarr", "nothing can be written there"),
        ("folder/store.zarr", "nothing can be written there"),
        ("ftp://a/store.zarr", "nothing can be written there"),
    ],
)
def test_an_address_that_will_not_do_is_one_line(
    address: str, said: str, small_series: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ended = xct(capsys, "export", small_series, "--to", address)
    assert ended.code == 1
    assert ended.err.count("\n") == 1
    assert said in ended.err


def test_a_server_that_is_not_there_is_one_line(
    small_series: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{port}")
    fsspec.filesystem("s3").clear_instance_cache()
    for words in (("export", small_series, "--to", PLACE), ("info", PLACE)):
        ended = xct(capsys, *words)
        assert ended.code == 1
        assert ended.err.count("\n") == 1
        assert "cannot be" in ended.err


def test_a_choice_of_images_and_an_address_exclude_each_other(
    small_series: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ended = xct(capsys, "export", small_series, "--to", PLACE, "--image", "areal")
    assert ended.code == 1
    assert "leave out" in ended.err


def test_a_store_that_is_being_written_is_not_sent(small_series_copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with Store(small_series_copy).lock():
        ended = xct(capsys, "export", small_series_copy, "--to", PLACE)
    assert ended.code == 2
    assert "is in use by process" in ended.err
