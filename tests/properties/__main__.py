"""`python -m properties`: runs the state machine, or releases, in one random world per seed, until one fails."""

from __future__ import annotations

import argparse
import logging
import random
import sys
import time
import traceback

from properties.model.release_world import run_release_world
from properties.test_state_machine import run_world
from rich.console import Console

_WORLDS = 3000
_WORLDS_PER_LINE = 100


def main() -> int:
    """Run the worlds; return 1 if one failed, after printing how to replay it."""
    arguments = _parser().parse_args()
    run = run_release_world if arguments.releases else run_world
    first: int = random.randrange(10**9) if arguments.seed is None else arguments.seed
    number: int = arguments.worlds or (1 if arguments.seed is not None else _WORLDS)
    logging.getLogger("clanforge_async").addHandler(logging.NullHandler())
    option = " --releases" if arguments.releases else ""
    console = Console(soft_wrap=True, highlight=False, markup=False)
    console.print(f"worlds {first} to {first + number - 1}")
    began, failed = time.perf_counter(), list[int]()
    for seed in range(first, first + number):
        try:
            run(seed)
        except Exception:  # noqa: BLE001 - any failure is reported
            console.print(traceback.format_exc())
            failed.append(seed)
            console.print(f"world {seed} failed; replay it with: nox -s worlds --{option} --seed {seed}")
            if not arguments.keep_going:
                break
        if (seed - first + 1) % _WORLDS_PER_LINE == 0:
            console.print(f"{seed - first + 1} worlds in {time.perf_counter() - began:.0f} s")
    console.print(f"{len(failed)} failed of {seed - first + 1} worlds, in {time.perf_counter() - began:.0f} s")
    return 1 if failed else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m properties", description=__doc__)
    parser.add_argument("--seed", type=int, help="seed of the first world; default: random, or with it alone one world")
    parser.add_argument("--worlds", type=int, help=f"how many; default: {_WORLDS}, or 1 with --seed")
    parser.add_argument("--releases", action="store_true", help="run worlds of releases instead of watches")
    parser.add_argument("--keep-going", action="store_true", help="go on after a world that fails")
    return parser


if __name__ == "__main__":
    sys.exit(main())
