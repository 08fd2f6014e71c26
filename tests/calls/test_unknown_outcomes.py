"""The eight calls with a side effect: sent again only if the server cannot have processed them; else reads decide."""

from __future__ import annotations

import asyncio
import pickle
from collections.abc import Iterator, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Any

import httpx
import pytest
from attrs import evolve, frozen
from support.failures import MAX_RESPONSE_BYTES, REJECTED, UNKNOWN_OUTCOMES, UNSENT
from support.image_answers import IMAGE, install_wire, options_wire
from support.scripted_server import START, Answer, ScriptedServer, answer, envelope, wire
from support.side_effects import BY_NAME, INSTALL, SIDE_EFFECTS, SideEffect
from support.virtual_time import virtual_time

from clanforge_async import (
    APIError,
    ClanforgeClient,
    DiffRejection,
    ImageLockedError,
    InvalidResponseError,
    JobRef,
    JobState,
    OutcomeUnknownError,
    QueuedInstall,
    RateLimitError,
    RetryOutcomeUnknownError,
    TransportError,
)

Key = tuple[str, int]
OPTIONS, INSTALLS = ("image/options", 0), ("imageinstall/status", 0)
UPDATE, DIFF = "imageupdate/status", "imagediff/status"
FAILED_READ = httpx.Response(404, json=envelope("no such thing"))
NO_LOCK = options_wire()

each_call = pytest.mark.parametrize("call", SIDE_EFFECTS, ids=str)


@frozen
class DecidingReads:
    """The responses to the reads after a failure, and the result of the call.

    Attributes:
        name: Name of the case.
        call: The call.
        reads: The responses to the reads, by call and id.
        result: The result of the call; None: its outcome stays unknown.
        candidate: The error's ``candidate``.
        lock: The error's ``lock``.
    """

    name: str
    call: SideEffect
    reads: Mapping[Key, Any]
    result: Any = None
    candidate: JobRef | None = None
    lock: JobRef | None = None

    def __str__(self) -> str:
        return f"{self.call}: {self.name}"


def cases_after_create(kind: str, id_field: str, rival_field: str, ref: JobRef) -> list[DecidingReads]:
    call = BY_NAME[f"image_{kind}s.create"]
    lock, status = options_wire(**{id_field: 6}), (f"image{kind}/status", 6)
    return [
        DecidingReads("ours or a rival's", call, {OPTIONS: lock, status: wire(6, jobcreated=START)}, candidate=ref),
        DecidingReads(
            "ended already", call, {OPTIONS: lock, status: wire(6, JobState.FAILED, jobcreated=START)}, candidate=ref
        ),
        DecidingReads("an older one", call, {OPTIONS: lock, status: wire(6, jobcreated=START - 2)}),
        DecidingReads("of the other kind", call, {OPTIONS: options_wire(**{rival_field: 6})}),
        DecidingReads("none", call, {OPTIONS: NO_LOCK}),
        DecidingReads("read of the lock fails", call, {OPTIONS: FAILED_READ}),
        DecidingReads("read of the job fails", call, {OPTIONS: lock, status: FAILED_READ}),
        DecidingReads("image in no game", call, {OPTIONS: options_wire(5)}),
    ]


def cases_after_retry(kind: str) -> list[DecidingReads]:
    call, status = BY_NAME[f"image_{kind}s.retry"], (f"image{kind}/status", 5)
    return [
        DecidingReads("runs", call, {status: wire(5, jobupdated=START - 9)}, result=JobState.RUNNING),
        DecidingReads(
            "ended since", call, {status: wire(5, JobState.FAILED, jobupdated=START + 2)}, result=JobState.FAILED
        ),
        DecidingReads("ended before", call, {status: wire(5, JobState.FAILED, jobupdated=START - 2)}),
        DecidingReads("read fails", call, {status: FAILED_READ}),
    ]


REJECT, VERSION, QUEUE = (BY_NAME[f"image_{name}"] for name in ("diffs.reject", "versions.create", "installs.queue"))
CASES = [
    *cases_after_create("update", "updateid", "diffid", JobRef.image_update(6)),
    *cases_after_create("diff", "diffid", "updateid", JobRef.image_diff(6)),
    *cases_after_retry("update"),
    *cases_after_retry("diff"),
    DecidingReads("image is free", REJECT, {OPTIONS: NO_LOCK}, result=DiffRejection(diff_id=5)),
    DecidingReads("another locks it", REJECT, {OPTIONS: options_wire(diffid=6)}, result=DiffRejection(diff_id=5)),
    DecidingReads("update locks it", REJECT, {OPTIONS: options_wire(updateid=5)}, result=DiffRejection(diff_id=5)),
    DecidingReads("still locks it", REJECT, {OPTIONS: options_wire(diffid=5)}, lock=JobRef.image_diff(5)),
    DecidingReads("read fails", REJECT, {OPTIONS: FAILED_READ}),
    DecidingReads("diff still locks", VERSION, {OPTIONS: options_wire(diffid=5)}, lock=JobRef.image_diff(5)),
    DecidingReads("another locks", VERSION, {OPTIONS: options_wire(updateid=6)}, lock=JobRef.image_update(6)),
    DecidingReads("image is free", VERSION, {OPTIONS: NO_LOCK}),
    DecidingReads("read fails", VERSION, {OPTIONS: FAILED_READ}),
    DecidingReads("entry is gone", QUEUE, {INSTALLS: {"installs": [install_wire(32)]}}, result=QueuedInstall()),
    *(
        DecidingReads(
            state.name.lower(), QUEUE, {INSTALLS: {"installs": [install_wire(31, state)]}}, result=QueuedInstall()
        )
        for state in (JobState.QUEUED, JobState.RUNNING, JobState.COMPLETED)
    ),
    DecidingReads("still pending", QUEUE, {INSTALLS: {"installs": [install_wire(31)]}}),
    DecidingReads("created", QUEUE, {INSTALLS: {"installs": [install_wire(31, JobState.CREATED)]}}),
    DecidingReads("read fails", QUEUE, {INSTALLS: FAILED_READ}),
    DecidingReads("no read", BY_NAME["images.set_active"], {}),
]


ONE_OF_EACH_KIND = ("read timeout", "502", "html")
"""A lost response, an error and an unreadable response."""


def cases_and_failures() -> Iterator[tuple[DecidingReads, str]]:
    """Yield each call's first case after every failure, and its other cases after one failure of each kind."""
    met = set[str]()
    for case in CASES:
        for failure in ONE_OF_EACH_KIND if case.call.name in met else UNKNOWN_OUTCOMES:
            yield case, failure
        met.add(case.call.name)


def scripted(call: SideEffect, failure: Answer, reads: Mapping[Key, Any]) -> ScriptedServer:
    server = ScriptedServer()
    server.on(*call.key, lambda: failure)
    for key, body in reads.items():
        server.on(*key, lambda body=body: body if isinstance(body, httpx.Response) else answer(body))  # type: ignore[misc] # bound
    return server


async def doubt(call: SideEffect, client: ClanforgeClient) -> OutcomeUnknownError:
    with pytest.raises(OutcomeUnknownError) as raised:
        await call.send(client)
    return raised.value


@pytest.mark.parametrize(("case", "failure"), [*cases_and_failures()], ids=str)
def test_the_documented_reads_decide(case: DecidingReads, failure: str) -> None:
    """After a failure with unknown outcome the documented reads decide, and the call is never sent again.

    Failures and reads are independent: every call is tested with every failure, each case with one failure of a kind.
    """

    @virtual_time
    async def run() -> None:
        make, error_type = UNKNOWN_OUTCOMES[failure]
        server = scripted(case.call, make(), case.reads)
        async with server.client(max_response_bytes=MAX_RESPONSE_BYTES) as client:
            if case.result is None:
                error = await doubt(case.call, client)
                assert (error.call, error.candidate, error.lock) == (case.call.name, case.candidate, case.lock)
                assert type(error.__cause__) is error_type
                assert isinstance(error, RetryOutcomeUnknownError) is case.call.name.endswith("retry")
                twin = pickle.loads(pickle.dumps(error))  # noqa: S301 - our own bytes
                assert (twin.call, twin.candidate, twin.lock) == (error.call, error.candidate, error.lock)
            else:
                result = await case.call.send(client)
                assert (result.state if isinstance(case.result, JobState) else result) == case.result
        assert len(server.asked.pop(case.call.key)) == 1
        assert server.asked.keys() == case.reads.keys()

    run()


@each_call
def test_a_failed_read_is_noted(call: SideEffect) -> None:
    """If the deciding read fails too, a note on the cause says so; the error stays that of the call."""

    @virtual_time
    async def run() -> None:
        reads = dict.fromkeys([OPTIONS, INSTALLS, (UPDATE, 5), (DIFF, 5)], httpx.Response(403))
        async with scripted(call, httpx.ReadTimeout("late"), reads).client() as client:
            error = await doubt(call, client)
        notes = getattr(error.__cause__, "__notes__", [])
        assert [note.partition(":")[0] for note in notes] == [
            {
                "image_installs.queue": "listing the installs failed too",
                "image_updates.retry": "reading the job's status failed too",
                "image_diffs.retry": "reading the job's status failed too",
            }.get(call.name, "reading the image's lock failed too")
        ] * (call.name != "images.set_active")

    run()


@pytest.mark.parametrize(
    "call",
    [
        SideEffect(
            "image_diffs.reject",
            REJECT.key,
            REJECT.path,
            lambda client: client.image_diffs.reject(5, reinstall=True),
            {"diffid": 5},
        ),
        SideEffect(
            "image_versions.create",
            VERSION.key,
            VERSION.path,
            lambda client: client.image_versions.create(5, restart=True),
            wire(9),
        ),
    ],
    ids=str,
)
@virtual_time
async def test_without_an_image_nothing_is_read(call: SideEffect) -> None:
    """Without ``image_id`` no read can decide, so none is sent."""
    server = scripted(call, httpx.ReadTimeout("late"), {})
    async with server.client() as client:
        error = await doubt(call, client)
    assert (error.call, error.lock) == (call.name, None)
    assert server.asked == {call.key: [0.0]}


@pytest.mark.parametrize("state", [JobState.QUEUED, JobState.RUNNING, None])
@virtual_time
async def test_an_install_that_had_begun_proves_nothing(state: JobState | None) -> None:
    """If an install was already past Pending, or in an unknown state, it proves nothing while it is listed."""
    server = scripted(QUEUE, httpx.ReadTimeout("late"), {INSTALLS: {"installs": [install_wire(31, JobState.RUNNING)]}})
    async with server.client() as client:
        with pytest.raises(OutcomeUnknownError):
            await client.image_installs.queue(evolve(INSTALL, state=state))


@pytest.mark.parametrize(
    ("created", "is_candidate"), [(START - 10, False), (START - 1, False), (START, True), (START + 9, True)]
)
@pytest.mark.parametrize("skew", [-86400, 0, 86400])
def test_since_the_call_is_by_the_servers_clock(created: int, is_candidate: bool, skew: int) -> None:
    """A job created in the second of the call or later is a candidate, however late the failure is noticed."""

    @virtual_time
    async def run() -> None:
        call = BY_NAME["image_diffs.create"]

        async def time_out() -> Answer:
            await asyncio.sleep(20)
            return httpx.ReadTimeout("late")

        server = scripted(call, httpx.ReadTimeout("late"), {OPTIONS: options_wire(diffid=6)})
        server.on(*call.key, time_out)
        server.on(DIFF, 6, lambda: dated(wire(6, jobcreated=created + skew), START + 20 + skew))
        async with server.client() as client:
            error = await doubt(call, client)
        assert error.candidate == (JobRef.image_diff(6) if is_candidate else None)

    run()


@virtual_time
async def test_without_a_date_no_job_is_a_candidate() -> None:
    """Without a `Date`, the server's clock is unknown, so no job is a candidate."""
    call = BY_NAME["image_diffs.create"]
    undated = httpx.Response(200, json=wire(6, jobcreated=START + 60))
    server = scripted(call, httpx.ReadTimeout("late"), {OPTIONS: options_wire(diffid=6), (DIFF, 6): undated})
    async with server.client() as client:
        assert (await doubt(call, client)).candidate is None


@each_call
def test_a_read_that_decides_is_repeated(call: SideEffect) -> None:
    """The reads that decide have no side effect, so they are sent again after transient failures."""
    reads = {(UPDATE, 5): wire(5), (DIFF, 5): wire(5), OPTIONS: NO_LOCK, INSTALLS: {"installs": []}}

    @virtual_time
    async def run() -> None:
        server = scripted(call, httpx.ReadTimeout("late"), {})
        for key, body in reads.items():
            answers = [httpx.Response(503), httpx.ReadError("reset")]
            server.on(*key, lambda body=body, answers=answers: answers.pop(0) if answers else answer(body))  # type: ignore[misc] # bound
        async with server.client() as client:
            with suppress(OutcomeUnknownError):
                await call.send(client)
        assert len(server.asked.pop(call.key)) == 1
        assert {len(times) for times in server.asked.values()} <= {3, 4}

    run()


# Nothing sent, 429, refusals


@each_call
@pytest.mark.parametrize("failure", UNSENT)
def test_a_call_without_a_connection_is_sent_again(call: SideEffect, failure: str) -> None:
    """If no connection was made, the call is sent again. If none can be made at all, the outcome is known."""

    @virtual_time
    async def run() -> None:
        server = ScriptedServer()
        answers = [UNSENT[failure], UNSENT[failure]]
        server.on(*call.key, lambda: answers.pop() if answers else answer(call.answer))
        async with server.client() as client:
            await call.send(client)
        assert len(server.asked.pop(call.key)) == 3
        server.on(*call.key, lambda: UNSENT[failure])
        async with server.client(max_retries=1) as client:
            with pytest.raises(TransportError) as raised:
                await call.send(client)
        assert raised.value.request_sent is False
        assert len(server.asked.pop(call.key)) == 2
        assert not server.asked

    run()


@each_call
@virtual_time
async def test_a_429_is_sent_again(call: SideEffect) -> None:
    """A call that got a 429 was not processed: it is sent again, after ``Retry-After``."""
    server = ScriptedServer()
    answers = [httpx.Response(429, headers={"Retry-After": "20"})]
    server.on(*call.key, lambda: answers.pop() if answers else answer(call.answer))
    async with server.client() as client:
        await call.send(client)
    first, second = server.asked.pop(call.key)
    assert second - first >= 20
    assert not server.asked


@each_call
@virtual_time
async def test_a_429_with_a_long_pause_is_raised(call: SideEffect) -> None:
    """A 429 with ``Retry-After`` beyond 60 s is raised at once, with its value."""
    server = scripted(call, httpx.Response(429, headers={"Retry-After": "61"}), {})
    async with server.client() as client:
        with pytest.raises(RateLimitError) as raised:
            await call.send(client)
    assert raised.value.retry_after == 61
    assert server.asked == {call.key: [0.0]}


@each_call
@virtual_time
async def test_a_503_with_a_long_pause_leaves_the_outcome_unknown(call: SideEffect) -> None:
    """A call that got a 503 may have been processed; with ``Retry-After`` beyond 60 s, no read is sent."""
    server = scripted(call, httpx.Response(503, headers={"Retry-After": "61"}), {})
    async with server.client() as client:
        await doubt(call, client)
    assert server.asked == {call.key: [0.0]}


@each_call
@pytest.mark.parametrize("failure", REJECTED)
def test_a_refusal_is_raised_at_once(call: SideEffect, failure: str) -> None:
    """After a refusal, even with status 200, nothing was processed: no second request and no read are sent."""

    @virtual_time
    async def run() -> None:
        server = scripted(call, REJECTED[failure], {})
        async with server.client() as client:
            with pytest.raises(APIError) as raised:
                await call.send(client)
        assert server.asked == {call.key: [0.0]}
        error = raised.value
        assert isinstance(error, ImageLockedError) is failure.startswith("locked")
        if isinstance(error, ImageLockedError):
            is_update = failure == "locked by update"
            assert error.holder == (JobRef.image_update(6) if is_update else JobRef.image_diff(6))
            assert (error.diff_id, error.update_id) == ((None, 6) if is_update else (6, None))

    run()


# Valid JSON with missing fields or another id


@each_call
@pytest.mark.parametrize("body", [{}, {"success": True}, {"something": "else"}], ids=str)
def test_a_response_that_lacks_its_fields(call: SideEffect, body: dict[str, Any]) -> None:
    """After a valid response without id, a create was processed: `InvalidResponseError`. Other outcomes are unknown."""

    @virtual_time
    async def run() -> None:
        reads = dict.fromkeys([OPTIONS, INSTALLS, (UPDATE, 5), (DIFF, 5)], FAILED_READ)
        server = scripted(call, httpx.Response(200, json=body), reads)
        async with server.client() as client:
            with pytest.raises((InvalidResponseError, OutcomeUnknownError)) as raised:
                await call.send(client)
        is_create = call.name.endswith("create")
        assert isinstance(raised.value, InvalidResponseError) is is_create
        if isinstance(raised.value, InvalidResponseError):
            assert set(raised.value.fields) & {"updateid", "diffid", "imageversionid"}
            assert server.asked.keys() == {call.key}
        assert len(server.asked[call.key]) == 1

    run()


@pytest.mark.parametrize(
    ("call", "body"),
    [
        ("image_updates.retry", wire(6)),
        ("image_diffs.retry", wire(6)),
        ("image_diffs.reject", {"diffid": 6}),
        ("images.set_active", {"image": {"imageid": IMAGE + 1, "active": 1}}),
    ],
)
@virtual_time
async def test_a_response_about_another_id_proves_nothing(call: str, body: dict[str, Any]) -> None:
    """After a response about another job, diff or image than the requested one, the outcome is unknown."""
    reads = dict.fromkeys([OPTIONS, (UPDATE, 5), (DIFF, 5)], FAILED_READ)
    async with scripted(BY_NAME[call], answer(body), reads).client() as client:
        error = await doubt(BY_NAME[call], client)
    assert isinstance(error.__cause__, InvalidResponseError)


def dated(body: dict[str, Any], seconds: int) -> httpx.Response:
    date = format_datetime(datetime.fromtimestamp(seconds, UTC), usegmt=True)
    return httpx.Response(200, json=body, headers={"Date": date})
