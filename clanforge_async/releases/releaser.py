"""The releaser: takes images from a build to the machines that run it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from functools import partial
from types import TracebackType
from typing import Self

from attrs import fields_dict

from clanforge_async._polling.history import JobHistory
from clanforge_async._validation import flag, is_number
from clanforge_async.client import ClanforgeClient
from clanforge_async.errors import ConfigurationError
from clanforge_async.releases.abort import AbortRun
from clanforge_async.releases.actions import Approve, Services
from clanforge_async.releases.digest import PlanDigest
from clanforge_async.releases.journal import Journal, make_writer
from clanforge_async.releases.labels import labelled_by_image_and_step
from clanforge_async.releases.options import NO_LIMITS, OnEvent, RunOptions, Unknown, check_timeout, make_options
from clanforge_async.releases.plan import make_plan
from clanforge_async.releases.release import ImageRelease, ReleaseStep
from clanforge_async.releases.results import AbortResult, ReleasePlan, ReleaseResult
from clanforge_async.releases.run import ReleaseRun
from clanforge_async.releases.state import ReleaseRules
from clanforge_async.releases.token import Decision, ReleaseToken
from clanforge_async.watcher import JobWatcher

PLAN_PARTS = frozenset(fields_dict(PlanDigest))
"""The parts of a release's plan that a token is checked against."""


class Releaser:
    """Takes images from a build to the machines that run it.

    A release checks the image, has the build machine pull the build, compares it with the image, asks for approval,
    makes a version and waits until the machines run it. It can be cut off at any moment: the token in the journal, and
    the one of each event and error, resumes it, and no call that has had its effect is made again.

    Nothing that a release did not create is ever rejected or retried. At most one release of an image runs at a time.
    At most one is between update and diff on a build machine, since nothing locks the build in between. The others wait
    their turn, in the order given, and send nothing.

    Use it as an async context manager, or close it with `aclose`; the client stays open.

    Args:
        client: The client.
        watcher: The watcher of all jobs; None: one of the releaser's own. Its ``outage_tolerance`` holds for the
            rollout as well.
        journal: Keeps the tokens. A function, plain or async, that takes a `ReleaseToken`; the path of a file; or the
            path of a folder, which exists or ends with a slash, for a file for each image. It is awaited before each
            call with a side effect and after each answer; if it fails, the call is not made.
        exclusive: Your promise that nothing else releases these images. Then the job created by a call whose answer was
            lost is recognized by its lock and adopted, and an update or diff that holds no lock is created anew.
        lock_wait: Seconds to wait until somebody else's lock is gone.
        job_retries: Retries of an update or diff that failed, for each.
        settle: Seconds after a version's end in which its rollout begins; without any install by then, there was none.
        tolerate_failed: Machines that may fail beyond those that had failed before.
        history: Durations of earlier jobs, for the releaser's own watcher. Unless its ``label`` is assigned, runs are
            labelled by image and step, such as ``image-501/update``.

    Raises:
        ConfigurationError: An argument has an unusable value.
    """

    def __init__(
        self,
        client: ClanforgeClient,
        *,
        watcher: JobWatcher | None = None,
        journal: Journal | None = None,
        exclusive: bool = False,
        lock_wait: float = 0.0,
        job_retries: int = 0,
        settle: float = 120.0,
        tolerate_failed: int = 0,
        history: JobHistory | None = None,
    ) -> None:
        for name, seconds in (("lock_wait", lock_wait), ("settle", settle)):
            if not is_number(seconds) or seconds < 0:
                msg = f"{name} must be a number of seconds, not negative"
                raise ConfigurationError(msg)
        for name, count in (("job_retries", job_retries), ("tolerate_failed", tolerate_failed)):
            if not isinstance(count, int) or isinstance(count, bool) or count < 0:
                msg = f"{name} must be an int, not negative"
                raise ConfigurationError(msg)
        if watcher is not None and history is not None:
            msg = "a watcher has a history of its own: give one of the two"
            raise ConfigurationError(msg)
        self._own_watcher: JobWatcher | None = None
        if watcher is None:
            if isinstance(history, JobHistory):
                history = labelled_by_image_and_step(history)
            watcher = self._own_watcher = JobWatcher(client, history=history)
        self._services = Services(client, watcher, make_writer(journal))
        self._runs: set[ReleaseRun] = set()
        self._closed = False
        self._rules = partial(
            ReleaseRules,
            exclusive=exclusive,
            lock_wait=lock_wait,
            job_retries=job_retries,
            settle=settle,
            tolerate_failed=tolerate_failed,
            outage_tolerance=watcher._policy.outage_tolerance,  # noqa: SLF001 - no concern of the watcher's users
        )
        self._exclusive = exclusive

    async def run(
        self,
        release: ImageRelease,
        *,
        approve: Approve = None,
        resume: ReleaseToken | str | None = None,
        unknown: Unknown = "raise",
        timeout: float | None = None,  # noqa: ASYNC109 - the release's, with an error of its own
        step_timeouts: Mapping[ReleaseStep, float] = NO_LIMITS,
        on_event: OnEvent | None = None,
    ) -> ReleaseResult:
        """Release an image, and return how that ended.

        A cancellation, a timeout and an error send nothing any more; the server's job goes on, and the error's token
        resumes the release.

        Args:
            release: The release.
            approve: Whether the diff is approved: a function, plain or async, that takes the `ImageDiffJob` and returns
                a ``bool``; the answer itself; None: yes; ``"hold"``: end here, with a token to be resumed with True or
                False. A diff that is not approved is rejected. An empty one is not asked about.
            resume: Token of the same release, to go on with. It is not checked that the options that do not tell which
                build it is are the same: the new ones hold from here on.
            unknown: ``"repeat"`` is a person's word that the call whose outcome the token leaves open had no effect.
            timeout: Seconds for the whole release; None: no limit.
            step_timeouts: Seconds for single steps.
            on_event: Called with each `ReleaseEvent`; may be plain or async. If it raises, the error is logged.

        Raises:
            TypeError: An argument has another type.
            ConfigurationError: The token is of another release, or held, and ``approve`` is missing; the client or the
                releaser is closed; the client has no account service id, which a rollout needs.
            ReleaseRejectedError: The diff was not approved, and is rejected.
            ReleaseSupersededError: A newer version is being installed instead.
            RolloutError: The rollout ended with more failed machines than tolerated.
            ReleaseTimeoutError: A timeout passed.
            ReleaseError: Anything else; the reason is the cause: `ImageLockedError`, `JobFailedError`,
                `OutcomeUnknownError`, ...
        """
        options = make_options(approve, timeout, step_timeouts, on_event, unknown)
        return (await self._start(release, options, resume)).unwrap()

    async def run_all(
        self,
        releases: Iterable[ImageRelease],
        *,
        approve: Approve = None,
        unknown: Unknown = "raise",
        timeout: float | None = None,  # noqa: ASYNC109 - see run
        step_timeouts: Mapping[ReleaseStep, float] = NO_LIMITS,
        on_event: OnEvent | None = None,
    ) -> list[ReleaseResult]:
        """Release several images at a time, and return the results in their order. Never raises for a release.

        Args:
            releases: The releases. Those that share a build machine take turns there in this order.
            approve: As in `run`, for each.
            unknown: As in `run`.
            timeout: As in `run`, for each.
            step_timeouts: As in `run`, for each.
            on_event: As in `run`.

        Raises:
            TypeError: An argument has another type.
            ConfigurationError: The releaser is closed.
        """
        options = make_options(approve, timeout, step_timeouts, on_event, unknown)
        checked = [_checked_release(release) for release in releases]
        self._check_open()
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(self._start(release, options)) for release in checked]
        return [task.result() for task in tasks]

    async def _start(
        self,
        release: ImageRelease,
        options: RunOptions,
        resume: ReleaseToken | str | None = None,
        parts: frozenset[str] = PLAN_PARTS,
    ) -> ReleaseResult:
        """Do the same as `run`, but return the result in every case.

        Args:
            release: The release.
            options: How it is driven.
            resume: As in `run`.
            parts: The parts of the plan that the token is checked against.
        """
        token = _token_of(_checked_release(release), resume, parts)
        if token.decision is Decision.HELD and options.approve is None:
            msg = "a held release is resumed with approve=True or approve=False"
            raise ConfigurationError(msg)
        self._check_open()
        run = ReleaseRun(self._services, self._rules(release=release), token, options)
        self._runs.add(run)
        try:
            return await run.run()
        finally:
            self._runs.discard(run)

    async def check(self, release: ImageRelease) -> ReleasePlan:
        """Read what a release would meet, and send nothing else: a dry run.

        What would end the release, and any error of the reads, is among the plan's ``problems``.

        Args:
            release: The release.

        Raises:
            TypeError: It is no `ImageRelease`.
            ConfigurationError: The releaser is closed.
        """
        token = _token_of(_checked_release(release), None, PLAN_PARTS)
        self._check_open()
        return await make_plan(self._services, release, token)

    async def abort(
        self,
        token: ReleaseToken | str,
        *,
        reinstall: bool = True,
        timeout: float | None = None,  # noqa: ASYNC109 - see run
    ) -> AbortResult:
        """Free the image of what a release created, and of nothing else.

        Waits for an update or diff of the release that runs, since neither can be cancelled; rejects the diff, if it
        holds the image; and reads that the lock is gone. A version that was made is too late to abort.

        Args:
            token: The release's token.
            reinstall: Return the build machine's files to the last known good state. False: leave the new ones.
            timeout: Seconds; None: no limit.

        Raises:
            TypeError, ConfigurationError: As in `run`.
            ReleaseTimeoutError: The timeout passed.
            ReleaseError: The abort failed; the reason is the cause.
        """
        token = _to_token(token)
        flag(reinstall, "reinstall")
        check_timeout(timeout)
        self._check_open()
        turn = self._services.turns.join(("image", token.image_id))
        try:
            run = AbortRun(self._services, token, exclusive=self._exclusive, reinstall=reinstall)
            return await run.run(turn, timeout)
        finally:
            turn.leave()

    async def aclose(self) -> None:
        """End the releases that run, each with a `ReleaseError`, and close the releaser's own watcher."""
        self._closed = True
        for run in tuple(self._runs):
            run.stop()
        if self._own_watcher is not None:
            await self._own_watcher.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.aclose()

    def _check_open(self) -> None:
        if self._closed:
            msg = "the releaser is closed"
            raise ConfigurationError(msg)


def _checked_release(release: ImageRelease) -> ImageRelease:
    if isinstance(release, ImageRelease):
        return release
    msg = f"a release is an ImageRelease, not {type(release).__name__}"
    raise TypeError(msg)


def _to_token(token: ReleaseToken | str) -> ReleaseToken:
    if isinstance(token, ReleaseToken):
        return token
    try:
        return ReleaseToken.parse(token)
    except ValueError as error:
        raise ConfigurationError(str(error)) from None


def _token_of(release: ImageRelease, resume: ReleaseToken | str | None, parts: frozenset[str]) -> ReleaseToken:
    new = ReleaseToken(image_id=release.image_id, machine_id=release.machine_id, plan=release.digest)
    if resume is None:
        return new
    token = _to_token(resume)
    differences = [name for name in ("image_id", "machine_id") if getattr(token, name) != getattr(new, name)]
    differences += [name for name in token.plan.differences(new.plan) if name in parts]
    if differences:
        msg = f"the token is of another release: {', '.join(differences)} differ"
        raise ConfigurationError(msg)
    return token
