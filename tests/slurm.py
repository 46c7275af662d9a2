"""A SLURM cluster of three nodes on this machine, for tests: its daemons run in a folder and end with the test."""

from __future__ import annotations

import contextlib
import getpass
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import psutil

NEEDED = ("munged", "slurmctld", "slurmd", "sbatch", "squeue", "scancel", "scontrol", "sinfo")
FOLDERS = "/usr/sbin:/usr/local/sbin:/sbin"  # of the daemons, which are on nobody's PATH but root's
NODES = ("node1", "node2", "node3")
UP_S = 60.0

CONFIG = """\
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmUser={user}
SlurmdUser={user}
SlurmctldPort={ports[0]}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.sock
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool.%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.%n.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=1
JobAcctGatherParams=OverMemoryKill
ReturnToService=2
SlurmdTimeout=10
KillWait=3
MpiDefault=none
NodeName=node[1-3] NodeHostname={host} NodeAddr=127.0.0.1 Port=[{ports[1]}-{ports[3]}] CPUs=1 RealMemory=4000
PartitionName=work Nodes=node[1-3] Default=YES MaxTime=INFINITE State=UP
"""


def missing() -> str | None:
    """Say which command of SLURM is not installed, or None."""
    found = f"{os.environ['PATH']}:{FOLDERS}"
    absent = [name for name in NEEDED if shutil.which(name, path=found) is None]
    return f"not installed: {', '.join(absent)} (Debian: slurm-wlm and munge)" if absent else None


@dataclass
class Slurm:
    """A cluster that is up.

    Attributes
    ----------
    folder : Path
    env : dict
        For commands that are to reach it.
    daemons : dict
        By name; a node is called as its ``slurmd``.
    """

    folder: Path
    env: dict[str, str]
    daemons: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def ask(self, *command: str) -> str:
        """Return what a command answers; that of a command that fails as well."""
        ended = subprocess.run(command, env={**os.environ, **self.env}, capture_output=True, text=True, timeout=60)
        return ended.stdout + ended.stderr

    def states(self, *jobs: str) -> dict[str, tuple[str, str]]:
        """Return state and node of each job and element."""
        answer = self.ask("squeue", "-h", "-r", "-t", "all", "-o", "%i|%T|%N", f"--jobs={','.join(jobs)}")
        found = [line.split("|") for line in answer.splitlines()]
        return {entry[0]: (entry[1], entry[2]) for entry in found if len(entry) == 3}

    def start(self, name: str, *command: str) -> None:
        """Start a daemon in the foreground."""
        with (self.folder / f"{name}.log").open("ab") as log:
            self.daemons[name] = subprocess.Popen(
                command, env={**os.environ, **self.env}, stdout=log, stderr=log, start_new_session=True
            )

    def start_node(self, name: str) -> None:
        """Start a node."""
        (self.folder / f"spool.{name}").mkdir(exist_ok=True)
        self.start(name, "slurmd", "-D", "-N", name)

    def kill_node(self, name: str) -> None:
        """End a node and everything that runs on it, as a fault of its power would."""
        daemon = self.daemons.pop(name)
        ended = [psutil.Process(daemon.pid), *self._of_node(name)]
        for process in ended:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.send_signal(signal.SIGKILL)
        daemon.wait(timeout=30)

    def _of_node(self, name: str) -> list[psutil.Process]:
        """Return the processes of the jobs of a node, and those that watch over them."""
        found = []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error, OSError):
                env = process.environ()
                ours = env.get("SLURM_CONF") == self.env["SLURM_CONF"]
                if ours and env.get("SLURMD_NODENAME") == name:
                    found += [process, *process.parents()[:1]]
        return [p for p in found if p.pid not in {os.getpid(), *(d.pid for d in self.daemons.values())}]

    def stop(self) -> None:
        """End all daemons, and what jobs are left."""
        for name in NODES:
            for process in self._of_node(name):
                with contextlib.suppress(psutil.Error):
                    process.kill()
        for daemon in reversed(self.daemons.values()):
            daemon.terminate()
            try:
                daemon.wait(timeout=15)
            except subprocess.TimeoutExpired:
                daemon.kill()
                daemon.wait(timeout=15)


@contextlib.contextmanager
def cluster(folder: Path) -> Iterator[Slurm]:
    """Start a cluster; it is up when this returns, and ends with it."""
    for name in ("", "state"):
        (folder / name).mkdir(mode=0o755)
    key = folder / "munge.key"
    key.write_bytes(os.urandom(1024))
    key.chmod(0o400)
    config = CONFIG.format(
        host=socket.gethostname().split(".")[0], user=getpass.getuser(), folder=folder, ports=_ports(4)
    )
    (folder / "slurm.conf").write_text(config)
    path = f"{os.environ['PATH']}:{FOLDERS}"
    slurm = Slurm(folder, {"SLURM_CONF": str(folder / "slurm.conf"), "PATH": path})
    try:
        files = {"socket": "sock", "pid-file": "pid", "log-file": "log", "seed-file": "seed"}
        options = (f"--{option}={folder}/munge.{ending}" for option, ending in files.items())
        slurm.start("munged", "munged", "-F", "--force", f"--key-file={key}", *options)
        _until(lambda: (folder / "munge.sock").exists(), "munged")
        slurm.start("slurmctld", "slurmctld", "-D")
        for name in NODES:
            slurm.start_node(name)
        _until(lambda: slurm.ask("sinfo", "-h", "-N", "-o", "%T").split() == ["idle"] * 3, "three nodes")
        yield slurm
    finally:
        slurm.stop()


def _ports(count: int) -> range:
    """Return ports, one after the other, that nobody listens on."""
    for first in range(20000 + os.getpid() % 10000, 60000, 7):
        with contextlib.ExitStack() as stack, contextlib.suppress(OSError):
            for port in range(first, first + count):
                stack.enter_context(socket.socket()).bind(("127.0.0.1", port))
            return range(first, first + count)
    raise OSError("no ports are free")


def _until(happened: object, what: str) -> None:
    limit = time.monotonic() + UP_S
    while not happened():  # type: ignore[operator]
        assert time.monotonic() < limit, f"{what} did not come up within {UP_S:.0f} s"
        time.sleep(0.2)
