"""`python -m bench`: measures what the project claims, and writes the figures and the pictures of them."""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

from attrs import Attribute, asdict
from rich.console import Console

from bench import notice, scale, transports
from bench.machine import Machine
from bench.part import Drawn, Part

PARTS: dict[str, Part[Any]] = {
    "notice": notice,
    "scale": scale,
    "transports": transports,
}
"""Everything that is measured, by the names that ``--only`` knows."""


def main() -> None:
    """Measure what is asked for."""
    asked = _parser().parse_args()
    out: Path = asked.out
    out.mkdir(parents=True, exist_ok=True)
    console, machine = Console(soft_wrap=True, highlight=False, markup=False), Machine()
    console.print(str(machine))
    everything: dict[str, Any] = {"machine": asdict(machine), "quick": asked.quick}
    for name in asked.only:
        began = time.perf_counter()
        everything[name] = _run(name, asked.quick, out, console)
        console.print(f"{name} took {time.perf_counter() - began:.0f} s\n")
    if asked.quick:
        console.print("quick: too little was measured to hold it against the bars")
    (out / "figures.json").write_text(json.dumps(everything, indent=2) + "\n", encoding="utf-8")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="less precise, within a minute")
    parser.add_argument("--out", type=Path, default=Path("docs/bench"), metavar="DIR", help="default: %(default)s")
    parser.add_argument("--only", type=_names, default=list(PARTS), metavar="PARTS", help=f"some of {','.join(PARTS)}")
    return parser


def _names(listed: str) -> list[str]:
    names = listed.split(",")
    if unknown := set(names) - set(PARTS):
        msg = f"no such part: {', '.join(sorted(unknown))}"
        raise argparse.ArgumentTypeError(msg)
    return names


def _run(name: str, quick: bool, out: Path, console: Console) -> dict[str, Any]:
    part = PARTS[name]
    figures = part.measure(quick)
    console.print(part.table(figures))
    if isinstance(part, Drawn):
        part.draw(figures, out / f"{name}.svg")
    return asdict(figures, value_serializer=_rounded)


def _rounded(_: type | None, __: Attribute[Any] | None, value: Any) -> Any:
    return float(f"{value:.6g}") if isinstance(value, float) else value


if __name__ == "__main__":
    main()
