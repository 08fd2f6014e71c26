"""One run of the suite, and its report."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import httpx
from attrs import frozen
from bench.text_table import text_table

from clanforge_async import (
    BadRequestError,
    ClanforgeClient,
    InvalidResponseError,
    JobWatcher,
    NotFoundError,
    WatchResult,
)
from conformance.adapter import Operation, OperationTransport
from conformance.scenarios import read_scenarios
from conformance.server import read_swagger, run_server

INTERVAL = 1 / 16
"""Seconds between polls; a power of two, whose multiples a virtual clock reaches exactly."""

OUTAGE_TOLERANCE = 0.5
"""Seconds of malformed responses before a watch gives up; the suite's other errors disappear at the next poll."""

_REFUSALS = (BadRequestError, NotFoundError)


@frozen
class ScenarioResult:
    """The end of one scenario.

    Attributes:
        operation: The scenario's operation.
        result: How its watch ended.
    """

    operation: Operation
    result: WatchResult

    @property
    def failure(self) -> str | None:
        """The difference from the expected end, in words."""
        expected = self.operation.scenario.expected_error
        error = None if self.result.error is None else type(self.result.error)
        if error is not expected:
            return f"{_describe(error)} instead of {_describe(expected)}"
        if expected in _REFUSALS and self.operation.errors.total() > 1:
            return "polled again after a refusal"
        if expected is InvalidResponseError and self.operation.errors.total() == 1:
            return "not polled again after a malformed answer"
        return None


def _describe(error: type[Exception] | None) -> str:
    return "completed" if error is None else error.__name__


def _describe_status(status: int) -> str:
    return f"malformed, with HTTP {status}" if httpx.codes.is_success(status) else f"HTTP {status}"


@frozen
class Report:
    """The results of a run.

    Attributes:
        results: The end of each scenario.
        coverage: How often the server saw each scenario through, by its own names for them.
    """

    results: Sequence[ScenarioResult]
    coverage: Mapping[str, int]

    @property
    def failures(self) -> list[str]:
        """Every difference from a good run, in words."""
        return [
            *(f"{each.operation.scenario.name}: {each.failure}" for each in self.results if each.failure),
            *(f"{name}: not covered by the server's count" for name, count in self.coverage.items() if not count),
        ]

    def __str__(self) -> str:
        """The results as a table."""
        expected = Counter(each.operation.scenario.expected_error for each in self.results if not each.failure)
        errors = sum((each.operation.errors for each in self.results), Counter[int]())
        rows = [
            ["scenarios", f"{len(self.results)}"],
            ["ended as expected", f"{expected.total()}"],
            *([f"  {_describe(error)}", f"{count}"] for error, count in expected.most_common()),
            ["polls", f"{sum(each.result.polls for each in self.results)}"],
            *([f"  {_describe_status(status)}", f"{errors[status]}"] for status in sorted(errors)),
            ["covered, as the server counts", f"{sum(map(bool, self.coverage.values()))} of {len(self.coverage)}"],
        ]
        return text_table("long-running operations", ["", ""], rows)


async def run(package: Path) -> Report:
    """Watch every scenario of the suite, all at the same time.

    Args:
        package: The folder of the server's npm package.
    """
    scenarios = read_scenarios(read_swagger(package))
    async with run_server(package) as server:
        results = await watch([Operation(each, server.base_url) for each in scenarios], httpx.AsyncHTTPTransport())
        return Report(results, await server.read_coverage())


async def watch(operations: Sequence[Operation], inner: httpx.AsyncBaseTransport) -> list[ScenarioResult]:
    """Watch operations to their ends.

    Args:
        operations: The operations.
        inner: Sends their requests; closed at the end.
    """
    transport = OperationTransport(operations, inner)
    async with (
        ClanforgeClient(("key", "secret"), base_url="http://localhost", max_rate=None, transport=transport) as client,
        JobWatcher(client, interval=INTERVAL, outage_tolerance=OUTAGE_TOLERANCE) as watcher,
    ):
        results = await watcher.wait_all(transport.refs)
    return [ScenarioResult(*pair) for pair in zip(operations, results, strict=True)]
