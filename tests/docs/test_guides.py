"""What the guides show works as it stands, in the order in which they show it."""

from __future__ import annotations

import ast
import asyncio
import codeop
import inspect
import io
import json
import logging
import re
import shlex
import tomllib
import types
from collections.abc import Coroutine
from contextlib import redirect_stdout
from typing import Any

import httpx
import pytest
from support.documents import GUIDES, ROOT, Document
from support.scripted_server import server_now
from support.virtual_time import virtual_time

import clanforge_async
from clanforge_async import ImageVersionJob, JobFailedError, JobState, WatchResult, simulator, testing
from clanforge_async.cli.app import parse
from clanforge_async.cli.output.jsonl import JsonLinesOutput
from clanforge_async.cli.simulate import _add_jobs
from clanforge_async.refs import EPOCH
from clanforge_async.simulator import DEMO_ACCOUNT, Simulator

PAGES = [Document(f"{name}.md") for name in ("README", "CONTRIBUTING", "CHANGELOG", "SECURITY", "examples/README")]
DESIGN_NOTES = [Document(str(path.relative_to(ROOT))) for path in sorted((ROOT / "docs" / "design").glob("*.md"))]
FAILURES = Document("docs/failures.md")
COMMAND_LINE = Document("docs/cli.md")
IN_SESSIONS = [guide for guide in GUIDES if any(example.is_of_a_session for example in guide.examples)]
COMMANDS = sorted({command for guide in GUIDES for command in guide.commands})
PRODUCT = [command for command in COMMANDS if command.startswith("clanforge ")]
PREPARATION = [command for command in COMMANDS if command not in PRODUCT]
EXPORTS = {
    "CLANFORGE_BASE_URL": "http://127.0.0.1:8731",
    "CLANFORGE_ACCESS_KEY": DEMO_ACCOUNT.access_key,
    "CLANFORGE_SECRET_KEY": DEMO_ACCOUNT.secret_key,
    "CLANFORGE_ACCOUNT_SERVICE_ID": str(DEMO_ACCOUNT.account_service_id),
}


@pytest.fixture
def log(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """The package's log, left afterwards as it was before."""
    logger = logging.getLogger("clanforge_async")
    caplog.set_level(logger.level, logger.name)
    monkeypatch.setattr(logger, "handlers", [])


async def simulate(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have every client of the test reach the jobs that ``clanforge simulate`` has, by the loop's clock."""
    simulated = Simulator(clock=server_now)
    _add_jobs(simulated)
    await asyncio.sleep(1)  # virtually: nobody is so quick as to call at the moment at which the jobs are made
    monkeypatch.setattr("clanforge_async._http.session.make_pool", lambda _: httpx.ASGITransport(app=simulated.app))
    monkeypatch.delenv("CLANFORGE_TOKEN", raising=False)
    for name, value in EXPORTS.items():
        monkeypatch.setenv(name, value)


async def told_by(code: str, names: dict[str, Any]) -> str:
    """Do what ``python -m asyncio`` does with lines that are pasted into it, and return what they print."""
    compiler = codeop.CommandCompiler()
    compiler.compiler.flags |= ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
    entered: list[str] = []
    with redirect_stdout(io.StringIO()) as printed:
        for line in [*code.splitlines(), ""]:
            entered.append(line)
            command = compiler("\n".join(entered), "guide", "single")
            if command is not None:
                entered.clear()
                result = types.FunctionType(command, names)()
                if inspect.iscoroutine(result):
                    await result
    return printed.getvalue()


@pytest.mark.usefixtures("log")
@pytest.mark.parametrize("guide", IN_SESSIONS, ids=lambda guide: guide.path)
@virtual_time
async def test_a_guide_can_be_pasted_into_a_session(guide: Document, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is no program of its own runs in one session, prints what is shown beneath it, and leaves no task behind."""
    await simulate(monkeypatch)
    names: dict[str, Any] = {}
    for example in (example for example in guide.examples if example.is_of_a_session):
        printed = await told_by(example.code, names)
        assert printed == (example.output or ""), example.code


@pytest.mark.filterwarnings("ignore:coroutine .* was never awaited")  # it is parsed, and not run
@pytest.mark.parametrize("command", PRODUCT)
def test_a_guides_command_exists(command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every command that a guide shows can be parsed, options and references included."""
    line = command.replace("$IMAGE_VERSION_ID", "9012").replace("$IMAGE_DIFF_ID", "5678").removesuffix(" < images.txt")
    monkeypatch.setattr("sys.stdin", io.StringIO("image-version/9012"))
    parsed = parse(shlex.split(line)[1:])
    assert isinstance(parsed, Coroutine)
    parsed.close()


def test_everything_else_for_a_shell_prepares_a_command() -> None:
    """What is no command of the product installs it, or sets what the simulator expects."""
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    for line in PREPARATION:
        if installation := re.fullmatch(r"pip install 'clanforge-async\[(.+)\]'( pytest pytest-asyncio)?", line):
            assert set(installation[1].split(",")) <= set(extras)
        elif export := re.fullmatch(r"export (\w+)=(\S+)", line):
            assert EXPORTS[export[1]] == export[2]
        else:
            assert line in {"python3 -m venv .venv", ". .venv/bin/activate"}


@pytest.mark.parametrize("document", [*PAGES, *GUIDES, *DESIGN_NOTES], ids=lambda document: document.path)
def test_links_lead_somewhere(document: Document) -> None:
    """Every link to another file, and every picture, is there, and so is every heading that a link names."""
    for path, anchor in re.findall(r"\]\(([^)#:]*)(?:#([^)]*))?\)", document.text):
        target = (ROOT / document.path).parent / path if path else ROOT / document.path
        assert target.exists(), path
        if anchor:
            headings = re.findall(r"^#+ (.*)$", target.read_text(), re.MULTILINE)
            assert anchor in {re.sub(r"[^\w-]", "", heading.lower().replace(" ", "-")) for heading in headings}


def test_every_error_is_explained() -> None:
    """The guide to failures says of every public error what it tells and what to do."""
    rows = [line.split("|")[1] for line in FAILURES.text.splitlines() if line.startswith("| `")]
    explained = set(re.findall(r"`(\w+)`", " ".join(rows)))
    errors = {name for name in clanforge_async.__all__ if name.endswith("Error")}
    assert explained == errors - {"ClanforgeError"}


def test_the_defaults_are_those_of_the_signatures() -> None:
    """Where a guide shows a setting with a number, that is its default."""
    named = re.findall(r"`(JobWatcher|ClanforgeClient)\((\w+)=([0-9]+)\)`", "".join(guide.text for guide in GUIDES))
    assert len(named) == 3
    for owner, setting, number in named:
        assert inspect.signature(getattr(clanforge_async, owner)).parameters[setting].default == float(number)


def test_every_field_of_a_json_line_is_explained(capsys: pytest.CaptureFixture[str]) -> None:
    """The page about the command line names every field that ``--json`` writes."""
    job = ImageVersionJob(id=9012, state=JobState.FAILED, created_at=EPOCH, updated_at=EPOCH)
    with JsonLinesOutput() as records:
        records.snapshot("update", job.ref, job)
        records.result(WatchResult(ref=job.ref, job=job, error=JobFailedError(job), polls=1, elapsed=1.0))
    written = {field for line in capsys.readouterr().out.splitlines() for field in json.loads(line)}
    rows = [line.split("|")[1] for line in COMMAND_LINE.text.splitlines() if line.startswith("| `")]
    assert set(re.findall(r"`(\w+)`", " ".join(rows))) == written - {"event"}


def test_the_reference_describes_each_public_name_once() -> None:
    """What users can import stands in the reference, and nowhere twice."""
    pages = "\n".join(path.read_text() for path in (ROOT / "docs" / "api").glob("*.rst"))
    directives = re.findall(r"^\.\. (?:auto(?!module)|py:)\w+:: ([\w.]+)", pages, re.MULTILINE)
    described = [name.rpartition(".")[2] for name in directives]
    assert len(described) == len(set(described))
    assert set(described) >= {*clanforge_async.__all__, *simulator.__all__, *testing.__all__}
