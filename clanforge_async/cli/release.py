"""The commands about releases: start, resume, abort, and a dry run."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Generator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, Literal

from clanforge_async import (
    AbortResult,
    ConfigurationError,
    ImageDiffJob,
    ReleaseError,
    ReleaseEvent,
    ReleasePlan,
    Releaser,
    ReleaseResult,
    ReleaseTimeoutError,
    ReleaseToken,
)
from clanforge_async.cli.commands import TICK, report_outages
from clanforge_async.cli.errors import COMPLETED, exit_status, format_error
from clanforge_async.cli.formatting import escape, print_err, print_line
from clanforge_async.cli.outages import ApiMonitor, Outage, Recovery
from clanforge_async.cli.output.base import Output
from clanforge_async.cli.output.jsonl import print_json
from clanforge_async.cli.output.select import OutputOptions
from clanforge_async.cli.parameters import ConnectionOptions
from clanforge_async.cli.release_errors import format_release_error, is_over, is_resumable
from clanforge_async.cli.release_inputs import Input, new_inputs, read_targets, resumed_inputs
from clanforge_async.cli.release_parameters import AbortOptions, Answer, BuildOptions, ExecutionOptions
from clanforge_async.releases.options import RunOptions
from clanforge_async.releases.token import Decision

_MAX_FILES = 40
"""Files of a diff that are listed before the question."""

Choice = bool | Literal["hold", "ask"] | None


async def start(
    connection: ConnectionOptions, build: BuildOptions, execution: ExecutionOptions, output: OutputOptions
) -> int:
    """Release images."""
    inputs = new_inputs(build)
    choice = Answer().choose(execution, is_terminal=_is_terminal())
    return await _run(connection, inputs, execution, output, choice=choice, repeat=False)


async def resume(
    connection: ConnectionOptions,
    targets: Sequence[str],
    build: BuildOptions,
    execution: ExecutionOptions,
    output: OutputOptions,
    *,
    answer: Answer,
    repeat: bool,
) -> int:
    """Resume releases."""
    inputs = resumed_inputs(targets, build)
    open_decisions = (None, Decision.HELD)
    is_open = any(each.token is not None and each.token.decision in open_decisions for each in inputs)
    choice = answer.choose(execution, is_terminal=_is_terminal() or not is_open)
    return await _run(connection, inputs, execution, output, choice=choice if is_open else None, repeat=repeat)


async def check(
    connection: ConnectionOptions, build: BuildOptions, execution: ExecutionOptions, output: OutputOptions
) -> int:
    """Print the calls that releases would send, and the problems that would end them."""
    inputs, status = new_inputs(build), COMPLETED
    async with (
        connection.client() as client,
        execution.watcher(client) as watcher,
        execution.releaser(client, watcher) as releaser,
    ):
        report_outages(client)
        for each in inputs:
            plan = await releaser.check(each.release)
            _show_plan(plan, output)
            status = max([status, *map(exit_status, plan.problems)])
    return status


async def abort(
    connection: ConnectionOptions, targets: Sequence[str], options: AbortOptions, output: OutputOptions
) -> int:
    """Remove the locks that releases hold on their images."""
    status = COMPLETED
    async with connection.client() as client, options.releaser(client) as releaser:
        report_outages(client)
        for entry in read_targets(targets):
            try:
                result = await releaser.abort(entry.token, timeout=options.timeout)
            except ReleaseError as error:
                print_err(format_release_error(error))
                status = max(status, exit_status(error))
            else:
                _show_abort(entry.token, result, output)
    return status


async def _run(
    connection: ConnectionOptions,
    inputs: Sequence[Input],
    execution: ExecutionOptions,
    options: OutputOptions,
    *,
    choice: Choice,
    repeat: bool,
) -> int:
    async with (
        connection.client() as client,
        execution.watcher(client) as watcher,
        execution.releaser(client, watcher) as releaser,
    ):
        api = report_outages(client)
        output = options.select_for_releases([each.release.image_id for each in inputs], api)
        group = _Group(inputs, output, api, choice, may_repeat=repeat, timeout=execution.timeout)
        try:
            with output:
                output.begin(watcher)
                api.begin_watch(group.show_outage, watcher, execution.timeout)
                results = await group.run(releaser)
        except BaseException as error:
            if not isinstance(error, ConfigurationError):
                group.print_resume_command("Interrupted.")
            raise
    for result in results:
        _report(result)
    group.print_resume_command("Not finished.")
    failures = [result.error for result in results if result.error is not None and not result.ok]
    return max(map(exit_status, failures), default=COMPLETED)


class _Group:
    """Releases that run together, shown on one output.

    Args:
        inputs: The releases.
        output: The output that shows them.
        api: The API.
        choice: The decision about a diff.
        may_repeat: Whether the user has confirmed that the call with unknown outcome had no effect.
        timeout: Seconds for each release.
    """

    def __init__(
        self,
        inputs: Sequence[Input],
        output: Output,
        api: ApiMonitor,
        choice: Choice,
        *,
        may_repeat: bool,
        timeout: float | None,
    ) -> None:
        self._inputs = inputs
        self._output = output
        self._api = api
        approve = self._ask if choice == "ask" else choice
        self._options = RunOptions(approve=approve, may_repeat=may_repeat, timeout=timeout, on_event=self._show)
        self._tokens = {each.release.image_id: each.token for each in inputs if each.token is not None}
        self._asking = asyncio.Lock()
        self._broken: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def run(self, releaser: Releaser) -> list[ReleaseResult]:
        """Run the releases, show each result as soon as it is known, and return the results in order."""
        tasks = [asyncio.create_task(self._run_one(releaser, each)) for each in self._inputs]
        try:
            waiting: set[asyncio.Future[Any]] = {*tasks}
            while waiting:
                done, waiting = await asyncio.wait(
                    {*waiting, self._broken}, timeout=TICK, return_when=asyncio.FIRST_COMPLETED
                )
                waiting.discard(self._broken)
                for task in done:
                    task.result()
                self._output.tick()
            return [task.result() for task in tasks]
        finally:
            self._broken.cancel()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def print_resume_command(self, reason: str) -> None:
        """Print the command that resumes the releases that have not ended, if any."""
        tokens = [token for token in self._tokens.values() if is_resumable(token)]
        if tokens:
            print_err(f"{reason} Resume with: clanforge release resume {' '.join(map(str, tokens))}")

    def show_outage(self, event: Outage | Recovery) -> None:
        """Show an outage, or its end."""
        with self._breaking():
            if isinstance(event, Outage):
                self._output.outage(event)
            else:
                self._output.recovery(event)

    async def _run_one(self, releaser: Releaser, each: Input) -> ReleaseResult:
        result = await releaser._start(each.release, self._options, each.token, each.parts)  # noqa: SLF001 - with parts
        self._add_last_failure(result.error)
        if is_over(result):
            self._tokens.pop(result.image_id, None)
        else:
            self._tokens[result.image_id] = result.token
        self._output.release_result(result)
        return result

    def _add_last_failure(self, error: Exception | None) -> None:
        if isinstance(error, ReleaseTimeoutError) and self._api.outage is not None:
            error.__cause__ = self._api.outage.error

    def _show(self, event: ReleaseEvent) -> None:
        self._tokens[event.release.image_id] = event.token
        with self._breaking():
            self._output.release_event(event)

    @contextmanager
    def _breaking(self) -> Generator[None]:
        """End the command if stdout fails: the code that calls the callback would only log the error."""
        try:
            yield
        except OSError as error:
            with suppress(asyncio.InvalidStateError):
                self._broken.set_exception(error)

    async def _ask(self, diff: ImageDiffJob) -> bool:
        async with self._asking:
            with self._output.paused():
                for line in _list_files(diff):
                    print_err(line)
                return await _read_answer(diff)


def _list_files(diff: ImageDiffJob) -> list[str]:
    files = [
        f"{mark} {escape(path)}"
        for mark, paths in (("+", diff.added), ("*", diff.modified), ("-", diff.removed))
        for path in sorted(paths)
    ]
    more = [f"... and {len(files) - _MAX_FILES} more"] if len(files) > _MAX_FILES else []
    return [f"image-diff/{diff.id}: {len(files)} files differ", *files[:_MAX_FILES], *more]


async def _read_answer(diff: ImageDiffJob) -> bool:
    answers = {"y": True, "yes": True, "n": False, "no": False}
    while True:
        try:
            print_err(f"Release image-diff/{diff.id}? [y/n]")  # `input` would print it to stdout
            text = await asyncio.to_thread(input)
        except EOFError:
            msg = "the question was not answered: resume with --approve or --reject"
            raise ConfigurationError(msg) from None
        if (answer := answers.get(text.strip().lower())) is not None:
            return answer


def _is_terminal() -> bool:
    return all(stream is not None and stream.isatty() for stream in (sys.stdin, sys.stdout))


def _report(result: ReleaseResult) -> None:
    if result.outcome == "held":
        print_err(f"image {result.image_id} is held: resume with --approve or --reject")
    elif not result.ok and result.error is not None:
        print_err(format_release_error(result.error))


def _show_plan(plan: ReleasePlan, options: OutputOptions) -> None:
    if options.as_json:
        problems = [str(problem) for problem in plan.problems]
        lock = None if plan.lock is None else str(plan.lock)
        record = {"event": "plan", "image": plan.image_id, "lock": lock, "steps": [*plan.steps], "problems": problems}
        print_json(record | {"ok": plan.ok})
        return
    for step in plan.steps:
        print_line(f"{plan.image_id}  {escape(step)}")
    for problem in plan.problems:
        print_err(f"image {plan.image_id}: {format_error(problem)}")


def _show_abort(token: ReleaseToken, result: AbortResult, options: OutputOptions) -> None:
    lock, version = (None if ref is None else str(ref) for ref in (result.lock, result.version))
    if options.as_json:
        record = {"event": "abort", "image": token.image_id, "rejected": result.rejected}
        print_json(record | {"lock": lock, "version": version})
        return
    done = "the diff is rejected" if result.rejected else "nothing to reject"
    late = "" if version is None else f"; too late, {version} is being rolled out"
    held = "" if lock is None else f"; the image is still locked by {lock}"
    print_line(f"{token.image_id}  {done}{late}{held}")
