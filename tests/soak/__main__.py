"""`python -m soak`: minutes of thousands of watches over a network that fails; exits with 1 if anything is wrong."""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
import tracemalloc
from pathlib import Path

from bench.machine import Machine
from rich.console import Console

from soak.figures import table
from soak.near_side import TRANSPORTS, NearSide
from soak.run import soak
from soak.settings import Settings


def main() -> None:
    """Soak, and tell."""
    asked = _parser().parse_args()
    console = Console(soft_wrap=True, highlight=False, markup=False)
    console.print(str(Machine()))
    near_side = NearSide(max_rate=asked.max_rate, max_concurrency=asked.max_concurrency, transport=asked.transport)
    settings = Settings(
        seconds=asked.seconds, watches=asked.watches, fault_rate=asked.fault_rate, kills=asked.kills, seed=asked.seed
    )
    if asked.trace:
        tracemalloc.start()
    with tempfile.TemporaryDirectory() as passing:
        journals = asked.journals or Path(passing)
        journals.mkdir(parents=True, exist_ok=True)
        directory = Path(tempfile.mkdtemp(dir=journals))
        figures = asyncio.run(soak(settings, near_side, directory))
    console.print(table(figures))
    for wrong in figures.wrong:
        console.print(f"WRONG: {wrong}")
    sys.exit(1 if figures.wrong else 0)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m soak", description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=300.0, help="seconds that it takes")
    parser.add_argument("--watches", type=int, default=2_000, help="how many there are at a time")
    parser.add_argument("--fault-rate", type=float, default=0.1, help="how likely a request is to meet a fault")
    parser.add_argument("--kills", type=int, default=2, help="how often the server is killed")
    parser.add_argument("--transport", choices=TRANSPORTS, default="default", help="what carries requests")
    parser.add_argument("--max-rate", type=float, default=400.0, help="requests per second")
    parser.add_argument("--max-concurrency", type=int, default=48, help="requests in flight at a time")
    parser.add_argument("--trace", action="store_true", help="count objects' bytes too, at four times the CPU")
    parser.add_argument("--journals", type=Path, metavar="DIR", help="keep what was written down in a new folder there")
    parser.add_argument("--seed", type=int, default=4, help="what chance is drawn from")
    return parser


if __name__ == "__main__":
    main()
