"""The policy and the state of a watch. A state can be converted to plain data and passed to another process."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self, cast

from attrs import Attribute, Factory, field, frozen
from tenacity import AsyncRetrying

from clanforge_async._codec.jobs import job_from_dict, job_to_dict
from clanforge_async._polling.forecast import ForecastState
from clanforge_async._polling.server_clock import ServerClock
from clanforge_async._polling.strategy import Interval, strategy, until_eta
from clanforge_async._validation import is_number
from clanforge_async._watching.options import ref_of
from clanforge_async._watching.serialization import (
    error_from_plain,
    error_to_plain,
    number_or,
    with_ref,
    without_listings,
)
from clanforge_async.errors import ClanforgeError, ConfigurationError, InvalidResponseError
from clanforge_async.jobs import Job
from clanforge_async.refs import JobRef


def _check_seconds(_policy: WatchPolicy, attribute: Attribute[float], value: object) -> None:
    if not is_number(value) or value < 0:
        msg = f"{attribute.name} must be a number of seconds, not negative"
        raise ConfigurationError(msg)


def _controller(policy: WatchPolicy) -> AsyncRetrying:
    return strategy(policy.interval)


@frozen(kw_only=True)
class WatchPolicy:
    """The rules by which a watch reacts to poll results.

    Attributes:
        interval: Seconds between polls, or any tenacity wait strategy.
        outage_tolerance: Seconds for which all polls may fail before the watch gives up.
        stale_after: Seconds without a status newer than the reference's ``newer_than`` before the watch gives up.
        retrying: tenacity's controller with the wait strategy; it only computes pauses.

    Raises:
        ConfigurationError: An argument is invalid.
    """

    interval: Interval = field(factory=until_eta)
    outage_tolerance: float = field(default=300.0, validator=_check_seconds)
    stale_after: float = field(default=120.0, validator=_check_seconds)
    retrying: AsyncRetrying = field(init=False, repr=False, eq=False, default=Factory(_controller, takes_self=True))


def _comparable(error: ClanforgeError | None) -> object:
    # Errors are equal only to themselves, but a state that went through JSON must equal the original.
    return None if error is None else error_to_plain(error)


@frozen(kw_only=True)
class WatchState:
    """The whole state of a watch.

    As plain data it is usually smaller than 1 KiB, if it was created by `start`.

    Attributes:
        ref: The reference of the watched job.
        began: Time at which the watch began, in seconds on its driver's clock, whose zero is arbitrary.
        last_job: The last snapshot seen, with the reference's ``newer_than``.
        last_news: The last snapshot that was an update.
        last_error: The last poll's failure; None if it did not fail.
        polls: Number of polls made.
        idle_for: Sum of the pauses between polls, in seconds.
        polls_without_news: Number of consecutive polls that failed or showed an earlier run.
        failing_since: Time of the first of the current series of failed polls, by the driver's clock; None: the last
            poll did not fail.
        stale_since: Time at which the server first showed a status older than ``ref.newer_than``, by the driver's
            clock; None: the last status was not older.
        forecast_state: The state of the forecast that the wait strategy uses.
        server_clock: The server's clock, as measured by the responses so far.
    """

    ref: JobRef
    began: float
    last_job: Job | None = None
    last_news: Job | None = None
    last_error: ClanforgeError | None = field(default=None, eq=_comparable, hash=False)
    polls: int = 0
    idle_for: float = 0.0
    polls_without_news: int = 0
    failing_since: float | None = None
    stale_since: float | None = None
    forecast_state: ForecastState = field(factory=ForecastState)
    server_clock: ServerClock = field(factory=ServerClock)

    @classmethod
    def start(cls, target: JobRef | Job, at: float) -> Self:
        """Return the state of a watch that begins now.

        Args:
            target: A job, or a reference to one.
            at: The current time, in seconds on the clock that all drivers of the watch share.

        Raises:
            TypeError: The target is neither a job nor a reference.
        """
        job = without_listings(target) if isinstance(target, Job) else None
        return cls(ref=ref_of(target), began=at, last_job=job)

    def to_dict(self) -> dict[str, Any]:
        """Return the state as plain data for JSON, without the listings of image diffs."""
        last_job, last_news = _job_to_plain(self.last_job), _job_to_plain(self.last_news)
        plain = {name: getattr(self, name) for name in _NUMBERS if getattr(self, name) != _NUMBERS[name]} | {
            "ref": str(self.ref),
            "last_job": last_job,
            # True instead of the same job again, which would double the state's size.
            "last_news": last_news if last_news is None or last_news != last_job else True,
            "last_error": None if self.last_error is None else error_to_plain(self.last_error),
            "forecast_state": self.forecast_state.to_dict(),
            "server_clock": self.server_clock.to_dict(),
        }
        return {name: value for name, value in plain.items() if value not in (None, {})}

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> Self:
        """Read the result of `to_dict`, possibly from another release of this package.

        Unknown entries are ignored. Missing and invalid entries get their defaults; only the reference is required.

        Raises:
            KeyError, TypeError, ValueError: The data is not a state.
        """
        ref, error = JobRef.parse(plain["ref"]), plain.get("last_error")
        last_job, news = _read_job(ref, plain.get("last_job")), plain.get("last_news")
        return cls(
            ref=ref,
            last_job=last_job,
            last_news=last_job if news is True else _read_job(ref, news),
            last_error=None if error is None else error_from_plain(error),
            forecast_state=ForecastState.from_dict(plain.get("forecast_state")),
            server_clock=ServerClock.from_dict(plain.get("server_clock")),
            **{name: number_or(plain, name, default) for name, default in _NUMBERS.items()},
        )


_NUMBERS: dict[str, Any] = {
    "began": 0.0,
    "polls": 0,
    "idle_for": 0.0,
    "polls_without_news": 0,
    "failing_since": None,
    "stale_since": None,
}


def _job_to_plain(job: Job | None) -> dict[str, Any] | None:
    if job is None:
        return None
    return {name: value for name, value in job_to_dict(without_listings(job)).items() if value is not None}


def _read_job(ref: JobRef, plain: object) -> Job | None:
    try:
        return with_ref(job_from_dict(ref.kind, cast("Mapping[str, Any]", plain)), ref)
    except InvalidResponseError:
        return None
