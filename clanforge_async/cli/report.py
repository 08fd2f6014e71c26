"""``--report``: a page that shows how it went, all by itself: it loads nothing and runs nothing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from html import escape
from importlib import resources
from pathlib import Path
from string import Template
from typing import Self

from clanforge_async import Job, JobRef, WatchResult
from clanforge_async.cli.axis import Axis
from clanforge_async.cli.durations import brief_duration
from clanforge_async.cli.files import write_whole
from clanforge_async.cli.histories import History, by_gravity
from clanforge_async.cli.tally import jobs, tally
from clanforge_async.cli.text import say
from clanforge_async.cli.timeline import axis_row, bar_row, grid, legend, mark_of


class Report:
    """A presenter that writes a page when the watching is over, however that came about.

    Args:
        refs: What will be watched.
        path: Where the page is to be.
    """

    def __init__(self, refs: Sequence[JobRef], path: Path) -> None:
        self._histories = {ref: History(ref) for ref in refs}
        self._path = path
        self._began = datetime.now(UTC)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        try:
            write_whole(self._path, page(list(self._histories.values()), self._began, datetime.now(UTC)))
        except OSError as error:  # how the jobs ended counts for more
            say(f"warning: the report could not be written: {error}")

    def snapshot(self, event: str, ref: JobRef, job: Job) -> None:  # noqa: ARG002 - all of them are news
        """Note the job's state."""
        self._histories[ref].learn(job)

    def result(self, result: WatchResult) -> None:
        """Note how the watch ended."""
        self._histories[result.ref].result = result


def page(histories: Sequence[History], began: datetime, now: datetime) -> str:
    """Return the page.

    Args:
        histories: What is known of each job.
        began: When the watch began.
        now: When it ended.
    """
    ordered = by_gravity(histories)
    axis = Axis.over(histories, began, now)
    template = resources.files("clanforge_async.cli").joinpath("report.html").read_text("utf-8")
    counts = Counter(history.outcome for history in ordered)
    return Template(template).substitute(
        title=escape(f"{jobs(len(ordered))}: {tally(counts.elements())}"),
        jobs=jobs(len(ordered)),
        began=_time(began),
        ended=_time(now),
        took=brief_duration((now - began).total_seconds()),
        polls=sum(history.result.polls for history in ordered if history.result is not None),
        counts="".join(f'<li class="{name}"><b>{count}</b> {_outcome(name)}</li>' for name, count in counts.items()),
        unfinished=_unfinished([history for history in ordered if history.result is None]),
        grid=grid(axis),
        axis=axis_row(axis),
        legend=legend(ordered, now),
        timeline="".join(
            f'<tr><th scope="row">{escape(str(history.ref))}</th><td>{bar_row(history, axis, now)}</td></tr>'
            for history in ordered
        ),
        rows="".join(map(_row, ordered)),
    )


def _row(history: History) -> str:
    result, started, ended = history.result, history.started, history.ended
    ran = brief_duration((ended - started).total_seconds()) if started and ended else ""
    cells = (
        f'<th scope="row">{escape(str(history.ref))}</th>',
        f'<td class="{history.outcome}">{_outcome(history.outcome)}</td>',
        f"<td>{_time(started)}</td>",
        f"<td>{_time(ended)}</td>",
        f'<td class="number">{ran}</td>',
        f'<td class="number">{"" if result is None else brief_duration(result.elapsed)}</td>',
        f'<td class="number">{"" if result is None else result.polls}</td>',
        f'<td class="reason">{escape(history.reason)}</td>',
    )
    return f"<tr>{''.join(cells)}</tr>\n"


def _outcome(name: str) -> str:
    return f'<span aria-hidden="true">{mark_of(name)}</span> {name}'


def _time(moment: datetime | None) -> str:
    if moment is None:
        return ""
    utc = moment.astimezone(UTC)
    return f'<time datetime="{utc:%Y-%m-%dT%H:%M:%SZ}">{utc:%Y-%m-%d %H:%M:%S}</time>'


def _unfinished(left: Sequence[History]) -> str:
    if not left:
        return ""
    refs = escape(" ".join(str(history.ref) for history in left))
    told = f"The watch ended before {jobs(len(left))} did; what was seen by then is shown."
    return f'<div class="note"><p>{told} To watch on:</p><pre>clanforge watch {refs}</pre></div>'
