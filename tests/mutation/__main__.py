"""`python -m mutation`: tells what came of the mutants that `mutmut run` has tried, module by module."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from collections.abc import Iterable, Iterator

from attrs import frozen
from bench.tables import text
from rich.console import Console

LEAST = 90.0
"""Percents of the mutants that have to be noticed."""

_UNTRIED = "not checked"
_NOTICED = ("killed", "timeout")


@frozen
class Mutant:
    """One change of the code, and what came of it."""

    module: str
    name: str
    status: str


def main() -> int:
    """Print the survivors and the table; the status says whether enough mutants were noticed."""
    tried = [mutant for mutant in read(_results()) if mutant.status != _UNTRIED]
    console = Console()
    for mutant in tried:
        if mutant.status not in _NOTICED:
            console.out(f"{mutant.name}: {mutant.status}")
    console.out(table(tried))
    return 0 if percentage(mutant.status for mutant in tried) >= LEAST else 1


def read(results: str) -> Iterator[Mutant]:
    """Read what `mutmut results` prints."""
    for line in results.splitlines():
        name, _, status = line.strip().rpartition(": ")
        if name:
            yield Mutant(name.split(".")[1], name, status)


def table(mutants: Iterable[Mutant]) -> str:
    """Count what came of the mutants: those that no test runs have survived, those that never end were noticed."""
    of_module: dict[str, list[str]] = {}
    for mutant in mutants:
        of_module.setdefault(mutant.module, []).append(mutant.status)
    rows = [(module, *_figures(statuses)) for module, statuses in sorted(of_module.items())]
    in_all = [status for statuses in of_module.values() for status in statuses]
    columns = ("module", "mutants", "killed", "survived", "timeouts", "%")
    return text("Mutants", columns, [*rows, ("in all", *_figures(in_all))])


def percentage(statuses: Iterable[str]) -> float:
    """Return how many percent of the mutants were noticed; 0 where there are none."""
    noticed = [status in _NOTICED for status in statuses]
    return 100 * sum(noticed) / max(len(noticed), 1)


def _figures(statuses: list[str]) -> tuple[str, ...]:
    count = Counter(statuses)
    killed, endless = (count[status] for status in _NOTICED)
    survived = len(statuses) - killed - endless
    return (*map(str, (len(statuses), killed, survived, endless)), f"{percentage(statuses):.1f}")


def _results() -> str:
    mutmut = [sys.executable, "-m", "mutmut", "results", "--all", "true"]
    return subprocess.run(mutmut, check=True, capture_output=True, text=True).stdout  # noqa: S603 - as it stands here


if __name__ == "__main__":
    sys.exit(main())
