"""`python -m bench`: runs the benchmarks, and writes the results and their charts."""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

from attrs import Attribute, asdict
from rich.console import Console

from bench import cost_over_bound, detection_delay, forecasts, history, poll_cost, scale, temporal, transports
from bench.benchmark import Benchmark, ChartedBenchmark
from bench.machine import Machine

BENCHMARKS: dict[str, Benchmark[Any]] = {
    "detection_delay": detection_delay,
    "cost_over_bound": cost_over_bound,
    "forecasts": forecasts,
    "history": history,
    "scale": scale,
    "temporal": temporal,
    "poll_cost": poll_cost,
    "transports": transports,
}
"""All benchmarks, by their names for ``--only``."""


def main() -> None:
    """Run the selected benchmarks."""
    arguments = _parser().parse_args()
    out: Path = arguments.out
    out.mkdir(parents=True, exist_ok=True)
    console, machine = Console(soft_wrap=True, highlight=False, markup=False), Machine()
    console.print(str(machine))
    output: dict[str, Any] = {"machine": asdict(machine), "quick": arguments.quick}
    for name in arguments.only:
        began = time.perf_counter()
        output[name] = _run(name, arguments.quick, out, console)
        console.print(f"{name} took {time.perf_counter() - began:.0f} s\n")
    if arguments.quick:
        console.print("quick: too few measurements to compare with the thresholds")
    (out / "figures.json").write_text(json.dumps(output, indent=2) + "\n", encoding="utf-8")


def _parser() -> argparse.ArgumentParser:
    names = ",".join(BENCHMARKS)
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="less precise, within a minute")
    parser.add_argument("--out", type=Path, default=Path("docs/bench"), metavar="DIR", help="default: %(default)s")
    parser.add_argument("--only", type=_names, default=list(BENCHMARKS), metavar="NAMES", help=f"some of {names}")
    return parser


def _names(listed: str) -> list[str]:
    names = listed.split(",")
    if unknown := set(names) - set(BENCHMARKS):
        msg = f"no such benchmark: {', '.join(sorted(unknown))}"
        raise argparse.ArgumentTypeError(msg)
    return names


def _run(name: str, quick: bool, out: Path, console: Console) -> dict[str, Any]:
    benchmark = BENCHMARKS[name]
    results = benchmark.measure(quick)
    console.print(benchmark.table(results))
    if isinstance(benchmark, ChartedBenchmark):
        benchmark.draw(results, out / f"{name}.svg")
    return asdict(results, value_serializer=_round)


def _round(_: type | None, __: Attribute[Any] | None, value: Any) -> Any:
    return float(f"{value:.6g}") if isinstance(value, float) else value


if __name__ == "__main__":
    main()
