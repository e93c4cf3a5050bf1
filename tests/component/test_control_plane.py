"""The control plane of the tests is gone when they are, however they end, and says what is wrong if it cannot start."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import pytest

from tests.controlplane import plane
from tests.controlplane.fixtures import binaries
from tests.controlplane.plane import ROOT, ControlPlane
from tests.controlplane.process import Server, ServerError, free_port

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PATIENCE = 60.0
CHILD = """
import sys, time
from pathlib import Path
from tests.controlplane.plane import ControlPlane
with ControlPlane(Path(sys.argv[1]), keep_logs_in=Path(sys.argv[2])) as plane:
    print(plane.folder, plane.etcd.pid, plane.apiserver.pid, flush=True)
    time.sleep(600)
"""


class Session:
    """A process that has started a control plane, as a test session has."""

    def __init__(self, folder: Path) -> None:
        self.logs = folder / "logs"
        self.process = subprocess.Popen(
            [sys.executable, "-c", CHILD, str(binaries()), str(self.logs)],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout is not None
        place, *pids = self.process.stdout.readline().split()
        self.folder = Path(place)
        self.servers = [psutil.Process(int(pid)) for pid in pids]

    def end(self, number: signal.Signals) -> None:
        self.process.send_signal(number)
        self.process.communicate(timeout=PATIENCE)


@pytest.fixture
def session(tmp_path: Path) -> Iterator[Session]:
    made = Session(tmp_path)
    yield made
    made.process.kill()
    made.process.communicate()


def test_a_session_that_is_killed_leaves_no_process_and_the_next_one_takes_its_folder_away(session: Session) -> None:
    assert [one.name() for one in session.servers] == ["etcd", "kube-apiserver"]
    session.end(signal.SIGKILL)
    wait_for(lambda: not any(runs(one) for one in session.servers))
    assert session.folder.is_dir(), "nobody was there to remove it"
    with plane._memory_folder() as mine:
        assert not session.folder.exists()
        assert mine.is_dir()
    assert not mine.exists()


def test_a_session_that_is_interrupted_leaves_nothing_but_its_logs(session: Session) -> None:
    session.end(signal.SIGINT)
    assert not any(runs(one) for one in session.servers)
    assert not session.folder.exists()
    assert {path.name for path in session.logs.iterdir()} == {"etcd.log", "kube-apiserver.log"}


def test_the_folder_of_a_session_that_runs_is_left_alone(session: Session) -> None:
    with plane._memory_folder():
        assert session.folder.is_dir()
    assert all(runs(one) for one in session.servers)


@pytest.mark.parametrize("name", ["etcd", "kube-apiserver"])
def test_a_binary_that_is_missing_is_told_at_once(tmp_path: Path, name: str) -> None:
    made = some_binaries(tmp_path, without=name)
    started = time.monotonic()
    with pytest.raises(ServerError, match=f"{name} cannot be run: No such file"), ControlPlane(made):
        pass
    assert time.monotonic() - started < PATIENCE / 2
    assert left_by_me() == []


@pytest.mark.parametrize("name", ["etcd", "kube-apiserver"])
def test_a_port_that_is_taken_is_told_with_the_end_of_the_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        ports = ports_with(taken.getsockname()[1], at=["etcd", "kube-apiserver"].index(name))
        monkeypatch.setattr(plane, "free_port", lambda: next(ports))
        with pytest.raises(ServerError, match="address already in use"), ControlPlane(binaries()):
            pass
    assert left_by_me() == []


def test_logs_are_kept_when_a_start_fails(tmp_path: Path) -> None:
    made = some_binaries(tmp_path, without="kube-apiserver")
    server = made / "kube-apiserver"
    server.write_text("#!/bin/sh\necho it does not work\nexit 3\n")
    server.chmod(0o755)
    logs = tmp_path / "logs"
    with (
        pytest.raises(ServerError, match="ended with 3:\nit does not work"),
        ControlPlane(made, keep_logs_in=logs),
    ):
        pass
    assert (logs / "kube-apiserver.log").read_text() == "it does not work\n"
    assert left_by_me() == []


def test_logs_are_kept_when_a_test_has_failed_and_not_otherwise(tmp_path: Path) -> None:
    kept, other = tmp_path / "kept", tmp_path / "other"
    with pytest.raises(ZeroDivisionError), ControlPlane(binaries(), keep_logs_in=kept):
        raise ZeroDivisionError
    assert "Serving securely on" in (kept / "kube-apiserver.log").read_text()
    with ControlPlane(binaries(), keep_logs_in=other):
        pass
    assert not other.exists()


def test_a_server_that_is_never_ready_is_told_with_the_end_of_its_log(tmp_path: Path) -> None:
    command = [sys.executable, "-c", "import time; print('busy', flush=True); time.sleep(600)"]
    server = Server(command, tmp_path / "log")
    server.start()
    try:
        server.wait_until(lambda: server.tail() == "busy", PATIENCE)
        with pytest.raises(ServerError, match=r"was not ready within .* s:\nbusy"):
            server.wait_until(lambda: False, 0.1)
        server.signal(signal.SIGTERM)
        with pytest.raises(ServerError, match=r"ended with -15:\nbusy"):
            server.wait_until(lambda: False, PATIENCE)
    finally:
        server.kill()


def some_binaries(folder: Path, *, without: str) -> Path:
    """A folder with the binaries but for one."""
    made = folder / "binaries"
    made.mkdir()
    for path in binaries().iterdir():
        if path.name != without:
            (made / path.name).symlink_to(path)
    return made


def ports_with(taken: int, *, at: int) -> Iterator[int]:
    """Free ports, with one that is taken at a place."""
    found = [free_port() for _ in range(3)]
    found[at] = taken
    return iter(found)


def left_by_me() -> list[str]:
    """What this process has left in memory."""
    return [path.name for path in Path("/dev/shm").glob(f"{plane.PREFIX}{os.getpid()}-*") if not in_use(path)]


def in_use(folder: Path) -> bool:
    """Whether a server of the session's own control plane runs on it."""
    return any(str(folder) in " ".join(one.cmdline()) for one in psutil.Process().children(recursive=True))


def runs(process: psutil.Process) -> bool:
    """Whether it is there and no zombie."""
    try:
        return bool(process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def wait_for(condition: Callable[[], bool]) -> None:
    """Wait until it holds."""
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)
