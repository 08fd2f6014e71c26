"""How watches have ended: what the client writes down of each."""

from __future__ import annotations

from attrs import frozen

from clanforge_async import APIError, Job, WatchResult


@frozen(kw_only=True)
class Ending:
    """The end of one watch.

    Attributes:
        ref: What was watched, as text.
        began: When it began, in Unix seconds.
        at: When it ended, likewise.
        state: The state in which it last saw the job; None: it saw none, or does not know the state.
        updated_at: When the server had last updated the job as it last saw it, in Unix seconds.
        error: The name of the error that it ended with; empty: the job has completed.
        status: The HTTP status of that error, if it has one.
        polls: How many polls it took.
        ends_told: How many terminal snapshots its listener was told of.
        has_told_last: Whether the last that its listener was told of is what it ended with.
        retries: How many retries were asked for before it began.
    """

    ref: str
    began: float
    at: float
    state: int | None
    updated_at: float | None
    error: str
    status: int | None
    polls: int
    ends_told: int
    has_told_last: bool
    retries: int

    @property
    def shows_end(self) -> bool:
        """Whether it ended because its job has."""
        return self.error in ("", "JobFailedError", "JobSquashedError")


def ending(result: WatchResult, told: list[Job], retries: int, at: float) -> Ending:
    """Return what is to be written down of a result."""
    job, error = result.job, result.error
    return Ending(
        ref=str(result.ref),
        began=at - result.elapsed,
        at=at,
        state=None if job is None else job.state,
        updated_at=None if job is None else job.updated_at.timestamp(),
        error="" if error is None else type(error).__name__,
        status=error.status_code if isinstance(error, APIError) else None,
        polls=result.polls,
        ends_told=sum(update.is_terminal for update in told),
        has_told_last=told[-1:] == [job],
        retries=retries,
    )
