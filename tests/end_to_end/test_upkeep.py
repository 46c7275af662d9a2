"""The commands that look after a store that a run wrote, and scans that come and go."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from command import shards, write_config, xct


def test_verify_finds_repairs_and_the_next_run_computes_exactly_that(capsys, done, finished):
    store = done / "store.zarr"
    ended = xct(capsys, "verify", store, "--deep")
    assert ended.code == 0, ended.out
    assert "all as written" in ended.out
    shard = store / "scans/scan_01/volume/0/c/1/0/0"
    data = bytearray(shard.read_bytes())
    data[1000] ^= 1
    shard.write_bytes(data)
    (store / "tables/README.json").write_text("[]")
    ended = xct(capsys, "verify", store, "--json")
    assert ended.code == 1
    places = {problem["place"] for problem in ended.json["problems"]}
    assert places == {"scans/scan_01/volume/0/c/1/0/0", "tables/README.json"}
    assert xct(capsys, "verify", store, "--repair").code == 0
    facts = xct(capsys, "run", done / "run.toml", "--json").json
    computed = {name: image["computed"] for scan in facts["scans"] for name, image in scan["images"].items()}
    assert computed == {"scans/scan_00/volume": 0, "scans/scan_01/volume": 1}
    assert shards(store) == shards(finished / "store.zarr")
    assert xct(capsys, "verify", store).code == 0


def test_a_whole_image_of_another_store_is_found_and_computed_anew(capsys, done, finished):
    """With its markers and what is noted of it: only the record of the last run tells that it is not its own."""
    store, other, image = done / "store.zarr", done / "other.zarr", "scans/scan_01/volume"
    config = write_config(done, {"reconstruction": 'center = "auto"\nfilter = "hann"'}, output="other.zarr")
    assert xct(capsys, "run", config).code == 0
    for place in (image, f".xct/markers/{image}"):
        shutil.rmtree(store / place)
        shutil.copytree(other / place, store / place)
    note = f".xct/markers/{image}.pass.json"
    shutil.copy2(other / note, store / note)
    assert [problem["place"] for problem in xct(capsys, "verify", store, "--json").json["problems"]] == [note]
    assert xct(capsys, "verify", store, "--repair").code == 0
    assert xct(capsys, "run", write_config(done)).code == 0
    assert shards(store) == shards(finished / "store.zarr")
    assert xct(capsys, "verify", store).code == 0


@pytest.mark.slow
def test_every_file_that_is_removed_or_ruined_is_made_again(capsys, done, finished):
    """One after the other: groups, arrays, markers, tables, notes; the same run makes the store whole."""
    store = done / "store.zarr"
    files = [f for f in store.rglob("*") if f.is_file() and f.suffix in (".json", ".csv")]
    places = sorted(str(f.relative_to(store)) for f in files if f.name != "lock.json")
    kinds = {(Path(place).name, len(Path(place).parts)): place for place in places}
    for place in kinds.values():
        for ruined in (False, True):
            if not (store / place).exists() or (place == ".xct/store.json" and not ruined):  # unmarked, it is refused
                continue
            (store / place).write_bytes(b"\x00{[") if ruined else (store / place).unlink()
            xct(capsys, "verify", store, "--repair")
            assert xct(capsys, "run", done / "run.toml").code == 0, place
            ended = xct(capsys, "verify", store)
            assert ended.code == 0, (place, ended.out)
    assert shards(store) == shards(finished / "store.zarr")


def test_a_lost_scan_is_an_error_until_it_is_excluded_or_forgotten(capsys, done):
    raw, store = done / "scan_01.nxs", done / "store.zarr"
    raw.rename(done / "elsewhere.nxs")
    ended = xct(capsys, "run", done / "run.toml")
    assert ended.code == 2
    assert "scan_01 is a scan of" in ended.err
    assert (store / "scans/scan_01/volume/0/c/0/0/0").exists()
    write_config(done, {"acquisition": 'exclude = ["scan_01"]'})
    assert xct(capsys, "run", done / "run.toml").code == 0
    assert "scan_01" not in xct(capsys, "info", store, "--json").json["scans"]
    write_config(done)
    assert xct(capsys, "run", done / "run.toml").code == 2
    assert xct(capsys, "forget", store, "scan_09").code == 1
    assert xct(capsys, "forget", store, "scan_01").code == 0
    assert not (store / "scans/scan_01").exists()
    assert xct(capsys, "run", done / "run.toml").code == 0
    assert xct(capsys, "verify", store).code == 0


def test_a_name_that_excludes_nothing_is_told_and_excluding_all_is_an_error(capsys, done):
    write_config(done, {"acquisition": 'exclude = ["scan_77"]'})
    ended = xct(capsys, "run", done / "run.toml")
    assert ended.code == 0
    assert "scan_77, which is neither found nor in the store" in ended.err
    write_config(done, {"acquisition": 'exclude = ["scan_00", "scan_01"]'})
    ended = xct(capsys, "run", done / "run.toml")
    assert ended.code == 1
    assert "leaves out every scan" in ended.err


def test_a_folder_of_others_is_refused(capsys, work):
    (work / "store.zarr").mkdir()
    (work / "store.zarr" / "zarr.json").write_text('{"zarr_format": 3, "node_type": "group", "attributes": {"a": 1}}')
    shutil.copytree(work / "store.zarr", work / "before")
    for command in (("run", work / "run.toml"), ("check", work / "run.toml")):
        assert xct(capsys, *command).code == 2
    for command in (("verify", work / "store.zarr"), ("forget", work / "store.zarr", "scan_00")):
        assert xct(capsys, *command).code == 1
    assert [f.name for f in (work / "store.zarr").iterdir()] == ["zarr.json"]
