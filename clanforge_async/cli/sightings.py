"""What a watcher made of simulated jobs, held against what happened to them."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from attrs import frozen
from rich.table import Table
from rich.text import Text

from clanforge_async import WatchResult
from clanforge_async.cli.colours import style_of
from clanforge_async.cli.outcomes import outcome
from clanforge_async.cli.tally import jobs, tally
from clanforge_async.simulator import Outcome


@frozen(kw_only=True)
class Sighting:
    """The end of a job, as the watcher saw it and as it was.

    Attributes:
        result: What the watcher says.
        planned: How the simulator had the job end.
        late: Seconds from the job's end to the moment at which it was noticed.
    """

    result: WatchResult
    planned: Outcome
    late: float

    @property
    def outcome(self) -> str:
        """How the watcher says that the job ended."""
        return outcome(self.result.error)

    @property
    def is_as_planned(self) -> bool:
        """Whether that is how it did."""
        return self.outcome == self.planned


def tabulate(sightings: Sequence[Sighting]) -> Table:
    """Return a table with a row for each job, in the order of their ends."""
    table = Table("job", "result")
    for heading in ("duration", "polls", "noticed after"):
        table.add_column(heading, justify="right")
    for sighting in sightings:
        table.add_row(
            str(sighting.result.ref),
            _verdict(sighting),
            f"{sighting.result.elapsed:.1f} s",
            str(sighting.result.polls),
            f"{sighting.late:.2f} s",
        )
    return table


def summarise(sightings: Sequence[Sighting]) -> str:
    """Return the whole in a sentence or two."""
    ended = tally(sighting.outcome for sighting in sightings)
    surprises = sum(not sighting.is_as_planned for sighting in sightings)
    verdict = f"{surprises} NOT as planned" if surprises else "all as planned"
    late = [sighting.late for sighting in sightings]
    polls = sum(sighting.result.polls for sighting in sightings)
    return (
        f"{jobs(len(sightings))}: {ended}, {verdict}. {polls} polls; "
        f"ends noticed after {statistics.median(late):.2f} s in the median, {max(late):.2f} s at most."
    )


def _verdict(sighting: Sighting) -> Text:
    if sighting.is_as_planned:
        return Text(sighting.outcome, style=style_of(sighting.outcome))
    return Text(f"{sighting.outcome}, not {sighting.planned}", style="bold red")
