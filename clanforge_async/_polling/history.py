"""The durations of ended runs by label, in memory or in a file that processes can share."""

from __future__ import annotations

import contextlib
import json
import logging
import math
import os
import statistics
import sys
from collections import deque
from collections.abc import Callable, Generator, Iterable
from pathlib import Path

from attrs import frozen

from clanforge_async._logging import log_event
from clanforge_async._polling.distributions import ExpectedDuration
from clanforge_async._validation import is_number
from clanforge_async.jobs import Job, JobState
from clanforge_async.refs import JobRef

_KEPT = 200
"""Latest runs of a label that count."""

_PRIOR_STDDEV, _PRIOR_RUNS = 0.4, 3
"""Standard deviation of the logarithms of durations before anything is known, and the number of runs it counts as."""

_SHORTEST = 1.0
"""Seconds that any run takes at least: the server counts whole ones."""


@frozen
class _Run:
    label: str
    seconds: float
    outcome: JobState
    run: str | None = None

    def to_line(self) -> str:
        plain = {"label": self.label, "seconds": self.seconds, "outcome": self.outcome.name.lower()}
        return json.dumps(plain if self.run is None else plain | {"run": self.run}) + "\n"

    @classmethod
    def from_line(cls, line: str) -> _Run:
        plain = json.loads(line)
        label, seconds, run = plain["label"], plain["seconds"], plain.get("run")
        if not isinstance(label, str) or not isinstance(run, str | None) or not _is_duration(seconds):
            raise ValueError(line)
        return cls(label, seconds, JobState[plain["outcome"].upper()], run)


class JobHistory:
    """Durations of ended runs. A `JobWatcher` uses them for forecasts if the server's estimate and progress say little.

    A watcher adds each run that ends while it is watched, once. Only completed runs are used for forecasts, and only
    the latest 200 of a label.

    A file has one JSON object per line for each run. It is replaced atomically, so it is complete at every moment.
    Several processes can share it: each holds a lock (a second file beside it) while it adds a run. A file that is not
    a valid history is renamed, and the logger ``clanforge_async`` logs a warning with its new name.

    Args:
        path: The file; None: keep the runs in memory only.

    Attributes:
        label: Returns the label of a reference. Runs of one label are expected to take about equally long. Default: the
            job's kind; assign another function to distinguish more.
    """

    def __init__(self, path: str | os.PathLike[str] | None = None) -> None:
        self.label: Callable[[JobRef], str] = label_by_kind
        self._path = None if path is None else Path(path)
        self._labels: dict[str, deque[_Run]] = {}
        self._version: tuple[int, ...] | None = None

    def __repr__(self) -> str:
        return f"JobHistory({'' if self._path is None else repr(str(self._path))})"

    def add(self, label: str, seconds: float, outcome: JobState) -> None:
        """Add a run.

        Args:
            label: The run's label.
            seconds: Seconds from its start to its end.
            outcome: The terminal state of its job.

        Raises:
            TypeError: The label is not a ``str``, or the outcome is not a `JobState`.
            ValueError: ``seconds`` is not a number of seconds, or the outcome is not terminal.
            OSError: The file can't be read or written.
        """
        if not isinstance(label, str) or not isinstance(outcome, JobState):
            msg = "a run needs a str as its label and a JobState as its outcome"
            raise TypeError(msg)
        if not _is_duration(seconds) or not outcome.is_terminal:
            msg = "a run needs a number of seconds, not negative, and a terminal state"
            raise ValueError(msg)
        self._add(_Run(label, float(seconds), outcome))

    def add_job(self, label: str, job: Job) -> None:
        """Add the run of an ended job, unless it was already added or its start is unknown."""
        if job.started_at is not None and job.state is not None:
            seconds = max((job.updated_at - job.started_at).total_seconds(), 0.0)
            run = f"{job.kind.value}/{job.id}@{int(job.started_at.timestamp())}"
            self._add(_Run(label, seconds, job.state, run))

    def durations(self, label: str) -> tuple[float, ...]:
        """Return the durations of a label's completed runs in seconds, the latest last.

        Raises:
            OSError: The file can't be read.
        """
        if self._path is not None and not self._read(self._path):
            with self._locked(self._path):
                pass
        runs = self._labels.get(label, ())
        return tuple(run.seconds for run in runs if run.outcome is JobState.COMPLETED)

    def expected_duration(self, label: str) -> ExpectedDuration | None:
        """Return the expected duration of a label's next run; None if no run has completed.

        Raises:
            OSError: The file can't be read.
        """
        logarithms = [math.log(max(seconds, _SHORTEST)) for seconds in self.durations(label)]
        if not logarithms:
            return None
        number, mean = len(logarithms), statistics.fmean(logarithms)
        squares = math.fsum((logarithm - mean) ** 2 for logarithm in logarithms)
        variance = (squares + _PRIOR_RUNS * _PRIOR_STDDEV**2) / (number - 1 + _PRIOR_RUNS)
        return ExpectedDuration(math.exp(mean), math.sqrt(variance * (1 + 1 / number)))

    def _add(self, run: _Run) -> None:
        if self._path is None:
            self._keep(run)
            return
        with self._locked(self._path):
            if self._keep(run):
                self._version = _replace(
                    self._path, (kept.to_line() for runs in self._labels.values() for kept in runs)
                )

    def _keep(self, run: _Run) -> bool:
        runs = self._labels.setdefault(run.label, deque(maxlen=_KEPT))
        if run.run is not None and any(run.run == kept.run for kept in runs):
            return False
        runs.append(run)
        return True

    @contextlib.contextmanager
    def _locked(self, path: Path) -> Generator[None]:
        """Lock the file, so that nothing else changes it, and read it; an invalid file is set aside."""
        descriptor = os.open(path.with_name(path.name + ".lock"), os.O_RDWR | os.O_CREAT, 0o666)
        try:
            _lock(descriptor)  # until it is closed
            if not self._read(path):
                _rename_corrupt(path)
            yield
        finally:
            os.close(descriptor)

    def _read(self, path: Path) -> bool:
        """Read the file if it has changed since the last read; return whether it is a valid history."""
        try:
            version = _version_of(path)
        except FileNotFoundError:
            self._labels, self._version = {}, None
            return True
        if version == self._version:
            return True
        self._labels, self._version = {}, version
        try:
            for line in path.read_text(encoding="utf-8").splitlines():
                self._keep(_Run.from_line(line))
        except (ValueError, TypeError, KeyError, AttributeError):
            self._labels, self._version = {}, None
            return False
        return True


def label_by_kind(ref: JobRef) -> str:
    """Return the job's kind, the default label."""
    return ref.kind.value


def _is_duration(seconds: object) -> bool:
    return is_number(seconds) and 0 <= seconds < math.inf


def _version_of(path: Path) -> tuple[int, ...]:
    status = path.stat()
    return status.st_mtime_ns, status.st_size, status.st_ino


def _replace(path: Path, lines: Iterable[str]) -> tuple[int, ...]:
    new = path.with_name(path.name + ".new")  # the lock allows only one process at a time to write it
    new.write_text("".join(lines), encoding="utf-8")
    version = _version_of(new)
    new.replace(path)
    return version


def _rename_corrupt(path: Path) -> None:
    number = 1
    while (aside := path.with_name(f"{path.name}.corrupt-{number}")).exists():
        number += 1
    path.replace(aside)
    log_event(
        logging.WARNING,
        "history_set_aside",
        "the job history %(path)s can't be read and is now %(aside)s",
        path=str(path),
        aside=str(aside),
    )


if sys.platform == "win32":  # pragma: no cover - the tests run on POSIX
    import msvcrt

    def _lock(descriptor: int) -> None:
        msvcrt.locking(descriptor, msvcrt.LK_LOCK, 1)

else:
    import fcntl

    def _lock(descriptor: int) -> None:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
