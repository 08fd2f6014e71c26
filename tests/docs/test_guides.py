"""Code, commands, links and tables in the guides are correct."""

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
from clanforge_async import ImageVersionJob, JobFailedError, JobState, TransportError, WatchResult, simulator, testing
from clanforge_async.cli.app import parse
from clanforge_async.cli.outages import Outage, Recovery
from clanforge_async.cli.output.jsonl import JsonLinesOutput
from clanforge_async.cli.simulate import _add_jobs
from clanforge_async.refs import EPOCH
from clanforge_async.simulator import DEMO_ACCOUNT, Simulator

PAGES = [Document(f"{name}.md") for name in ("README", "CONTRIBUTING", "CHANGELOG", "SECURITY", "examples/README")]
PAGES.append(Document("llms.txt"))
DESIGN_NOTES = [Document(str(path.relative_to(ROOT))) for path in sorted((ROOT / "docs" / "design").glob("*.md"))]
FAILURES = Document("docs/failures.md")
COMMAND_LINE = Document("docs/cli.md")
SESSION_GUIDES = [guide for guide in GUIDES if any(example.is_session_snippet for example in guide.examples)]
COMMANDS = sorted({command for guide in GUIDES for command in guide.commands})
CLANFORGE_COMMANDS = [command for command in COMMANDS if command.startswith("clanforge ")]
SETUP_LINES = [command for command in COMMANDS if command not in CLANFORGE_COMMANDS]
EXPORTS = {
    "CLANFORGE_BASE_URL": "http://127.0.0.1:8731",
    "CLANFORGE_ACCESS_KEY": DEMO_ACCOUNT.access_key,
    "CLANFORGE_SECRET_KEY": DEMO_ACCOUNT.secret_key,
    "CLANFORGE_ACCOUNT_SERVICE_ID": str(DEMO_ACCOUNT.account_service_id),
}


@pytest.fixture
def log(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """Isolate the package's log settings."""
    logger = logging.getLogger("clanforge_async")
    caplog.set_level(logger.level, logger.name)
    monkeypatch.setattr(logger, "handlers", [])


async def simulate(monkeypatch: pytest.MonkeyPatch) -> None:
    """Connect every client of the test to the jobs of ``clanforge simulate``, on the loop's clock."""
    simulated = Simulator(clock=server_now)
    _add_jobs(simulated)
    await asyncio.sleep(1)  # virtual seconds: calls come some time after the jobs were created
    monkeypatch.setattr("clanforge_async._http.session.make_pool", lambda _: httpx.ASGITransport(app=simulated.app))
    monkeypatch.delenv("CLANFORGE_TOKEN", raising=False)
    for name, value in EXPORTS.items():
        monkeypatch.setenv(name, value)


async def run_in_session(code: str, names: dict[str, Any]) -> str:
    """Run code line by line as ``python -m asyncio`` does with pasted lines, and return its output."""
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
@pytest.mark.parametrize("guide", SESSION_GUIDES, ids=lambda guide: guide.path)
@virtual_time
async def test_a_guide_runs_when_pasted_into_a_session(guide: Document, monkeypatch: pytest.MonkeyPatch) -> None:
    """A guide's session blocks run in order, print the output shown, and leave no task behind."""
    await simulate(monkeypatch)
    names: dict[str, Any] = {}
    for example in (example for example in guide.examples if example.is_session_snippet):
        printed = await run_in_session(example.code, names)
        assert printed == (example.output or ""), example.code


@pytest.mark.filterwarnings("ignore:coroutine .* was never awaited")  # the command is parsed, not run
@pytest.mark.parametrize("command", CLANFORGE_COMMANDS)
def test_a_guide_command_parses(command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every `clanforge` command in a guide parses, with its options and references."""
    line = command.replace("$IMAGE_VERSION_ID", "9012").replace("$IMAGE_DIFF_ID", "5678").removesuffix(" < images.txt")
    monkeypatch.setattr("sys.stdin", io.StringIO("image-version/9012"))
    parsed = parse(shlex.split(line)[1:])
    assert isinstance(parsed, Coroutine)
    parsed.close()


def test_other_shell_lines_install_or_configure() -> None:
    """All other shell lines install the package, set the simulator's variables, or run Temporal's dev server."""
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    for line in SETUP_LINES:
        if installation := re.fullmatch(r"pip install 'clanforge-async\[(.+)\]'( pytest pytest-asyncio)?", line):
            assert set(installation[1].split(",")) <= set(extras)
        elif export := re.fullmatch(r"export (\w+)=(\S+)", line):
            assert EXPORTS[export[1]] == export[2]
        else:
            assert line in {"python3 -m venv .venv", ". .venv/bin/activate", "temporal server start-dev --headless"}


@pytest.mark.parametrize("document", [*PAGES, *GUIDES, *DESIGN_NOTES], ids=lambda document: document.path)
def test_links_resolve(document: Document) -> None:
    """Every link to a file, image or heading resolves."""
    for path, anchor in re.findall(r"\]\(([^)#:]*)(?:#([^)]*))?\)", document.text):
        target = (ROOT / document.path).parent / path if path else ROOT / document.path
        assert target.exists(), path
        if anchor:
            headings = re.findall(r"^#+ (.*)$", target.read_text(), re.MULTILINE)
            assert anchor in {re.sub(r"[^\w-]", "", heading.lower().replace(" ", "-")) for heading in headings}


def test_every_error_is_explained() -> None:
    """The guide to failures explains every public error."""
    rows = [line.split("|")[1] for line in FAILURES.text.splitlines() if line.startswith("| `")]
    explained = set(re.findall(r"`(\w+)`", " ".join(rows)))
    errors = {name for name in clanforge_async.__all__ if name.endswith("Error")}
    assert explained == errors - {"ClanforgeError"}


def test_documented_defaults_match_the_signatures() -> None:
    """A number shown for a setting is its default."""
    named = re.findall(r"`(JobWatcher|ClanforgeClient)\((\w+)=([0-9]+)\)`", "".join(guide.text for guide in GUIDES))
    assert len(named) == 3
    for owner, setting, number in named:
        assert inspect.signature(getattr(clanforge_async, owner)).parameters[setting].default == float(number)


def test_every_field_of_a_json_line_is_explained(capsys: pytest.CaptureFixture[str]) -> None:
    """The command-line guide explains every field written by ``--json``."""
    job = ImageVersionJob(id=9012, state=JobState.FAILED, created_at=EPOCH, updated_at=EPOCH)
    with JsonLinesOutput() as records:
        records.snapshot("update", job.ref, job)
        records.result(WatchResult(ref=job.ref, job=job, error=JobFailedError(job), polls=1, elapsed=1.0))
        outage = Outage(host="h", error=TransportError("down", request_sent=False), since=EPOCH, gives_up_at=EPOCH)
        records.outage(outage)
        records.recovery(Recovery(outage=outage, seconds=1.0))
    written = {field for line in capsys.readouterr().out.splitlines() for field in json.loads(line)}
    rows = [line.split("|")[1] for line in COMMAND_LINE.text.splitlines() if line.startswith("| `")]
    assert set(re.findall(r"`(\w+)`", " ".join(rows))) == written - {"event"}


def test_the_reference_describes_each_public_name_once() -> None:
    """The API reference describes every public name exactly once."""
    pages = "\n".join(path.read_text() for path in (ROOT / "docs" / "api").glob("*.rst"))
    directives = re.findall(r"^\.\. (?:auto(?!module)|py:)\w+:: ([\w.]+)", pages, re.MULTILINE)
    described = [name.rpartition(".")[2] for name in directives]
    assert len(described) == len(set(described))
    assert set(described) >= {*clanforge_async.__all__, *simulator.__all__, *testing.__all__}
