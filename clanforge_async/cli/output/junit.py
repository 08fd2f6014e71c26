"""``--junit``: the results as JUnit XML, a test case for each job, as pipelines display them."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Self
from xml.etree import ElementTree as ET

from clanforge_async import JobFailedError, JobRef, WatchResult
from clanforge_async.cli.errors import outcome
from clanforge_async.cli.output.base import Output
from clanforge_async.cli.output.files import write_or_warn
from clanforge_async.cli.output.plain import reason_of

_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""Characters that XML 1.0 cannot hold, even escaped."""


class JUnitOutput(Output):
    """Writes JUnit XML at the end of the watch, even if that was interrupted.

    A failed or squashed job is a failure, a timeout or another error is an error, and an unfinished job is skipped.

    Args:
        refs: Jobs that will be watched.
        path: File to write.
    """

    def __init__(self, refs: Sequence[JobRef], path: Path) -> None:
        self._results: dict[JobRef, WatchResult | None] = dict.fromkeys(refs)
        self._path = path
        self._start = 0.0

    def __enter__(self) -> Self:
        self._start = time.monotonic()
        return self

    def __exit__(self, *_: object) -> None:
        write_or_warn(self._path, render_junit(self._results, time.monotonic() - self._start), "the JUnit file")

    def result(self, result: WatchResult) -> None:
        """Add the result of a watch."""
        self._results[result.ref] = result


def render_junit(results: dict[JobRef, WatchResult | None], seconds: float) -> str:
    """Return the JUnit XML.

    Args:
        results: The result of each watch; None: it has not ended.
        seconds: Seconds from the start of the watch to its end.
    """
    cases = [_render_case(ref, result) for ref, result in results.items()]
    counts = {
        "tests": len(cases),
        "failures": sum(case.find("failure") is not None for case in cases),
        "errors": sum(case.find("error") is not None for case in cases),
        "skipped": sum(case.find("skipped") is not None for case in cases),
    }
    totals = {name: str(count) for name, count in counts.items()} | {"time": f"{seconds:.3f}"}
    root = ET.Element("testsuites", totals)
    ET.SubElement(root, "testsuite", {"name": "clanforge watch", **totals}).extend(cases)
    ET.indent(root)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ET.tostring(root, "unicode") + "\n"


def _render_case(ref: JobRef, result: WatchResult | None) -> ET.Element:
    seconds = 0.0 if result is None else result.elapsed
    case = ET.Element("testcase", {"classname": ref.kind.value, "name": str(ref), "time": f"{seconds:.3f}"})
    if result is None:
        ET.SubElement(case, "skipped", {"message": "not finished when watching stopped"})
    elif result.error is not None:
        name = "failure" if isinstance(result.error, JobFailedError) else "error"
        reason = _NOT_XML.sub("\ufffd", reason_of(result.error) or outcome(result.error))
        ET.SubElement(case, name, {"message": reason, "type": outcome(result.error)}).text = reason
    return case
