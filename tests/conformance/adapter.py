"""An httpx transport that responds to the client's status polls with long-running operations of another API.

The operations follow the rules of Azure Resource Manager: the response to the first request names a status page
(``Azure-AsyncOperation`` or ``Operation-Location``), a ``Location``, or neither, in which case the resource itself is
polled. After a status page reports success, the result is read as well.
"""

from __future__ import annotations

import enum
import json
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

import httpx

from clanforge_async import JobKind, JobRef, JobState, job_to_dict
from clanforge_async.testing import image_version_job
from conformance.scenarios import Scenario

_ACCEPTED, _NO_CONTENT = 202, 204
_TERMINAL_STATES = {
    "succeeded": JobState.COMPLETED,
    "failed": JobState.FAILED,
    "canceled": JobState.FAILED,
}


class Stage(enum.Enum):
    """The kind of an operation's next request."""

    START = enum.auto()
    RESOURCE = enum.auto()
    LOCATION = enum.auto()
    STATUS_PAGE = enum.auto()
    RESULT = enum.auto()


def parse_state(stage: Stage, status_code: int, body: bytes) -> JobState | None:
    """Return the job state that a 2xx response stands for; None if it is malformed."""
    if status_code == _ACCEPTED:
        return JobState.RUNNING
    if status_code == _NO_CONTENT or stage is Stage.RESULT or (stage is Stage.LOCATION and not body):
        return JobState.COMPLETED
    payload = _parse_object(body)
    if payload is None:
        return None
    if stage is Stage.STATUS_PAGE:
        state = payload.get("status")
    else:
        properties = payload.get("properties")
        state = properties.get("provisioningState", "Succeeded") if isinstance(properties, dict) else "Succeeded"
    return _TERMINAL_STATES.get(state.lower(), JobState.RUNNING) if isinstance(state, str) else None


def _parse_object(body: bytes) -> Mapping[str, Any] | None:
    try:
        payload = json.loads(body)
    except ValueError:
        return None
    return payload if isinstance(payload, dict) else None


class Operation:
    """A long-running operation: builds its next request, and parses the response.

    Args:
        scenario: The operation's requests.
        base_url: The server's address.

    Attributes:
        scenario: The same.
        errors: Number of responses that were errors or malformed, by status; those with a 2xx were malformed.
    """

    def __init__(self, scenario: Scenario, base_url: httpx.URL) -> None:
        self.scenario = scenario
        self.errors: Counter[int] = Counter()
        self._resource = base_url.join(scenario.path)
        self._url: httpx.URL | None = self._resource
        self._location: httpx.URL | None = None
        self._stage = Stage.START
        self._cookies = httpx.Cookies()  # the server keeps an operation's progress in one

    def build_request(self) -> httpx.Request | None:
        """Return the request that starts the operation, or its next poll; None if it has no address to poll."""
        if self._url is None:
            return None
        method = self.scenario.method if self._stage is Stage.START else "GET"
        return httpx.Request(method, self._url, headers=self.scenario.headers, cookies=self._cookies)

    def read(self, response: httpx.Response) -> JobState | None:
        """Return the operation's state after a response; None if that is an error or malformed."""
        self._cookies.extract_cookies(response)
        if not response.is_success:
            return None  # the next request is the same, so a start that failed is tried again
        stage, state = self._stage, parse_state(self._stage, response.status_code, response.content)
        self._follow(response.headers)
        if stage is Stage.STATUS_PAGE and state is JobState.COMPLETED and (result := self._result_url()):
            self._stage, self._url = Stage.RESULT, result
            return JobState.RUNNING
        return None if state is JobState.RUNNING and self._url is None else state

    def _follow(self, headers: httpx.Headers) -> None:
        """Continue at the address that a response names, if any."""
        status_page, location = headers.get("Operation-Location", headers.get("Azure-AsyncOperation")), None
        if "Location" in headers:
            location = self._location = self._resource.join(headers["Location"])
        if status_page is not None:
            self._stage, self._url = Stage.STATUS_PAGE, self._resource.join(status_page)
        elif location is not None and self._stage is not Stage.STATUS_PAGE:
            self._stage, self._url = Stage.LOCATION, location
        elif self._stage is Stage.START:
            self._stage, self._url = Stage.RESOURCE, self._resource if self._has_resource else None

    def _result_url(self) -> httpx.URL | None:
        via = self.scenario.final_state_via
        if via == "location" or (via is None and self.scenario.method == "POST"):
            return self._location
        return self._resource if via is None and self._has_resource else None

    @property
    def _has_resource(self) -> bool:
        return self.scenario.method in {"PUT", "PATCH"}


class OperationTransport(httpx.AsyncBaseTransport):
    """Responds to each status poll of an image version with one request of a long-running operation.

    Errors and malformed responses of the server, and network failures, reach the client unchanged.

    Args:
        operations: The operations; the first stands for image version 1, and so on.
        inner: Sends the requests.

    Attributes:
        refs: The image versions.
    """

    def __init__(self, operations: Iterable[Operation], inner: httpx.AsyncBaseTransport) -> None:
        self._operations = dict(enumerate(operations, 1))
        self._inner = inner
        self.refs = [JobRef(JobKind.IMAGE_VERSION, number) for number in self._operations]

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        *_, number, _status = request.url.path.split("/")
        operation = self._operations[int(number)]
        poll, state = operation.build_request(), None
        if poll is None:
            response = httpx.Response(_ACCEPTED)  # the response remains the same: accepted, without an address
        else:
            poll.extensions = request.extensions
            response = await self._inner.handle_async_request(poll)
            response.request = poll
            await response.aread()
            state = operation.read(response)
        if state is None:
            operation.errors[response.status_code] += 1
            return response
        return httpx.Response(200, json=job_to_dict(image_version_job(int(number), state)))

    async def aclose(self) -> None:
        await self._inner.aclose()
