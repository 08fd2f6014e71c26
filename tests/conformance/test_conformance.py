"""The parts of the conformance suite that need no Node: expectations, the parsing of responses, and the adapter."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

import httpx
import pytest
from attrs import evolve
from support.virtual_time import virtual_time

from clanforge_async import (
    BadRequestError,
    ClanforgeError,
    InvalidResponseError,
    JobFailedError,
    JobState,
    NotFoundError,
)
from conformance.adapter import Operation, Stage, parse_state
from conformance.run import Report, ScenarioResult, watch
from conformance.scenarios import Scenario, read_scenarios

BASE_URL = httpx.URL("http://127.0.0.1")
SWAGGER = {
    "paths": {
        "/disk": {
            "get": {"operationId": "Disks_get"},
            "put": {
                "operationId": "Disks_putAsyncSucceeded",
                "x-ms-long-running-operation": True,
                "description": "x-request-id = 9C4D is required message header for all requests. Creates a disk.",
            },
        },
        "/disk/copy": {
            "post": {
                "operationId": "Disks_copy",
                "x-ms-long-running-operation": True,
                "x-ms-long-running-operation-options": {"final-state-via": "location"},
            }
        },
    }
}
PUT, POST = read_scenarios(SWAGGER)
Answers = Mapping[str, list[httpx.Response]]


class Server:
    """Responds to each request with the next response for its method and path; repeats the last one.

    Attributes:
        requests: The requests so far.
    """

    def __init__(self, answers: Answers) -> None:
        self._answers = answers
        self.requests: list[httpx.Request] = []

    @property
    def log(self) -> list[str]:
        """The method and the path of each request."""
        return [f"{request.method} {request.url.path}" for request in self.requests]

    async def watch(self, scenario: Scenario) -> ScenarioResult:
        """Watch one operation to its end."""
        (end,) = await watch([Operation(scenario, BASE_URL)], httpx.MockTransport(self._answer))
        return end

    def _answer(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        answers = self._answers[self.log[-1]]
        return answers.pop(0) if len(answers) > 1 else answers[0]


def answer(status: int, body: Any = None, **headers: str) -> httpx.Response:
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    return httpx.Response(status, headers=names, **({} if body is None else {"json": body}))


def test_every_long_running_operation_is_a_scenario() -> None:
    """A scenario has the request, the required headers and the declared place of the result."""
    assert [(each.name, each.method, each.path) for each in (PUT, POST)] == [
        ("Disks_putAsyncSucceeded", "PUT", "/disk"),
        ("Disks_copy", "POST", "/disk/copy"),
    ]
    assert (PUT.headers, POST.headers) == ({"x-request-id": "9C4D"}, {})
    assert (PUT.final_state_via, POST.final_state_via) == (None, "location")


@pytest.mark.parametrize(
    ("name", "error"),
    [
        ("LROs_put200SucceededNoState", None),
        ("LROs_deleteNoHeaderInRetry", None),
        ("LROSADs_delete204Succeeded", None),
        ("LROs_putAsyncRetryFailed", JobFailedError),
        ("LROs_put200Acceptedcanceled200", JobFailedError),
        ("LROSADs_postAsyncRelativeRetry400", BadRequestError),
        ("LROSADs_putNonRetry201Creating400InvalidJson", BadRequestError),
        ("LROSADs_post202RetryInvalidHeader", NotFoundError),
        ("LROSADs_put200InvalidJson", InvalidResponseError),
        ("LROSADs_putAsyncRelativeRetryNoStatus", InvalidResponseError),
        ("LROSADs_post202NoLocation", InvalidResponseError),
    ],
)
def test_the_name_of_an_operation_implies_its_end(name: str, error: type[ClanforgeError] | None) -> None:
    """Only names of failures, refusals and malformed responses expect an error."""
    assert evolve(PUT, name=name).expected_error is error


@pytest.mark.parametrize(
    ("stage", "status", "body", "state"),
    [
        (Stage.START, 202, b"", JobState.RUNNING),
        (Stage.START, 202, b'{"properties": {"provisioningState": "Succeeded"}}', JobState.RUNNING),
        (Stage.START, 204, b"", JobState.COMPLETED),
        (Stage.START, 200, b'{"id": "100"}', JobState.COMPLETED),
        (Stage.START, 201, b'{"properties": {"provisioningState": "Creating"}}', JobState.RUNNING),
        (Stage.START, 201, b"", None),
        (Stage.RESOURCE, 200, b'{"properties": {"provisioningState": "Canceled"}}', JobState.FAILED),
        (Stage.RESOURCE, 200, b'{"properties": null}', JobState.COMPLETED),
        (Stage.RESOURCE, 200, b'{"properties": {"provisioningState": 5}}', None),
        (Stage.RESOURCE, 200, b"", None),
        (Stage.LOCATION, 200, b"", JobState.COMPLETED),
        (Stage.LOCATION, 200, b'{"properties": {"provisioningState": "Failed"}}', JobState.FAILED),
        (Stage.STATUS_PAGE, 200, b'{"status": "InProgress"}', JobState.RUNNING),
        (Stage.STATUS_PAGE, 200, b'{"status": "succeeded"}', JobState.COMPLETED),
        (Stage.STATUS_PAGE, 200, b"{ }", None),
        (Stage.STATUS_PAGE, 200, b'{"status": "Accepted"', None),
        (Stage.STATUS_PAGE, 200, b'["Succeeded"]', None),
        (Stage.RESULT, 200, b'[{"id": "100"}]', JobState.COMPLETED),
    ],
)
def test_a_response_stands_for_a_job_state(stage: Stage, status: int, body: bytes, state: JobState | None) -> None:
    """The stage of the operation decides which part of a response counts."""
    assert parse_state(stage, status, body) is state


@virtual_time
async def test_a_status_page_is_polled_before_the_result() -> None:
    """Errors before the result reach the client, which polls again."""
    creating = {"properties": {"provisioningState": "Creating"}}
    server = Server(
        {
            "PUT /disk": [answer(500), answer(201, creating, Azure_AsyncOperation="/status", Location="/unused")],
            "GET /status": [answer(202), answer(500), answer(200, {"status": "Succeeded"})],
            "GET /disk": [answer(500), answer(200, creating)],
        }
    )
    end = await server.watch(PUT)
    assert end.result.ok
    assert server.log == ["PUT /disk"] * 2 + ["GET /status"] * 3 + ["GET /disk"] * 2
    assert end.result.polls == len(server.log)
    assert end.operation.errors == {500: 3}


@virtual_time
async def test_a_location_is_followed_while_responses_are_202() -> None:
    """Each response may name a new location; a response without one keeps the last."""
    failed = {"properties": {"provisioningState": "Failed"}}
    server = Server(
        {
            "POST /disk/copy": [answer(202, Location="/first")],
            "GET /first": [answer(202), answer(202, Location="/second")],
            "GET /second": [answer(200, failed)],
        }
    )
    end = await server.watch(POST)
    assert isinstance(end.result.error, JobFailedError)
    assert server.log == ["POST /disk/copy", "GET /first", "GET /first", "GET /second"]


@virtual_time
async def test_the_declared_place_of_the_result_is_read() -> None:
    """With ``location`` the result comes from there, with ``azure-async-operation`` there is none to read."""
    links = {"Operation_Location": "/status", "Location": "/result"}
    answers = {
        "POST /disk/copy": [answer(202, **links)],
        "GET /status": [answer(200, {"status": "Succeeded"})],
        "GET /result": [answer(200)],
    }
    for via, rest in (("location", ["GET /result"]), ("azure-async-operation", []), (None, ["GET /result"])):
        server = Server(answers)
        end = await server.watch(evolve(POST, final_state_via=via))
        assert end.result.ok
        assert server.log == ["POST /disk/copy", "GET /status", *rest]


@virtual_time
async def test_a_resource_is_polled_if_no_address_is_given() -> None:
    """A PUT without headers is polled at its own path."""
    creating, succeeded = ({"properties": {"provisioningState": state}} for state in ("Creating", "Succeeded"))
    server = Server(
        {"PUT /disk": [answer(201, creating)], "GET /disk": [answer(200, creating), answer(200, succeeded)]}
    )
    end = await server.watch(PUT)
    assert end.result.ok
    assert server.log == ["PUT /disk", "GET /disk", "GET /disk"]


@virtual_time
async def test_a_post_without_an_address_stays_malformed() -> None:
    """An operation is never started again after it was accepted."""
    server = Server({"POST /disk/copy": [answer(202)]})
    end = await server.watch(POST)
    assert isinstance(end.result.error, InvalidResponseError)
    assert server.log == ["POST /disk/copy"]
    assert end.operation.errors == {202: end.result.polls}
    assert end.result.polls > 1


@virtual_time
async def test_requests_carry_the_cookie_and_the_required_header() -> None:
    """The server's cookie belongs to one operation; the client's credentials are not sent."""
    server = Server({"PUT /disk": [answer(500, Set_Cookie="scenario=disk; Path=/"), answer(200, {})]})
    await server.watch(PUT)
    assert [request.headers.get("Cookie") for request in server.requests] == [None, "scenario=disk"]
    assert [request.headers["x-request-id"] for request in server.requests] == ["9C4D", "9C4D"]
    assert not any("Authorization" in request.headers for request in server.requests)


@virtual_time
async def test_a_report_names_what_differs_from_a_good_run() -> None:
    """An unexpected end and a scenario without coverage are failures."""
    refused = await Server({"PUT /disk": [answer(400)]}).watch(PUT)
    assert Report([refused], {"Disks": 0}).failures == [
        "Disks_putAsyncSucceeded: BadRequestError instead of completed",
        "Disks: not covered by the server's count",
    ]


@virtual_time
async def test_a_good_run_has_no_failures() -> None:
    """The table counts the scenarios, the polls by the errors in their responses, and the coverage."""
    refused = await Server({"PUT /disk": [answer(400)]}).watch(evolve(PUT, name="Disks_put400"))
    malformed = await Server({"POST /disk/copy": [answer(202)]}).watch(evolve(POST, name="Disks_postNoLocation"))
    report = Report([refused, malformed], {"Disks": 1, "Copies": 1})
    assert report.failures == []
    assert [" ".join(line.split()) for line in str(report).splitlines() if line.strip()][2:] == [
        "scenarios 2",
        "ended as expected 2",
        "BadRequestError 1",
        "InvalidResponseError 1",
        "polls 10",
        "malformed, with HTTP 202 9",
        "HTTP 400 1",
        "covered, as the server counts 2 of 2",
    ]


@virtual_time
async def test_a_refusal_ends_a_watch_and_one_malformed_response_does_not() -> None:
    """The right error at the wrong moment is a failure too."""
    refused = await Server({"PUT /disk": [answer(400)]}).watch(evolve(PUT, name="Disks_put400"))
    malformed = await Server({"PUT /disk": [answer(201)], "GET /disk": [answer(200)]}).watch(
        evolve(PUT, name="Disks_putNoPayload")
    )
    assert (refused.failure, malformed.failure) == (None, None)
    refused.operation.errors[400] = 2
    assert refused.failure == "polled again after a refusal"
    malformed.operation.errors = Counter({200: 1})
    assert malformed.failure == "not polled again after a malformed answer"
