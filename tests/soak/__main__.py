"""Run the soak test: thousands of watches for minutes over a failing network; exit with 1 if anything is wrong."""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
import tracemalloc
from pathlib import Path

from bench.machine import Machine
from rich.console import Console

from soak.client_config import TRANSPORTS, ClientConfig
from soak.report import format_report
from soak.run import run_soak
from soak.settings import Settings


def main() -> None:
    """Run the soak test and print its report."""
    options = _parser().parse_args()
    console = Console(soft_wrap=True, highlight=False, markup=False)
    console.print(str(Machine()))
    client_config = ClientConfig(
        max_rate=options.max_rate, max_concurrency=options.max_concurrency, transport=options.transport
    )
    settings = Settings(
        seconds=options.seconds,
        watches=options.watches,
        fault_rate=options.fault_rate,
        kills=options.kills,
        seed=options.seed,
    )
    if options.trace:
        tracemalloc.start()
    with tempfile.TemporaryDirectory() as temporary:
        parent = options.records or Path(temporary)
        parent.mkdir(parents=True, exist_ok=True)
        directory = Path(tempfile.mkdtemp(dir=parent))
        report = asyncio.run(run_soak(settings, client_config, directory))
    console.print(format_report(report))
    for problem in report.problems:
        console.print(f"PROBLEM: {problem}")
    sys.exit(1 if report.problems else 0)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m soak", description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=300.0, help="duration of the run")
    parser.add_argument("--watches", type=int, default=2_000, help="number of concurrent watches")
    parser.add_argument("--fault-rate", type=float, default=0.1, help="probability that a request meets a fault")
    parser.add_argument("--kills", type=int, default=2, help="number of times that the server is killed")
    parser.add_argument("--transport", choices=TRANSPORTS, default="default", help="HTTP transport of the client")
    parser.add_argument("--max-rate", type=float, default=400.0, help="maximum requests per second")
    parser.add_argument("--max-concurrency", type=int, default=48, help="maximum concurrent requests")
    parser.add_argument("--trace", action="store_true", help="trace allocated bytes too, at four times the CPU")
    parser.add_argument("--records", type=Path, metavar="DIR", help="keep the record files in a new folder in DIR")
    parser.add_argument("--seed", type=int, default=4, help="seed of all random numbers")
    return parser


if __name__ == "__main__":
    main()
