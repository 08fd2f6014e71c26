"""One run of the suite, and its report."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import httpx
from attrs import frozen
from bench.tables import text

from clanforge_async import ClanforgeClient, JobWatcher, WatchResult
from conformance.adapter import Operation, OperationTransport
from conformance.scenarios import Scenario, read_scenarios
from conformance.server import read_swagger, run_server

INTERVAL = 1 / 16
"""Seconds between polls; a power of two, whose multiples a virtual clock reaches exactly."""

OUTAGE_TOLERANCE = 0.5
"""Seconds of malformed answers before a watch gives up; the suite's other errors are gone at the next poll."""


@frozen
class ScenarioResult:
    """The end of one scenario.

    Attributes:
        scenario: The scenario.
        result: How the watch of its operation ended.
    """

    scenario: Scenario
    result: WatchResult

    @property
    def error(self) -> str:
        """The name of the error that the watch ended with, or ``completed``."""
        return _describe(None if self.result.error is None else type(self.result.error))

    @property
    def expected(self) -> str:
        """The same, as it has to be."""
        return _describe(self.scenario.expected_error)


def _describe(error: type[Exception] | None) -> str:
    return "completed" if error is None else error.__name__


def _describe_status(status: int) -> str:
    return f"malformed, with HTTP {status}" if httpx.codes.is_success(status) else f"HTTP {status}"


@frozen
class Report:
    """The results of a run.

    Attributes:
        results: The end of each scenario.
        errors: How many answers reached the client as they were, by their status; with a 2xx they were malformed.
        coverage: How often the server saw each scenario through, by its own names for them.
    """

    results: Sequence[ScenarioResult]
    errors: Mapping[int, int]
    coverage: Mapping[str, int]

    @property
    def failures(self) -> list[str]:
        """Every difference from a good run, in words."""
        unexpected = [each for each in self.results if each.error != each.expected]
        return [
            *(f"{each.scenario.name}: {each.error} instead of {each.expected}" for each in unexpected),
            *(f"{name}: not covered by the server's count" for name, count in self.coverage.items() if not count),
        ]

    def __str__(self) -> str:
        """The results as a table."""
        as_expected = Counter(each.expected for each in self.results if each.error == each.expected)
        rows = [
            ["scenarios", f"{len(self.results)}"],
            ["ended as expected", f"{as_expected.total()}"],
            *([f"  {expected}", f"{count}"] for expected, count in as_expected.most_common()),
            ["polls", f"{sum(each.result.polls for each in self.results)}"],
            *([f"  {_describe_status(status)}", f"{count}"] for status, count in sorted(self.errors.items())),
            ["covered, as the server counts", f"{sum(map(bool, self.coverage.values()))} of {len(self.coverage)}"],
        ]
        return text("long-running operations", ["", ""], rows)


async def run(package: Path) -> Report:
    """Watch every scenario of the suite, all at the same time.

    Args:
        package: The folder of the server's npm package.
    """
    scenarios = read_scenarios(read_swagger(package))
    async with run_server(package) as server:
        operations = [Operation(scenario, server.base_url) for scenario in scenarios]
        transport = OperationTransport(operations, httpx.AsyncHTTPTransport())
        results = await watch(transport)
        coverage = await server.read_coverage()
    ended = [ScenarioResult(*pair) for pair in zip(scenarios, results, strict=True)]
    return Report(ended, transport.errors, coverage)


async def watch(transport: OperationTransport) -> list[WatchResult]:
    """Return how the watch of each operation ended. Closes the transport."""
    async with (
        ClanforgeClient(("key", "secret"), base_url="http://localhost", max_rate=None, transport=transport) as client,
        JobWatcher(client, interval=INTERVAL, outage_tolerance=OUTAGE_TOLERANCE) as watcher,
    ):
        return await watcher.wait_all(transport.refs)
