"""What a terminal sees: results on stdout alone, logs and progress on stderr, what a thing is and what to type."""

from __future__ import annotations

import json
import os
import pty
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
    assert "1/1 reconstruction: " in shown  # the bar: stage and step, share, elapsed and remaining time
    assert "scan_00/fields" in shown
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


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("run", "scan_00.nxs"), "xct init scan_00.nxs -o run.toml"),
        (("check", "scan_00.nxs"), "xct init scan_00.nxs -o run.toml"),
        (("run", "frames"), "[[acquisition.tiff]]"),
        (("init", "frames", "-o", "new.toml"), "no scan was found"),
        (("init", "run.toml"), "xct check run.toml"),
        (("init", "."), "run.toml exists"),
        (("view", "notes.txt"), "give a store"),
        (("view", "gone"), "no such file"),
    ],
)
def test_what_it_is_and_what_to_type(capsys, work, monkeypatch, arguments, words):
    monkeypatch.chdir(work)
    (work / "frames").mkdir()
    (work / "frames" / "0.tif").write_bytes(b"II*\0")
    (work / "notes.txt").write_text("notes")
    ended = xct(capsys, *arguments)
    assert (ended.code, words in ended.err) == (1, True), ended.err
    assert len(ended.err.splitlines()) == 1


def test_cleaned_text_keeps_its_lines():
    assert clean("a\nb\tc\x1b[31m\u202e\x85") == "a\nb\tc\\x1b[31m\\u202e\\x85"
