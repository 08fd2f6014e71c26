"""The scenarios of the suite, and the error with which each of them must end."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from attrs import frozen

from clanforge_async import BadRequestError, ClanforgeError, InvalidResponseError, JobFailedError, NotFoundError

_ERRORS: tuple[tuple[str, type[ClanforgeError]], ...] = (
    (r"400", BadRequestError),  # first, since one of these answers with malformed JSON as well
    (r"InvalidHeader", NotFoundError),  # the server sends the address of a page that it does not have
    # NoLocation is a 202 without an address to poll: an error by the server's names, although some clients accept it.
    (r"InvalidJson|No(Status|Payload|ProvisioningState|Location)", InvalidResponseError),
    (r"Failed|[Cc]anceled", JobFailedError),
)
"""Patterns of operation names, and the error of the first that matches; a scenario without a match completes."""

_REQUIRED_HEADER = re.compile(r"(\S+) = (\S+) is required message header")


@frozen(kw_only=True)
class Scenario:
    """One long-running operation of the suite.

    Attributes:
        name: The operation's id in the swagger file.
        method: The method of the request that starts it.
        path: The path of that request, and of the resource that the operation works on.
        headers: Headers that each of its requests must have.
        final_state_via: The declared place of the result, such as ``location``; None: the default of the method.
    """

    name: str
    method: str
    path: str
    headers: Mapping[str, str]
    final_state_via: str | None

    @property
    def expected_error(self) -> type[ClanforgeError] | None:
        """The error with which a watch of the operation must end; None: the operation completes."""
        return next((error for pattern, error in _ERRORS if re.search(pattern, self.name)), None)


def read_scenarios(swagger: Mapping[str, Any]) -> list[Scenario]:
    """Return every long-running operation of a swagger file, in its order."""
    return [
        Scenario(
            name=operation["operationId"],
            method=method.upper(),
            path=path,
            headers=dict(_REQUIRED_HEADER.findall(operation.get("description", ""))),
            final_state_via=operation.get("x-ms-long-running-operation-options", {}).get("final-state-via"),
        )
        for path, methods in swagger["paths"].items()
        for method, operation in methods.items()
        if operation.get("x-ms-long-running-operation")
    ]
