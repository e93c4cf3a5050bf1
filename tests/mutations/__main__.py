"""Take out each protection once, and see that a test notices: `python -m tests.mutations [-k NAME] [--jobs 2]`."""

from __future__ import annotations

import argparse
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import SimpleQueue
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from tests.mutations.runner import Result, Tree, Verdict
from tests.mutations.table import MUTATIONS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.mutations.mutation import Mutation


def main(arguments: Sequence[str] | None = None) -> int:
    """0 if every mutation was noticed."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutations", description=__doc__)
    parser.add_argument("-k", dest="name", default="", help="only those whose name or file holds this text")
    parser.add_argument("--jobs", type=int, default=2, help="so many at the same time (default: 2)")
    options = parser.parse_args(arguments)
    chosen = [one for one in MUTATIONS if options.name in one.name or options.name in one.file]
    if not chosen:
        print(f"no mutation has {options.name!r} in its name or file")
        return 2
    begun = time.monotonic()
    with TemporaryDirectory(prefix="mutations-") as folder:
        results = _judge(chosen, Path(folder), min(options.jobs, len(chosen)))
    if results is None:
        return 2
    missed = [one for one in results if one.verdict in {Verdict.MISSED, Verdict.BROKEN}]
    hung = sum(one.verdict is Verdict.HANG for one in results)
    print(
        f"\n{len(results)} protections taken out in {time.monotonic() - begun:.0f} s:"
        f" {len(results) - len(missed)} noticed ({hung} by a hang), {len(missed)} not"
    )
    return 1 if missed else 0


def _judge(mutations: Sequence[Mutation], folder: Path, jobs: int) -> list[Result] | None:
    """All results, in the order of the table; None if the chosen tests fail on the code as it is."""
    trees: SimpleQueue[Tree] = SimpleQueue()
    made = [Tree(folder / str(number)) for number in range(jobs)]
    if problem := made[0].baseline(mutations):
        print(f"the chosen tests fail on the code as it is:\n{problem}")
        return None
    for tree in made:
        trees.put(tree)

    def judge(mutation: Mutation) -> Result:
        tree = trees.get()
        try:
            return tree.judge(mutation)
        finally:
            trees.put(tree)

    results, file = [], ""
    with ThreadPoolExecutor(jobs) as pool:
        for result in pool.map(judge, mutations):
            if result.mutation.file != file:
                file = result.mutation.file
                print(f"\n{file}")
            _print(result)
            results.append(result)
    return results


def _print(result: Result) -> None:
    print(f"  {result.verdict.value:<18} {result.seconds:5.1f} s  {result.mutation.name}: {result.told}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
