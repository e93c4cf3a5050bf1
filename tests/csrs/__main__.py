"""`make fuzz`: mutations of real CSRs, a hundred thousand unless told otherwise."""

from __future__ import annotations

import argparse
import secrets
import sys

from tests.csrs.fuzz import run

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=100_000, help="mutations (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=None, help="the same ones again (default: others each time)")
    options = parser.parse_args()
    seed = secrets.randbelow(2**32) if options.seed is None else options.seed
    sys.stdout.write(f"seed {seed}\n")
    sys.stdout.write(f"{run(options.count, seed)}\n")
