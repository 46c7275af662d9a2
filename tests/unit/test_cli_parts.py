"""What options mean, and which exit code an error ends with."""

from __future__ import annotations

import errno

import pytest
from command import xct
from rich.table import Table

from xct_pipeline.cli import app, options, runs, terminal
from xct_pipeline.config.file import ConfigError
from xct_pipeline.scan import ScanError
from xct_pipeline.store.files import RefusedError, StoreError


@pytest.mark.parametrize(
    ("text", "size"), [("8GB", 8e9), ("500 MB", 5e8), ("2GiB", 2**31), ("1.5k", 1500), ("7", 7), (None, None)]
)
def test_sizes(text, size):
    assert options.parse_bytes(text) == size


@pytest.mark.parametrize("text", ["", "GB", "1.2.3GB", "0GB", "-1GB", "8 bananas"])
def test_bad_sizes(text):
    with pytest.raises(ValueError, match="such as 8GB"):
        options.parse_bytes(text)


def test_rows():
    assert options.parse_rows("3:9") == (3, 9)
    assert options.parse_rows(None) is None
    for text in ("9:3", "3:3", "a:b", "3", "-1:4"):
        with pytest.raises(ValueError, match="first < stop"):
            options.parse_rows(text)


@pytest.mark.parametrize(
    ("error", "code", "words"),
    [
        (ConfigError("run.toml", ["x: unknown key"]), 1, "x: unknown key"),
        (ScanError("a.nxs: broken"), 1, "a.nxs: broken"),
        (StoreError("damaged"), 1, "damaged"),
        (RefusedError("no"), 2, "no"),
        (MemoryError(), 2, "--memory"),
        (RuntimeError("can't start new thread"), 2, "--memory"),
        (OSError(errno.ENOSPC, "No space left on device", "f"), 2, "f: No space left"),
        (PermissionError(errno.EACCES, "Permission denied", "f"), 2, "f: Permission denied"),
        (FileNotFoundError(errno.ENOENT, "No such file or directory", "f"), 1, "f: No such file"),
        (KeyError("k"), 1, "KeyError"),
    ],
)
def test_exit_codes(error, code, words):
    message, found = app._verdict(error)
    assert (found, words in message) == (code, True)


def test_a_stopped_run_says_how_to_go_on(capsys, monkeypatch):
    def stop(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(runs, "plan_of", stop)
    ended = xct(capsys, "run", "run.toml")
    assert (ended.code, "goes on where" in ended.err) == (130, True)


def test_numbers_that_json_does_not_know(capsys):
    options.print_json({"a": [float("nan"), 1.0, float("inf")], "b": {"c": float("nan")}})
    assert capsys.readouterr().out.split() == [
        "{",
        '"a":',
        "[",
        "null,",
        "1.0,",
        "null",
        "],",
        '"b":',
        "{",
        '"c":',
        "null",
        "}",
        "}",
    ]


@pytest.mark.parametrize("device", ["auto", "cuda"])
def test_without_a_device_the_processor_computes_and_a_message_says_so(monkeypatch, caplog, device):
    monkeypatch.setattr("xct_pipeline.device.cuda_problem", lambda: "no CUDA device")
    with caplog.at_level("INFO", logger="xct"):
        assert not options.use_device(device)
    assert f"--device {device}: no CUDA device; computing on the processor" in caplog.text


@pytest.mark.parametrize("columns", [40, 80])
@pytest.mark.parametrize("name", ["reconstruction", "scan_" + "of_a_long_name_" * 5 + "7"])
def test_no_table_cuts_what_it_holds(capsys, monkeypatch, name, columns):
    """Short names stay on one line; what does not fit is folded, and comes back whole when its lines are joined."""
    monkeypatch.setattr(terminal, "console", lambda: terminal.SafeConsole(width=columns))
    heads = ("scan", "projections", "transmission", "frames looked at")
    table = Table(*heads)
    row = (name, "3601 x 2160 x 2560", "0.0123 to 0.9876", "variation/grey_scale/scan_00: 18.75 MiB per task")
    table.add_row(*row)
    terminal.print_table(table)
    shown = capsys.readouterr().out
    assert "\N{HORIZONTAL ELLIPSIS}" not in shown
    assert max(map(len, shown.splitlines())) <= columns
    cells = list(zip(*(line.strip("│")[1:-1].split("│") for line in shown.splitlines() if line[0] == "│"), strict=True))
    assert ["".join(parts).replace(" ", "") for parts in cells] == [cell.replace(" ", "") for cell in row]
    assert (f"│ {name} │" in shown) == (len(name) <= terminal.WHOLE)
