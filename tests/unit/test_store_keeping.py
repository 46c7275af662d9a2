"""What a store will not do: take a folder of others, delete outside itself, lose a scan, read what is not there."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import zarr
from hypothesis import given
from hypothesis import strategies as st

from xct_pipeline.boxes import Region, size_of
from xct_pipeline.engine.blocks import BlockOp, Pass
from xct_pipeline.engine.execution import load_estimate, run_passes, save_estimate
from xct_pipeline.engine.resources import Resources
from xct_pipeline.store import ownership, provenance, seal
from xct_pipeline.store.files import RefusedError, StoreError, marker_file, read_attributes, write_group
from xct_pipeline.store.image import SHARD_BYTES, Image, shard_thickness
from xct_pipeline.store.opened import open_image
from xct_pipeline.store.store import Store
from xct_pipeline.store.stored_array import StoredArray
from xct_pipeline.store.verify import repair, verify

LIMITS = Resources(2, 4 * 10**9)
SCANS = {"a": ["../a.nxs"], "b": ["../b.nxs"]}


class Numbers:
    def __init__(self, seed: int) -> None:
        self.seed = seed

    def read(self, region: Region) -> np.ndarray:
        shape = [part.stop - part.start for part in region]
        planes = np.arange(region[0].start, region[0].stop, dtype=np.float32)
        return np.full(shape, self.seed, np.float32) + planes[:, None, None]

    def nbytes(self, region: Region) -> int:
        return 4 * size_of(region)


def step(path: str = "scans/a/volume", seed: int = 1) -> Pass:
    image = Image(path, ("z", "y", "x"), (40, 24, 24), "float32", "1/cm", 16)
    same = BlockOp("same", 1, lambda block, before, after: block)
    return Pass(image, Numbers(seed), (same,), (16, 24, 24), (0, 0, 0), {"seed": seed})


@pytest.fixture
def store(tmp_path: Path) -> Store:
    made = Store(tmp_path / "s.zarr")
    made.claim(SCANS)
    run_passes(made, [step(), step("scans/b/volume", 2)], LIMITS)
    return made


def others(folder: Path, kind: str) -> None:
    """Put into a folder what somebody else may have there."""
    folder.mkdir()
    if kind == "zarr group":
        zarr.create_group(str(folder), attributes={"mine": 1})
        zarr.create_array(str(folder / "scans/scan/volume"), shape=(4,), chunks=(2,), dtype="f4")
    elif kind == "group that calls itself xct":
        write_group(folder, {"xct": {"scans": {"a": ["../a.nxs"]}}})
    elif kind == "photos":
        (folder / "cat.jpg").write_bytes(b"cat")
    elif kind == "hidden":
        (folder / ".DS_Store").write_bytes(b"x")
    elif kind == "state of others":
        (folder / ".xct").mkdir()
        (folder / ".xct" / "theirs.db").write_bytes(b"x")
    elif kind == "state beside data":
        (folder / ".xct").mkdir()
        (folder / "thesis.tex").write_text("x")


def tree(folder: Path) -> dict[str, bytes]:
    return {str(f.relative_to(folder)): f.read_bytes() for f in folder.rglob("*") if f.is_file()}


KINDS = ("zarr group", "group that calls itself xct", "photos", "hidden", "state of others", "state beside data")


@pytest.mark.parametrize("kind", KINDS)
def test_a_folder_that_is_not_ours_is_refused_and_left_alone(tmp_path, kind):
    others(tmp_path / "theirs", kind)
    before = tree(tmp_path)
    for touch in (
        lambda s: s.claim(SCANS),
        lambda s: s.prepare(step().image),
        lambda s: ownership.remove(s.path, "scans"),
    ):
        with pytest.raises(RefusedError, match="not a store of xct"):
            touch(Store(tmp_path / "theirs"))
    assert not Store(tmp_path / "theirs").exists()
    assert tree(tmp_path) == before


@pytest.mark.parametrize("path", ["../victim", "scans/../../victim", ".", "", "link/victim", "/tmp"])
def test_nothing_outside_a_store_is_deleted_or_written(store, path):
    outside = store.path.parent / "victim"
    outside.mkdir()
    (outside / "keep").touch()
    (store.path / "link").symlink_to(store.path.parent)
    with pytest.raises(RefusedError, match=r"out of the store|is a link"):
        ownership.remove(store.path, path)
    with pytest.raises((RefusedError, ValueError), match=r"out of the store|no path inside a store"):
        store.prepare(step(path).image)
    with pytest.raises(RefusedError, match="is a link"):
        ownership.remove(store.path, "link")
    assert (outside / "keep").exists()


def test_a_store_of_an_earlier_version_opens_and_is_continued(store):
    """Without mark, seals and digests, as the version before wrote it."""
    (store.path / ".xct/store.json").unlink()
    for file in store.path.rglob("*.json"):
        document = json.loads(file.read_bytes())
        inner = document.get("attributes", {}).get("xct", document)
        for key in ("seal", "arrays", "files"):
            inner.pop(key, None)
        if "identity" in inner:
            del inner["identity"]["layout"]
        file.write_text(json.dumps(document))
    assert Store(store.path).exists()
    assert float(open_image(store.path / "scans/a/volume")[0, 0, 0]) == 1.0
    store.claim(SCANS)
    assert (store.path / ".xct/store.json").exists()
    assert run_passes(store, [step()], LIMITS)[0].computed == 3
    assert not verify(store).problems


def test_a_scan_that_is_found_no_more_is_named(store):
    with pytest.raises(RefusedError, match=r"b is a scan of .* finds it no more \(it was \.\./b\.nxs\).*xct forget"):
        store.claim({"a": SCANS["a"]})
    store.claim({"a": SCANS["a"]}, ["b"])
    assert list(store.attributes()["scans"]) == ["a"]
    store.claim(SCANS)  # and back again
    store.forget("b")
    assert not (store.path / "scans/b").exists()
    assert list(store.attributes()["scans"]) == ["a"]
    store.claim({"a": SCANS["a"]})
    with pytest.raises(StoreError, match="has no scan c; it has: a"):
        store.forget("c")


def test_what_is_not_computed_is_an_error_and_never_fill_values(store):
    file = store.path / "scans/a/volume/0/c/1/0/0"
    array = StoredArray(file.parents[3])
    file.unlink()
    np.testing.assert_array_equal(array[0], np.full((24, 24), 1))
    for index in (20, slice(None), (slice(10, 20), 3), (..., 0), (-20, 0, 0)):
        with pytest.raises(StoreError, match=r"c/1/0/0: damaged on the disk \(it is missing\)"):
            array[index]
    marker_file(store.path, "scans/a/volume", (1, 0, 0)).unlink()
    with pytest.raises(StoreError, match="is not computed; xct run computes it"):
        array[20]
    with store.lock(), pytest.raises(StoreError, match=rf"is being computed by process {os.getpid()}"):
        array[20]


def test_readers_never_see_half_of_a_replaced_image(store):
    before = StoredArray(store.path / "scans/a/volume/0")
    seen = []

    class Watched(Numbers):
        def read(self, region: Region) -> np.ndarray:
            try:
                seen.append(before[...])
            except StoreError as error:
                seen.append(str(error))
            return super().read(region)

    changed = step(seed=7)
    run_passes(store, [Pass(changed.image, Watched(7), changed.ops, (16, 24, 24), (0, 0, 0), {"seed": 7})], LIMITS)
    assert len(seen) == 3
    assert all("is not computed" in text for text in seen)
    assert float(before[0, 0, 0]) == 7


@pytest.mark.parametrize("to", ["scans/a/volume/0/c/1/0/0", "scans/b/volume/0/c/0/0/0"])
def test_a_valid_shard_copied_over_another_is_found(store, to):
    shutil.copyfile(store.path / "scans/a/volume/0/c/0/0/0", store.path / to)
    with pytest.raises(StoreError, match=r"its checksum is another|bytes instead of"):
        open_image(store.path / to.split("/0/c")[0]).compute()
    assert to in {problem.place for problem in verify(store).problems}
    results = run_passes(store, [step(), step("scans/b/volume", 2)], LIMITS)
    assert [result.computed for result in results] == ([1, 0] if "/a/" in to else [0, 1])
    assert not verify(store).problems


def test_a_shard_with_the_marker_of_another_store_is_found(store, tmp_path):
    """Both are whole and belong to that place, so it is what the image was made of that tells."""
    other = Store(tmp_path / "other.zarr")
    other.claim(SCANS)
    run_passes(other, [step(seed=9)], LIMITS)
    shard, marker = "scans/a/volume/0/c/1/0/0", marker_file(Path(), "scans/a/volume", (1, 0, 0))
    for place in (shard, marker):
        shutil.copy2(other.path / place, store.path / place)
    array = StoredArray(store.path / "scans/a/volume/0")
    assert array[0, 0, 0] == 1
    with pytest.raises(StoreError, match="written for another image"):
        array[20]
    assert [problem.place for problem in verify(store).problems] == [str(marker)]
    run_passes(store, [step()], LIMITS)
    assert array[20, 0, 0] == 21


def test_a_copied_store_is_digested_once(store, tmp_path):
    shutil.copytree(store.path, tmp_path / "copy.zarr", copy_function=shutil.copyfile)  # other times
    copy = Store(tmp_path / "copy.zarr")
    assert run_passes(copy, [step()], LIMITS)[0].reused == 3
    marker = json.loads(marker_file(copy.path, "scans/a/volume", (0, 0, 0)).read_bytes())
    assert marker["files"][0][1] == (copy.path / "scans/a/volume/0/c/0/0/0").stat().st_mtime_ns


METADATA = ("scans/a/volume/0/zarr.json", "scans/a/volume/zarr.json", "scans/zarr.json", "zarr.json", ".xct/store.json")


@pytest.mark.parametrize("how", ["deleted", "emptied", "flipped", "list"])
@pytest.mark.parametrize("place", [*METADATA, ".xct/markers/scans/a/volume.pass.json"])
def test_ruined_metadata_are_named_and_written_anew_by_the_next_run(store, place, how):
    file, values = store.path / place, open_image(store.path / "scans/a/volume").values
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 4
    ruined = {"emptied": b"", "flipped": bytes(data), "list": b"[]"}
    file.unlink() if how == "deleted" else file.write_bytes(ruined[how])
    if place in METADATA or how != "deleted":  # without what is noted of it an image is only not vouched for
        assert place in {problem.place for problem in verify(store).problems}
    store.claim(SCANS)
    results = run_passes(store, [step(), step("scans/b/volume", 2)], LIMITS)
    assert [result.computed for result in results] == [0, 0]
    assert not verify(store).problems
    np.testing.assert_array_equal(open_image(store.path / "scans/a/volume").values, values)


def test_repair_removes_what_is_wrong_and_no_more(store):
    (store.path / "scans/a/volume/0/c/0/0/.0.xyz.partial").touch()
    (store.path / "scans/a/volume/0/c/9").mkdir()
    (store.path / "scans/a/volume/0/c/9/0").write_bytes(b"x")
    (store.path / "notes.txt").write_text("mine")
    marker_file(store.path, "scans/b/volume", (2, 0, 0)).write_text("[]")
    problems = verify(store).problems
    assert len(problems) == 3
    assert repair(store, problems) == []
    assert (store.path / "notes.txt").exists()
    assert [r.computed for r in run_passes(store, [step(), step("scans/b/volume", 2)], LIMITS)] == [0, 1]
    assert not verify(store).problems


def test_a_killed_write_is_cleaned_away_by_the_next_run(store):
    left = [
        store.path / p for p in (".zarr.json.abc12345", ".xct/.store.json.x_.partial", "scans/a/volume/0/zarr.partial")
    ]
    for file in left:
        file.touch()
    store.claim(SCANS)
    assert not any(file.exists() for file in left)


def test_damaged_estimates_are_no_estimates(store):
    save_estimate(store, "a/center", {"k": 1}, {"v": np.arange(300)})
    file = store.state / "estimates" / "a" / "center.npz"
    good = file.read_bytes()
    for k in range(0, len(good), 97):
        file.write_bytes(good[:k] + bytes([good[k] ^ 1]) + good[k + 1 :])
        assert load_estimate(store, "a/center", {"k": 1}) is None
    file.write_bytes(good)
    np.testing.assert_array_equal(np.load(file)["v"], np.arange(300))


@given(st.tuples(*[st.integers(1, 5000)] * 3))
def test_thickness_follows_from_the_shape_and_bounds_the_shard(shape):
    thickness = shard_thickness(shape)
    assert thickness in (16, 32, 64)
    assert thickness == 16 or 4 * thickness * shape[1] * shape[2] <= SHARD_BYTES


@given(
    st.dictionaries(
        st.text(), st.recursive(st.none() | st.floats(allow_nan=False) | st.text(), st.lists, max_leaves=5)
    ),
    st.data(),
)
def test_a_sealed_document_comes_back_and_any_other_byte_is_an_error(document, data):
    document.pop(seal.KEY, None)
    sealed = seal.dumps(document, "a/b.json")
    assert seal.loads(sealed, "a/b.json") == document
    k, bit = data.draw(st.integers(0, len(sealed) - 1)), data.draw(st.integers(0, 7))
    with pytest.raises(seal.SealError):
        seal.loads(sealed[:k] + bytes([sealed[k] ^ 1 << bit]) + sealed[k + 1 :], "a/b.json")
    with pytest.raises(seal.SealError, match=r"belongs to a/b\.json"):
        seal.loads(sealed, "a/c.json")


@pytest.mark.parametrize("size", [10, 300_000, 5_000_000])
def test_a_changed_raw_file_is_another_input(tmp_path, size):
    file = tmp_path / "a.nxs"
    data = np.random.default_rng(0).bytes(size)
    file.write_bytes(data)
    status = file.stat()
    before = provenance.file_identity([file])
    for k in (0, size // 2 if size < 10**6 and size <= provenance.WHOLE else 5, size - 1):
        file.write_bytes(data[:k] + bytes([data[k] ^ 1]) + data[k + 1 :])
        os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))
        assert provenance.file_identity([file]) != before
    file.write_bytes(data)
    os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert provenance.file_identity([file]) == before
    os.utime(file, ns=(1, 1))
    assert provenance.file_identity([file]) != before


def test_deep_verification_finds_what_samples_do_not(store):
    raw = store.path.parent / "a.nxs"
    data = bytearray(np.random.default_rng(0).bytes(2_000_000))
    raw.write_bytes(data)
    status = raw.stat()
    assert not verify(store, deep=True).problems
    data[200_001] ^= 1  # between the samples
    raw.write_bytes(data)
    os.utime(raw, ns=(status.st_atime_ns, status.st_mtime_ns))
    (problem,) = verify(store, deep=True).problems
    assert str(problem).startswith("../a.nxs: its content changed")


def test_attributes_hold_no_seal(store):
    assert "seal" not in read_attributes(store.path / "scans/a/volume")["xct"]
    assert "seal" not in store.attributes()
