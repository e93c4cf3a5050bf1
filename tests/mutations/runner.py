"""Runs tests on copies of the tree from which one protection after the other is taken out.

Each worker has a copy of its own, so that several run at once and nobody's checkout is touched. Red alone says little:
the chosen tests have to be green on a copy as it is; "no tests ran" and a file that cannot be collected are errors of
the table, and so is a mutated module that cannot be imported. A run that does not end in its time counts as noticed,
since no build would pass with it, and is told as a hang.
"""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Final

from tests.mutations.mutation import ROOT

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from tests.mutations.mutation import Mutation

TIME_LIMIT: Final = 30.0
"""Seconds for the tests of one mutation; they take two to five."""
BASELINE_TIME_LIMIT: Final = 600.0
"""Seconds for all chosen tests on the tree as it is."""
CONTROL_PLANE: Final = ("KUBEBUILDER_ASSETS", "CDN_ISSUER_REQUIRE_CONTROL_PLANE")
"""What would bring a real API server; component tests run on the sandbox only."""
LEFT_OUT: Final = (".*", "__pycache__", "dist", "build", "*.egg-info")
"""What no test needs; of the hidden files only those that say what to ignore are copied."""

_GREEN, _RED = 0, 1
_FAILED: Final = re.compile(r"^FAILED (.+?)(?: - .*)?$", re.MULTILINE)


class Verdict(Enum):
    """What became of a mutation."""

    NOTICED = "noticed"
    HANG = "noticed, by a hang"
    MISSED = "NOT NOTICED"
    BROKEN = "ERROR"
    """Nothing can be said: the text, the choice of tests, or the mutated module is wrong."""


@dataclass(frozen=True, slots=True)
class Result:
    """How one mutation went.

    Attributes:
        mutation: which.
        verdict: in a word.
        told: the test that failed, or what is wrong.
        seconds: that it took.
    """

    mutation: Mutation
    verdict: Verdict
    told: str
    seconds: float


class Tree:
    """A copy of the tree, in which one mutation at a time is made."""

    def __init__(self, folder: Path) -> None:
        self._root = folder / "tree"
        shutil.copytree(ROOT, self._root, ignore=shutil.ignore_patterns(*LEFT_OUT))
        for dotted in ROOT.glob(".*ignore"):
            shutil.copy(dotted, self._root)

    def baseline(self, mutations: Sequence[Mutation]) -> str:
        """Run all chosen tests on the tree as it is; what is wrong, or an empty text."""
        targets = dict.fromkeys(target for mutation in mutations for target in mutation.targets)
        code, output = self._pytest(tuple(targets), BASELINE_TIME_LIMIT)
        return "" if code == _GREEN else output

    def judge(self, mutation: Mutation) -> Result:
        """Make the mutation, run its tests, and take it back."""
        begun = time.monotonic()
        path = self._root / mutation.file
        source = path.read_text()
        try:
            self._write(path, mutation.applied(source))
            verdict, told = self._run(mutation)
        except ValueError as error:
            verdict, told = Verdict.BROKEN, str(error)
        finally:
            self._write(path, source)
        return Result(mutation, verdict, told, time.monotonic() - begun)

    def _run(self, mutation: Mutation) -> tuple[Verdict, str]:
        code, output = self._pytest(mutation.targets, TIME_LIMIT)
        failed = _FAILED.search(output)
        if code is None:
            return Verdict.HANG, f"not over after {TIME_LIMIT:g} s"
        if code == _GREEN:
            return Verdict.MISSED, f"by {', '.join(mutation.tests)}"
        if code == _RED and failed:
            return Verdict.NOTICED, failed[1].rpartition("::")[2]
        return Verdict.BROKEN, f"pytest ended with {code}:\n{output}"

    def _pytest(self, targets: tuple[str, ...], limit: float) -> tuple[int | None, str]:
        """Exit code, None if it did not end in time, and output."""
        command = [sys.executable, "-m", "pytest", "-x", "-q", "-rfE", "-p", "no:cacheprovider", *targets]
        environment = {name: value for name, value in os.environ.items() if name not in CONTROL_PLANE}
        environment |= {"PYTHONPATH": str(self._root), "CDN_ISSUER_CACHE": str(self._root / "none")}
        running = subprocess.Popen(
            command,
            cwd=self._root,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        try:
            output, _ = running.communicate(timeout=limit)
        except subprocess.TimeoutExpired:
            os.killpg(running.pid, signal.SIGKILL)
            output, _ = running.communicate()
            return None, output
        return running.returncode, output

    def _write(self, path: Path, source: str) -> None:
        """Python takes a compiled module for the current one if second and size agree, so that goes too."""
        path.write_text(source)
        compiled = importlib.util.cache_from_source(str(path))
        (self._root / compiled).unlink(missing_ok=True)
