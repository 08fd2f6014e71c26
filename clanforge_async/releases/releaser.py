"""The releaser: releases images, from the build to the machines that run it."""

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
"""The parts of a plan that must be the same in a release and in the token with which it is resumed."""


class Releaser:
    """Releases images, from the build to the machines that run it.

    A release checks the image, starts an update that pulls the build, compares the build with the image, asks for
    approval, creates a version and waits until the machines run it. It can be interrupted at any moment. The token in
    the journal, in each event and in each error resumes it, and no call that has taken effect is sent again.

    A release never rejects or retries a job that it did not create. At most one release of an image runs at a time. At
    most one release is between update and diff on a build machine, since nothing locks the build in between. The
    others wait in the order given, and send nothing meanwhile.

    Use it as an async context manager, or close it with `aclose`; the client stays open.

    Args:
        client: The client.
        watcher: The watcher of all jobs; None: the releaser creates one. Its ``outage_tolerance`` also applies to the
            rollout.
        journal: Stores the tokens: a function, plain or async, that takes a `ReleaseToken`; the path of a file; or the
            path of a folder, which exists or ends with a slash, with a file for each image. It is awaited before each
            call with a side effect and after each response; if it fails, the call is not sent.
        exclusive: Your guarantee that nothing else releases these images. Then the job created by a call whose response
            was lost is found by its lock and adopted, and an update or diff that locks no image is created again.
        lock_wait: Seconds to wait until another client's lock is gone.
        job_retries: Largest number of retries of a failed update, and of a failed diff.
        settle: Seconds after a version's end in which its rollout begins; if no install is seen by then, the rollout
            counts as over.
        tolerate_failed: Number of machines that may fail in addition to those that had failed before.
        history: Durations of earlier runs, for the watcher that the releaser creates. Unless you assign its ``label``,
            runs are labelled by image and step, such as ``image-501/update``.

    Raises:
        ConfigurationError: An argument is invalid.
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
            msg = "a watcher has its own history: pass a watcher or a history, not both"
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
            outage_tolerance=watcher._policy.outage_tolerance,  # noqa: SLF001 - not part of the watcher's public interface
        )
        self._exclusive = exclusive

    async def run(
        self,
        release: ImageRelease,
        *,
        approve: Approve = None,
        resume: ReleaseToken | str | None = None,
        unknown: Unknown = "raise",
        timeout: float | None = None,  # noqa: ASYNC109 - the release's, which raises its own error
        step_timeouts: Mapping[ReleaseStep, float] = NO_LIMITS,
        on_event: OnEvent | None = None,
    ) -> ReleaseResult:
        """Release an image, and return the result.

        After a cancellation, a timeout or an error nothing more is sent. The server's job continues, and the error's
        token resumes the release.

        Args:
            release: The release.
            approve: Whether the diff is approved. A function, plain or async, that takes the `ImageDiffJob` and returns
                a ``bool``; or the decision itself. None: approved. ``"hold"``: end here, with a token to resume with
                True or False. A diff that is not approved is rejected. An empty diff needs no approval.
            resume: Token of the same release, to continue it. Options that do not identify the build may differ from
                those of the token's release; the new ones apply from here on.
            unknown: ``"repeat"`` confirms that the call with unknown outcome in the token had no effect.
            timeout: Seconds for the whole release; None: no limit.
            step_timeouts: Seconds for each step.
            on_event: Called with each `ReleaseEvent`; may be plain or async. If it raises, the error is logged.

        Raises:
            TypeError: An argument has another type.
            ConfigurationError: The token is of another release; the release is held and ``approve`` is missing; the
                client or the releaser is closed; the client has no account service id, which a rollout needs.
            ReleaseRejectedError: The diff was not approved and has been rejected.
            ReleaseSupersededError: A newer version is being installed instead.
            RolloutError: The rollout ended with more failed machines than tolerated.
            ReleaseTimeoutError: A timeout expired.
            ReleaseError: Anything else; the reason is chained as the cause, such as an `ImageLockedError`, a
                `JobFailedError` or an `OutcomeUnknownError`.
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
            releases: The releases. Those that share a build machine use it one after another, in this order.
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
        """Do the same as `run`, but always return the result instead of raising.

        Args:
            release: The release.
            options: Options of this run.
            resume: As in `run`.
            parts: The parts of the plan that must be the same in the release and the token.
        """
        token = _token_of(_checked_release(release), resume, parts)
        if token.decision is Decision.HELD and options.approve is None:
            msg = "pass approve=True or approve=False to resume a held release"
            raise ConfigurationError(msg)
        self._check_open()
        run = ReleaseRun(self._services, self._rules(release=release), token, options)
        self._runs.add(run)
        try:
            return await run.run()
        finally:
            self._runs.discard(run)

    async def check(self, release: ImageRelease) -> ReleasePlan:
        """Plan a release without starting it (dry run): only reads are sent.

        The plan's ``problems`` list everything that would end the release, and the errors of the reads.

        Args:
            release: The release.

        Raises:
            TypeError: ``release`` is not an `ImageRelease`.
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
        """Remove the lock that a release holds on its image, and no other lock.

        Waits for the running update or diff of the release, since neither can be cancelled; rejects the diff if it
        locks the image; then reads whether the lock is gone. Once the version is being packaged, it is too late.

        Args:
            token: The release's token.
            reinstall: Restore the build machine to its last known good state. False: keep its new files.
            timeout: Seconds; None: no limit.

        Raises:
            TypeError, ConfigurationError: As in `run`.
            ReleaseTimeoutError: The timeout expired.
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
        """End all running releases with a `ReleaseError`, and close the watcher that the releaser created."""
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
    msg = f"release must be an ImageRelease, not {type(release).__name__}"
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
