"""Refused requests and the API's error envelope, and the message for a missing extra."""

from __future__ import annotations

from typing import Any

from clanforge_async.refs import JobKind, JobRef

MISSING_EXTRA = "the simulator needs starlette and uvicorn: pip install 'clanforge-async[simulator]'"


class RequestRefusedError(Exception):
    """The simulated server refuses a request.

    Attributes:
        status: The HTTP status, which can be 200: the server wraps some errors in successful responses.
        code: The envelope's ``error_code``. Only the 1 of a locked image was observed; otherwise the status is used.
        message: The envelope's ``error_message``.
    """

    def __init__(self, status: int, message: str, *, code: int | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.code: int = status if code is None else code
        self.message = message


def locked(holder: JobRef) -> RequestRefusedError:
    """Return the refusal of a request for an image that an image diff or update locks."""
    name = "diffid" if holder.kind is JobKind.IMAGE_DIFF else "updateid"
    return RequestRefusedError(200, f"image locked by {name}: {holder.id}", code=1)


def envelope(code: int, message: str) -> dict[str, Any]:
    """Return the JSON object in which the server wraps an error."""
    return {
        "success": False,
        "error": True,
        "error_code": code,
        "error_message": message,
        "messages": [],
        "_debug": [],
    }
