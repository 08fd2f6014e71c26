"""Exit statuses by class of error, by HTTP status, and of each command if the server fails."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from support.cli.harness import Clanforge

import clanforge_async
from clanforge_async import (
    AccessKeyAuth,
    APIError,
    ClanforgeClient,
    ClanforgeError,
    ConfigurationError,
    ImageLockedError,
    InvalidResponseError,
    JobFailedError,
    JobRef,
    JobSquashedError,
    JobWatcher,
    PermissionDeniedError,
    RequestTimeoutError,
    RetryOutcomeUnknownError,
    ServerError,
    StaleJobError,
    TransportError,
    WatchClosedError,
    WatchTimeoutError,
)
from clanforge_async.cli.errors import exit_status, outcome
from clanforge_async.simulator import Drop, Envelope, Fault, GatewayError, Run, Simulator, Stale, Truncate, Unreadable

EXPECTED = {
    "APIError": 6,
    "AuthenticationError": 4,
    "BadRequestError": 6,
    "ConfigurationError": 2,
    "ImageLockedError": 6,
    "InvalidResponseError": 5,
    "JobFailedError": 1,
    "JobSquashedError": 1,
    "NotFoundError": 6,
    "OutcomeUnknownError": 7,
    "PermissionDeniedError": 4,
    "RateLimitError": 5,
    "ReleaseError": 6,
    "ReleaseRejectedError": 1,
    "ReleaseSupersededError": 1,
    "ReleaseTimeoutError": 3,
    "RequestTimeoutError": 5,
    "RetryOutcomeUnknownError": 7,
    "RolloutError": 1,
    "ServerError": 5,
    "StaleJobError": 3,
    "TransportError": 5,
    "WatchClosedError": 5,
    "WatchTimeoutError": 3,
}
REF = JobRef.image_diff(5)
STATUS = ("image-diff", "status", "5")
RETRY = ("image-diff", "retry", "5")
RETRY_AND_WAIT = (*RETRY, "--wait", "--interval", "0.05")
WATCH = ("watch", "image-diff/5", "--interval", "0.05")
ROUTE_OF_WAIT = "image-diff status"


def subclasses(cls: type[ClanforgeError]) -> Iterator[type[ClanforgeError]]:
    for subclass in cls.__subclasses__():
        yield subclass
        yield from subclasses(subclass)


def errors() -> dict[str, type[ClanforgeError]]:
    """Return all public classes of the tree of errors, by name."""
    tree = {cls for cls in subclasses(ClanforgeError) if cls.__module__.startswith("clanforge_async.")}
    return {cls.__name__: cls for cls in tree if not cls.__name__.startswith("_")}


def make_error(cls: type[ClanforgeError]) -> ClanforgeError:
    error = cls.__new__(cls)
    error.__dict__["status_code"] = 200
    return error


def test_every_class_of_the_error_tree_has_an_exit_status() -> None:
    """Each public class of errors has an explicit exit status."""
    assert {name: exit_status(make_error(cls)) for name, cls in errors().items()} == EXPECTED


def test_any_other_exception_needs_a_person() -> None:
    """An undocumented exception is a bug, status 7; one of the system, such as a full disk, is 5."""
    assert exit_status(RuntimeError()) == exit_status(ClanforgeError()) == 7
    assert exit_status(OSError()) == 5
    assert exit_status(BrokenPipeError()) == 141


def test_every_error_has_its_outcome() -> None:
    """Each error has one of the documented outcomes."""
    words = {name: outcome(make_error(cls)) for name, cls in errors().items()}
    assert {name: word for name, word in words.items() if word != "error"} == {
        "JobFailedError": "failed",
        "JobSquashedError": "squashed",
        "WatchTimeoutError": "timeout",
    }
    assert outcome(None) == "completed"


def expected_for_http_status(status: int) -> int:
    if status in (401, 403):
        return 4
    return 5 if status in (408, 425, 429) or status >= 500 else 6


@pytest.mark.parametrize("status", [*range(300, 310), *range(400, 452), *range(500, 512), 520, 529, 598, 599])
async def test_every_http_status_has_its_exit_status(status: int) -> None:
    """401 and 403 are status 4; 408, 425, 429 and 5xx are 5; any other 3xx or 4xx is 6."""
    transport = httpx.MockTransport(lambda _: httpx.Response(status))
    async with ClanforgeClient(
        ("key", "secret"), account_service_id=1, base_url="http://127.0.0.1", transport=transport, max_retries=0
    ) as client:
        with pytest.raises(APIError) as raised:
            await client.image_versions.status(1)
    assert exit_status(raised.value) == expected_for_http_status(status)


@pytest.mark.parametrize("status", [200, 400, 403, 404, 408, 409, 425, 500, 503])
@pytest.mark.parametrize(("message", "expected"), [("image locked by diffid: 7", 6), ("forbidden", 4), ("no", None)])
async def test_an_envelope_is_classified_by_its_message_first(status: int, message: str, expected: int | None) -> None:
    """For any HTTP status, a locked image is status 6 and a missing permission 4; other envelopes with 200 are 6."""
    if message == "forbidden" and status in (400, 404):
        expected = 6  # the client takes these statuses for what they say
    envelope = {"success": False, "error": True, "error_message": message}
    transport = httpx.MockTransport(lambda _: httpx.Response(status, json=envelope))
    async with ClanforgeClient(
        ("key", "secret"), account_service_id=1, base_url="http://127.0.0.1", transport=transport, max_retries=0
    ) as client:
        with pytest.raises(APIError) as raised:
            await client.image_versions.status(1)
    assert exit_status(raised.value) == (expected_for_http_status(status) if expected is None else expected)


@pytest.fixture
def _hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let clients and watchers give up at the first failure."""
    for function, defaults in (
        (ClanforgeClient.__init__, {"max_retries": 0}),
        (JobWatcher.__init__, {"outage_tolerance": 0.0, "stale_after": 0.2}),
    ):
        monkeypatch.setattr(function, "__kwdefaults__", {**(function.__kwdefaults__ or {}), **defaults})


def assert_told(clanforge: Clanforge, argv: tuple[str, ...], status: int) -> None:
    """Assert the exit status of a command, and that stderr gives the reason without a traceback."""
    finished = clanforge(*argv)
    assert finished.status == status
    assert re.search("^error: ", finished.err, re.MULTILINE)
    assert "Traceback" not in finished.err


FAULTS: list[tuple[Fault, int]] = [
    (Envelope("forbidden", status=500), 4),
    (Envelope("access denied", status=403), 4),
    (Envelope("who are you", status=401), 4),
    (GatewayError(429), 5),
    (GatewayError(503), 5),
    (Envelope("too slow", status=408), 5),
    (Envelope("too early", status=425), 5),
    (Drop(), 5),
    (Truncate(), 5),
    (Unreadable(), 5),
    (Unreadable(html=True), 5),
    (Envelope("bad parameter", status=400), 6),
    (Envelope("not here", status=404), 6),
    (Envelope("conflict", status=409), 6),
    (Envelope("elsewhere", status=302), 6),
    (Envelope("something is wrong"), 6),
    (Envelope("image locked by diffid: 7"), 6),
    (Envelope("image locked by diffid: 7", status=503), 6),
]


@pytest.mark.usefixtures("_hasty")
@pytest.mark.parametrize(("fault", "status"), FAULTS, ids=str)
@pytest.mark.parametrize("argv", [STATUS, WATCH], ids=" ".join)
def test_a_fault_of_the_server_has_its_status(
    simulator: Simulator, clanforge: Clanforge, argv: tuple[str, ...], fault: Fault, status: int
) -> None:
    """A status read and a watch exit with the status of the server's fault."""
    simulator.add_image_diff(5, duration=0)
    simulator.faults.add(fault)
    assert_told(clanforge, argv, status)


@pytest.mark.usefixtures("_hasty")
@pytest.mark.parametrize(("fault", "status"), FAULTS, ids=str)
def test_a_fault_while_waiting_for_a_retry_has_its_status(
    simulator: Simulator, clanforge: Clanforge, fault: Fault, status: int
) -> None:
    """``retry --wait`` exits with the status of a fault during its watch."""
    simulator.add_image_diff(5, duration=0, outcome="failed", retries=[Run(duration=1000)])
    simulator.faults.add(fault, route=ROUTE_OF_WAIT)
    assert_told(clanforge, RETRY_AND_WAIT, status)


@pytest.mark.usefixtures("_hasty")
@pytest.mark.parametrize(
    ("fault", "status"),
    [
        (Envelope("forbidden", status=403), 4),
        (Envelope("who are you", status=401), 4),
        (GatewayError(429), 5),
        (Envelope("bad parameter", status=400), 6),
        (Envelope("not here", status=404), 6),
        (Envelope("conflict", status=409), 6),
        (Envelope("elsewhere", status=302), 6),
        (Envelope("something is wrong"), 6),
        (Envelope("image locked by diffid: 7"), 6),
        (GatewayError(500), 7),
        (GatewayError(503), 7),
        (Drop(), 7),
    ],
    ids=str,
)
@pytest.mark.parametrize("argv", [RETRY, RETRY_AND_WAIT], ids=" ".join)
def test_a_fault_of_a_retry_has_its_status(
    simulator: Simulator, clanforge: Clanforge, argv: tuple[str, ...], fault: Fault, status: int
) -> None:
    """The outcome of a refused retry is known; a retry that may have happened is status 7."""
    simulator.add_image_diff(5, duration=0, outcome="failed", retries=[Run(duration=1000)])
    simulator.faults.add(fault, route="image-diff retry")
    assert_told(clanforge, argv, status)


@pytest.mark.usefixtures("_hasty", "simulator")
@pytest.mark.parametrize("argv", [STATUS, RETRY, RETRY_AND_WAIT, WATCH], ids=" ".join)
def test_a_refused_connection_is_status_5(clanforge: Clanforge, argv: tuple[str, ...]) -> None:
    """Without a server, every command is worth another try, even a retry, since nothing was sent."""
    assert_told(clanforge, (*argv, "--base-url", "http://127.0.0.1:1"), 5)


@pytest.mark.parametrize("argv", [STATUS, RETRY, RETRY_AND_WAIT, WATCH], ids=" ".join)
def test_a_configuration_error_out_of_a_call_is_status_2(
    simulator: Simulator, clanforge: Clanforge, monkeypatch: pytest.MonkeyPatch, argv: tuple[str, ...]
) -> None:
    """A setting whose error only a call can find is reported in one line, with status 2."""
    simulator.add_image_diff(5, duration=0)

    def fail(*_: object) -> None:
        msg = "SSL_CERT_FILE: no certificate in /no/such/file"
        raise ConfigurationError(msg)

    monkeypatch.setattr(AccessKeyAuth, "auth_flow", fail)
    finished = clanforge(*argv)
    assert finished.status == 2
    assert finished.err == "error: SSL_CERT_FILE: no certificate in /no/such/file\n"


@pytest.mark.parametrize("outcome", ["failed", "squashed"])
@pytest.mark.parametrize("argv", [STATUS, WATCH, RETRY_AND_WAIT], ids=" ".join)
def test_a_failed_or_squashed_job_is_status_1(
    simulator: Simulator, clanforge: Clanforge, argv: tuple[str, ...], outcome: str
) -> None:
    """A job that failed or was squashed is status 1, for ``retry --wait`` that of the new run."""
    ended = Run(duration=0, outcome=outcome)  # type: ignore[arg-type] # from above
    before = outcome if argv[0] == "watch" or "status" in argv else "failed"
    simulator.add_image_diff(5, duration=0, outcome=before, retries=[ended])  # type: ignore[arg-type] # as above
    assert_told(clanforge, argv, 1)


def test_a_running_job_is_status_0(simulator: Simulator, clanforge: Clanforge) -> None:
    """A status that was read and a retry that was accepted are status 0, whether or not the job has ended."""
    simulator.add_image_diff(5, duration=0, outcome="failed", retries=[Run(duration=1000)])
    assert clanforge(*RETRY).status == 0
    assert clanforge(*STATUS).status == 0


@pytest.mark.parametrize("argv", [WATCH, RETRY_AND_WAIT], ids=" ".join)
def test_a_timeout_is_status_3(simulator: Simulator, clanforge: Clanforge, argv: tuple[str, ...]) -> None:
    """A watch that times out is status 3."""
    running = [Run(duration=1000)]
    duration, before = (1000, "completed") if argv is WATCH else (0, "failed")
    simulator.add_image_diff(5, duration=duration, outcome=before, retries=running)  # type: ignore[arg-type] # see above
    assert_told(clanforge, (*argv, "--timeout", "0.3"), 3)


@pytest.mark.usefixtures("_hasty")
@pytest.mark.parametrize("argv", [("watch", "image-diff/5@99999999999", *WATCH[2:]), RETRY_AND_WAIT], ids=" ".join)
def test_a_stale_job_is_status_3(simulator: Simulator, clanforge: Clanforge, argv: tuple[str, ...]) -> None:
    """A job whose new run does not appear in time is status 3."""
    simulator.add_image_diff(5, duration=0, outcome="failed", retries=[Run(duration=1000)])
    simulator.faults.add(Stale(), route=ROUTE_OF_WAIT)
    assert_told(clanforge, argv, 3)


@pytest.mark.usefixtures("_hasty")
def test_the_highest_status_counts(simulator: Simulator, clanforge: Clanforge) -> None:
    """Of several jobs the highest status counts, in any order of the arguments."""
    for job_id in (1, 2, 3):
        simulator.add_image_version(job_id, duration=0, outcome="failed" if job_id == 2 else "completed")
    simulator.faults.add(GatewayError(503), id=3)
    refs = ["image-version/1", "image-version/2", "image-version/3", "image-version/4"]
    for count, status in ((1, 0), (2, 1), (3, 5), (4, 6)):
        assert clanforge("watch", *refs[:count]).status == status
        assert clanforge("watch", *reversed(refs[:count])).status == status


def test_the_guide_lists_all_statuses() -> None:
    """The table in docs/cli.md has each exit status."""
    text = (Path(__file__).parents[2] / "docs" / "cli.md").read_text("utf-8")
    rows = re.findall(r"^\| ([0-9, ]+) \|", text.partition("## Output")[0], re.MULTILINE)
    listed = {int(number) for row in rows for number in row.split(", ")}
    assert listed == {0, 129, 130, 141, 143, *EXPECTED.values()}


def test_every_error_of_the_contract_has_the_status_of_its_class() -> None:
    """The statuses are those of errors as they are raised, with all their attributes."""
    job = clanforge_async.ImageDiffJob(
        id=5, created_at=clanforge_async.refs.EPOCH, updated_at=clanforge_async.refs.EPOCH, state=None
    )
    raised: list[tuple[Exception, int]] = [
        (JobFailedError(job), 1),
        (JobSquashedError(job), 1),
        (WatchTimeoutError(REF), 3),
        (StaleJobError(REF), 3),
        (PermissionDeniedError("forbidden", status_code=502), 4),
        (WatchClosedError(REF), 5),
        (TransportError("broken", request_sent=True), 5),
        (RequestTimeoutError("slow", request_sent=True), 5),
        (ServerError("down", status_code=500), 5),
        (InvalidResponseError("unreadable"), 5),
        (APIError("too early", status_code=425), 5),
        (APIError("moved", status_code=301), 6),
        (APIError("wrong", status_code=200), 6),
        (ImageLockedError("locked", holder=JobRef.image_diff(1), status_code=408), 6),
        (RetryOutcomeUnknownError(JobRef.image_diff(5)), 7),
    ]
    assert [(error, exit_status(error)) for error, _ in raised] == raised
