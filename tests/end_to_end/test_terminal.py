"""What a terminal sees: results on stdout alone, logs and progress on stderr, what a thing is and what to type."""

from __future__ import annotations

import json
import os
import pty
import re
import shutil
import subprocess

import pytest
from command import executable, read_terminal, write_config, xct
from test_transcripts import typed

from xct_pipeline.inputs import clean


def under_pty(*arguments: object, **env: str) -> tuple[int, str, str]:
    """Run a command whose stderr is a terminal and whose stdout is a pipe; return exit code and both."""
    leader, follower = pty.openpty()
    process = subprocess.Popen(
        [*executable(), *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=follower,
        stdin=follower,
        env={**os.environ, "COLUMNS": "100", "TERM": "xterm", **env},
    )
    os.close(follower)
    shown = read_terminal(leader)
    out, _ = process.communicate(timeout=120)
    os.close(leader)
    return process.returncode, out.decode(), shown.decode(errors="replace")


def test_json_from_a_terminal_is_json(work):
    (work / "scan_01.nxs").rename(work / "scan_[x].nxs")
    config = write_config(work, {"correction.stripe": 'method = "none"', "reconstruction": "center = 49.0"})
    code, out, shown = under_pty("run", config, "--rows", "20:22", "--json")
    assert code == 0, shown
    assert [scan["name"] for scan in json.loads(out)["scans"]] == ["scan_00", "scan_x"]
    # the bar: stage and step, share, elapsed and remaining time; a step of a few milliseconds may never be drawn
    assert re.search(r"1/1 reconstruction: \S*scan_(00|x)/\w", shown)
    assert "100%" in shown
    assert "left" in shown
    assert json.loads(out)["answer"]["scans"][0]["center"] == 49.0
    log = (work / "store.zarr/run.log").read_text().splitlines()
    assert "xct-pipeline 0." in log[0]
    assert "--rows 20:22 --json" in log[0]
    assert "workers, memory" in log[1]
    assert "configuration" in log[1]
    assert "finished after" in log[-1]
    code, out, shown = under_pty("-q", "run", config, "--rows", "20:23", "--json", NO_COLOR="1")
    assert (code, "%" in shown, "\x1b" in shown) == (0, False, False)  # no bar, no colour
    assert "WARNING  scan_x: its name is" in shown


def test_check_at_eighty_columns_names_scans_and_stages_whole(work):
    code, text = typed(work, 80, "check", "run.toml")
    assert code == 0
    assert "\N{HORIZONTAL ELLIPSIS}" not in text
    firsts = {line.split("│")[1].strip() for line in text.splitlines() if line.startswith("│")}
    assert {"scan_00", "scan_01", "reconstruction"} <= firsts


def test_version_and_completion(capsys):
    assert xct(capsys, "--version").out.startswith("xct 0.")
    assert "--show-completion" in xct(capsys, "--help").out


def fill(folder):
    """Lay beside a run what users mistake for something else."""
    for name in ("frames", "edf", "empty", "beside"):
        (folder / name).mkdir()
    (folder / "frames" / "0.tif").write_bytes(b"II*\0")
    (folder / "edf" / "0.edf").write_text("{ HeaderID = EH:000001 ; }")
    (folder / "beside" / "mine.toml").write_text('output = "store.zarr"')
    (folder / "notes.txt").write_text("notes")
    (folder / "settings").write_text("output = 3")
    (folder / "log.csv").write_text("time,voltage\n0,1\n")
    (folder / "picture.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    (folder / "page.html").write_text("<!DOCTYPE html><title>report</title>")
    (folder / "volume.npy").write_bytes(b"\x93NUMPY")
    (folder / "nothing.nxs").touch()
    (folder / "store.zarr" / ".xct").mkdir(parents=True)
    (folder / "store.zarr" / "registered").mkdir()
    (folder / "store.zarr" / "run.log").write_text("INFO begins")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("run scan_00.nxs", "xct init scan_00.nxs -o run.toml"),
        ("check scan_00.nxs", "is a raw scan, not a configuration"),
        ("center scan_00.nxs", "xct init scan_00.nxs -o run.toml"),
        ("run frames", "xct init frames looks for scans"),
        ("run frames/0.tif", "xct init frames looks for scans"),
        ("run edf", "xct init edf looks for scans"),
        ("run empty", "xct init empty looks for scans"),
        ("run beside", "name the one in it, beside/mine.toml"),
        ("run store.zarr", "xct info store.zarr tells"),
        ("run store.zarr/registered", "a part of the store store.zarr, not a configuration: xct info store.zarr"),
        ("run log.csv", "xct echem log.csv"),
        ("run page.html", "is a web page, not a configuration: open it in a browser"),
        ("run picture.png", "is a file of no known kind"),
        ("run volume.npy", "[[acquisition.volume]]"),
        ("run gone.toml", "no such file; xct init SCAN ... -o gone.toml"),
        ("run gone", "no such file; xct init SCAN ... -o run.toml"),
        ("init frames -o new.toml", "no scan was found"),
        ("init frames/0.tif -o new.toml", "xct init frames looks for scans"),
        ("init run.toml", "xct check run.toml"),
        ("init log.csv", "is a table or another text, not a raw scan"),
        ("init page.html", "is a web page, not a raw scan"),
        ("init nothing.nxs", "is an empty file, not a raw scan"),
        ("init store.zarr", "xct info store.zarr"),
        ("init store.zarr/registered", "xct info store.zarr"),
        ("init .", "run.toml exists; choose another name with -o"),
        ("info run.toml", "is a configuration, not a raw scan or a store: xct check run.toml"),
        ("info .", "name the one in it, store.zarr"),
        ("info frames", "xct init frames looks for scans"),
        ("info store.zarr/run.log", "xct info store.zarr"),
        ("report run.toml", "is a configuration, not a store: xct check run.toml"),
        ("report scan_00.nxs --figures out", "is a raw scan, not a store"),
        ("export page.html", "is a web page, not a store"),
        ("cite store.zarr/run.log", "xct info store.zarr"),
        ("status run.toml", "is a configuration, not a store"),
        ("verify frames", "xct init frames looks for scans"),
        ("forget empty scan_00", "is a folder, not a store"),
        ("view notes.txt", "is a table or another text, not a store, an OME-Zarr image, a raw scan (HDF5) or"),
        ("view picture.png", "is a file of no known kind"),
        ("view frames", "xct init frames looks for scans"),
        ("view store.zarr/run.log", "xct view store.zarr"),
        ("view page.html", "open it in a browser"),
        ("view gone", "no such file"),
    ],
)
def test_what_it_is_and_what_to_type(capsys, work, monkeypatch, arguments, words):
    monkeypatch.chdir(work)
    fill(work)
    ended = xct(capsys, *arguments.split())
    assert (ended.code, words in ended.err) == (1, True), ended.err
    assert len(ended.err.splitlines()) == 1


def test_a_configuration_may_have_any_name(capsys, work, monkeypatch):
    monkeypatch.chdir(work)
    fill(work)
    assert "settings: 2 errors" in xct(capsys, "check", "settings").err


def test_names_of_logs_do_not_act_on_the_terminal(capsys, series, work):
    name = "a\x1b[31m[b]\u202e.csv"
    shutil.copy(series / "cycler.csv", work / name)
    electrochemistry = {"electrochemistry": f'log = {json.dumps(name)}\ntime = "time_s"\ncharge = "charge_C"'}
    ended = xct(capsys, "check", write_config(work, electrochemistry))
    assert ended.code == 0, ended.err
    assert "log a\\x1b[31m[b]\\u202e.csv: " in ended.out
    assert "\x1b[31m" not in ended.out + xct(capsys, "echem", work / name, "-o", work / "page.html").out


def test_cleaned_text_keeps_its_lines():
    assert clean("a\nb\tc\x1b[31m\u202e\x85") == "a\nb\tc\\x1b[31m\\u202e\\x85"
