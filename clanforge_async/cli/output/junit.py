"""``--junit``: the results as JUnit XML, a test case for each job or image, as pipelines display them."""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Self
from xml.etree import ElementTree as ET

from clanforge_async.cli.output.cases import Case, CaseOutput
from clanforge_async.cli.output.files import write_or_warn

_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""Characters that XML 1.0 does not allow, even escaped."""


class JUnitOutput(CaseOutput):
    """Writes JUnit XML at the end of the command, even if it was interrupted.

    A failed or squashed job and a rejected release are failures, a timeout or another error is an error, and an
    unfinished job and a held release are skipped.

    Args:
        cases: All cases, unfinished.
        command: The command.
        path: File to write.
    """

    def __init__(self, cases: Sequence[Case], command: str, path: Path) -> None:
        super().__init__(cases, command)
        self._path = path
        self._start = 0.0

    def __enter__(self) -> Self:
        self._start = time.monotonic()
        return self

    def __exit__(self, *_: object) -> None:
        text = render_junit(list(self._cases.values()), self._command, time.monotonic() - self._start)
        write_or_warn(self._path, text, "the JUnit file")


def render_junit(cases: Sequence[Case], command: str, seconds: float) -> str:
    """Return the JUnit XML.

    Args:
        cases: The cases.
        command: The command.
        seconds: Seconds from its start to its end.
    """
    verdicts = Counter(case.verdict for case in cases)
    counts = {
        "tests": len(cases),
        "failures": verdicts["failure"],
        "errors": verdicts["error"],
        "skipped": verdicts["skipped"],
    }
    totals = {name: str(count) for name, count in counts.items()} | {"time": f"{seconds:.3f}"}
    # Jenkins' schema, the usual one, has no such attribute there.
    root = ET.Element("testsuites", {name: value for name, value in totals.items() if name != "skipped"})
    ET.SubElement(root, "testsuite", {"name": command, **totals}).extend(map(_render_case, cases))
    ET.indent(root)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ET.tostring(root, "unicode") + "\n"


def _render_case(case: Case) -> ET.Element:
    seconds = f"{case.seconds or 0.0:.3f}"
    element = ET.Element("testcase", {"classname": case.group, "name": case.name, "time": seconds})
    reason = _NOT_XML.sub("\ufffd", case.reason)
    if case.verdict == "skipped":
        ET.SubElement(element, "skipped", {"message": reason or "not finished when the command ended"})
    elif case.verdict != "passed":
        reason = reason or case.outcome
        ET.SubElement(element, case.verdict, {"message": reason, "type": case.outcome}).text = reason
    return element
