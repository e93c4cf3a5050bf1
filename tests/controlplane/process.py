"""A server of the tests as a child process that cannot outlive them.

It has a session of its own, so that Ctrl-C in a terminal reaches pytest alone, which then stops it; and the kernel
kills it when the thread that started it is gone (`PR_SET_PDEATHSIG`, prctl(2)), so that `kill -9` of pytest leaves
nothing.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

PR_SET_PDEATHSIG: Final = 1
_SPAWNER: Final = ThreadPoolExecutor(1, "spawner")
"""Starts all processes: the kernel kills them when the *thread* that started them ends, and this one never does."""
PORTS: Final = range(11000, 16000)
"""Below the kernel's range for outgoing connections, so that no connection takes a port between look and listen."""


class ServerError(Exception):
    """A server has ended or is not ready in time; the text has the end of its log."""


class Server:
    """One process with its log.

    Args:
        command: program and arguments.
        log: file for what it prints; appended to, so that a restart keeps it.
        environment: beside the caller's own.
    """

    def __init__(
        self, command: Sequence[str | Path], log: Path, *, environment: Mapping[str, str] | None = None
    ) -> None:
        self.command = [str(part) for part in command]
        self.log = log
        self._environment = {**os.environ, **(environment or {})}
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, or start it again.

        Raises:
            ServerError: there is no such program, or it cannot be run.
        """
        _SPAWNER.submit(self._spawn).result()

    def _spawn(self) -> None:
        with self.log.open("ab") as output:
            try:
                self._process = subprocess.Popen(
                    self.command,
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    env=self._environment,
                    start_new_session=True,
                    preexec_fn=_die_with_parent if sys.platform == "linux" else None,  # noqa: PLW1509 - one system call
                )
            except OSError as error:
                raise ServerError(f"{self.command[0]} cannot be run: {error.strerror}") from None

    @property
    def pid(self) -> int:
        """Of the process.

        Raises:
            ServerError: it was not started.
        """
        if self._process is None:
            raise ServerError(f"{self.command[0]} was not started")
        return self._process.pid

    @property
    def returncode(self) -> int | None:
        """Exit code, or None while it runs."""
        return None if self._process is None else self._process.poll()

    def check(self) -> None:
        """See that it has not ended.

        Raises:
            ServerError: it has; with the end of its log.
        """
        if self.returncode is not None:
            raise ServerError(f"{self.command[0]} ended with {self.returncode}:\n{self.tail()}")

    def wait_until(self, ready: Callable[[], bool], timeout: float) -> None:
        """Wait until it is ready.

        Raises:
            ServerError: it has ended, or is not ready after so many seconds.
        """
        end = time.monotonic() + timeout
        while not ready():
            self.check()
            if time.monotonic() > end:
                raise ServerError(f"{self.command[0]} was not ready within {timeout:.0f} s:\n{self.tail()}")
            time.sleep(0.03)

    def wait_ended(self, timeout: float) -> int:
        """Wait until it has ended; returns its exit code.

        Raises:
            ServerError: it still runs after so many seconds.
        """
        assert self._process is not None
        try:
            return self._process.wait(timeout)
        except subprocess.TimeoutExpired:
            raise ServerError(f"{self.command[0]} still runs after {timeout:.0f} s:\n{self.tail()}") from None

    def signal(self, number: signal.Signals) -> None:
        """Send a signal; nothing happens if it has ended.

        By `Popen`, which looks whether it has: the number of a process that was waited for may be another's by now.

        Raises:
            ServerError: it was not started.
        """
        if self._process is None:
            raise ServerError(f"{self.command[0]} was not started")
        self._process.send_signal(number)

    def freeze(self) -> None:
        """Stop it where it is: connections stay open and nothing answers."""
        self.signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on."""
        self.signal(signal.SIGCONT)

    def kill(self) -> None:
        """End it at once, frozen or not."""
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait()

    def stop(self, timeout: float = 10.0) -> int:
        """End it as a kubelet does: SIGTERM, and SIGKILL after so many seconds; returns the exit code."""
        if self._process is None:
            return 0
        self.thaw()
        self.signal(signal.SIGTERM)
        try:
            return self._process.wait(timeout)
        except subprocess.TimeoutExpired:
            self.kill()
            return self._process.wait()

    def tail(self, lines: int = 20) -> str:
        """The last lines of its log."""
        try:
            return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])
        except OSError:
            return ""


def free_port() -> int:
    """A port of loopback that nobody listens on, and that no other worker of xdist is given at the same time."""
    number = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    ports = PORTS[number :: max(number + 1, int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1")))]
    offset = (os.getpid() * 7919 + time.monotonic_ns() // 1000) % len(ports)
    for step in range(len(ports)):
        port = ports[(offset + step) % len(ports)]
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise ServerError(f"no free port between {PORTS.start} and {PORTS.stop}: end what listens there")


_PRCTL = getattr(ctypes.CDLL(None), "prctl", None)


def _die_with_parent() -> None:
    if _PRCTL is not None:
        _PRCTL(PR_SET_PDEATHSIG, signal.SIGKILL)
