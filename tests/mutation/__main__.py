"""`python -m mutation`: summarizes the results of `mutmut run` by module."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from collections.abc import Iterable, Iterator

from attrs import frozen
from bench.text_table import text_table
from rich.console import Console

from mutation.names import module_of

MIN_KILLED = 90.0
"""Minimum percentage of killed mutants."""

_NOT_RUN = "not checked"
_KILLED = ("killed", "timeout")


@frozen
class Mutant:
    """A change of the code, and mutmut's status for it."""

    module: str
    name: str
    status: str


def main() -> int:
    """Print the survivors and the table; return 1 if too few mutants were killed."""
    mutants = [mutant for mutant in parse(_run_mutmut_results()) if mutant.status != _NOT_RUN]
    console = Console()
    for mutant in mutants:
        if mutant.status not in _KILLED:
            console.out(f"{mutant.name}: {mutant.status}")
    console.out(table(mutants))
    return 0 if percentage(mutant.status for mutant in mutants) >= MIN_KILLED else 1


def parse(results: str) -> Iterator[Mutant]:
    """Parse the output of `mutmut results`."""
    for line in results.splitlines():
        name, _, status = line.strip().rpartition(": ")
        if name:
            yield Mutant(module_of(name), name, status)


def table(mutants: Iterable[Mutant]) -> str:
    """Count mutants by status. Mutants that no test runs count as survivors, those that never end as killed."""
    of_module: dict[str, list[str]] = {}
    for mutant in mutants:
        of_module.setdefault(mutant.module, []).append(mutant.status)
    rows = [(module, *_counts(statuses)) for module, statuses in sorted(of_module.items())]
    total = [status for statuses in of_module.values() for status in statuses]
    columns = ("module", "mutants", "killed", "survived", "timeouts", "%")
    return text_table("Mutants", columns, [*rows, ("total", *_counts(total))])


def percentage(statuses: Iterable[str]) -> float:
    """Return the percentage of killed mutants; 0 if there are none."""
    killed = [status in _KILLED for status in statuses]
    return 100 * sum(killed) / max(len(killed), 1)


def _counts(statuses: list[str]) -> tuple[str, ...]:
    count = Counter(statuses)
    killed, timeouts = (count[status] for status in _KILLED)
    survived = len(statuses) - killed - timeouts
    return (*map(str, (len(statuses), killed, survived, timeouts)), f"{percentage(statuses):.1f}")


def _run_mutmut_results() -> str:
    mutmut = [sys.executable, "-m", "mutmut", "results", "--all", "true"]
    return subprocess.run(mutmut, check=True, capture_output=True, text=True).stdout  # noqa: S603 - a constant command


if __name__ == "__main__":
    sys.exit(main())
