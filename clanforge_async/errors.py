"""Everything that goes wrong, as one tree.

::

    ClanforgeError
    ├─ ConfigurationError            (ValueError too)
    ├─ TransportError                the network or the protocol failed
    │  └─ RequestTimeoutError        (TimeoutError too)
    ├─ APIError                      the server answered with an error
    │  ├─ BadRequestError            400
    │  ├─ AuthenticationError        401
    │  ├─ PermissionDeniedError      403
    │  ├─ NotFoundError              404
    │  ├─ RateLimitError             429
    │  ├─ ServerError                5xx
    │  └─ ImageLockedError           any status
    ├─ InvalidResponseError          the server answered with something unreadable
    ├─ RetryOutcomeUnknownError      a retry that may or may not have happened
    ├─ JobFailedError                the job itself failed
    │  └─ JobSquashedError           a newer job replaced it
    ├─ StaleJobError                 a watch saw nothing new in time
    ├─ WatchClosedError              its watcher was closed
    └─ WatchTimeoutError             its time was up (TimeoutError too)

Every error survives pickling with its attributes and, where that is an error of this tree, its cause.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

LONGEST_MESSAGE = 500
"""How many characters of the server's words an error's message quotes."""


def _rebuild(
    cls: type[ClanforgeError],
    args: tuple[Any, ...],
    attributes: dict[str, Any],
    cause: ClanforgeError | None,
) -> ClanforgeError:
    error = cls.__new__(cls)
    error.args = args
    error.__dict__.update(attributes)
    error.__cause__ = cause
    return error


class ClanforgeError(Exception):
    """Base of every error that this package raises."""

    def __reduce__(self) -> tuple[Callable[..., ClanforgeError], tuple[Any, ...]]:
        # Exceptions are rebuilt by calling their class with `args`, which constructors that take keywords break.
        cause = self.__cause__ if isinstance(self.__cause__, ClanforgeError) else None
        return _rebuild, (type(self), self.args, self.__dict__, cause)


class ConfigurationError(ClanforgeError, ValueError):
    """The client or watcher cannot work as it was set up, or has been closed."""


class TransportError(ClanforgeError):
    """The connection failed, or what came over it was not HTTP.

    Attributes:
        request_sent: False only where it is certain that the server saw nothing of the request.
    """

    def __init__(self, message: str, *, request_sent: bool) -> None:
        super().__init__(message)
        self.request_sent = request_sent


class RequestTimeoutError(TransportError, TimeoutError):
    """One request took longer than the client's ``timeout``."""


class APIError(ClanforgeError):
    """The server answered with an error: by its status, or by an error envelope under any status.

    Attributes:
        message: What the server says, or its status in words where it says nothing.
        status_code: The HTTP status; may be 200, since the server wraps errors in successful answers.
        error_code: The envelope's ``error_code``, if there is one.
        method: The request's method.
        url: The request's address, without its query.
        body: The first 2 KiB of the answer's body.
        retry_after: Seconds after which the server allows another request, if it said so.
    """

    def __init__(
        self,
        message: str,
        *,
        status_code: int,
        error_code: int | None = None,
        method: str = "GET",
        url: str = "",
        body: str = "",
        retry_after: float | None = None,
    ) -> None:
        code = "" if error_code is None else f", error code {error_code}"
        super().__init__(f"{message} (HTTP {status_code}{code}: {method} {url})")
        self.message = message
        self.status_code = status_code
        self.error_code = error_code
        self.method = method
        self.url = url
        self.body = body
        self.retry_after = retry_after


class BadRequestError(APIError):
    """400: a parameter is missing or malformed, such as ``accountserviceid``."""


class AuthenticationError(APIError):
    """401: the keys or the token are wrong."""


class PermissionDeniedError(APIError):
    """403 or ``forbidden``: these credentials have no access to the account or the resource."""


class NotFoundError(APIError):
    """404: no such image diff or image version."""


class RateLimitError(APIError):
    """429: too many requests; ``retry_after`` holds the seconds that the server asks for, if any."""


class ServerError(APIError):
    """5xx: the server, or a gateway in front of it, failed."""


class ImageLockedError(APIError):
    """The image is locked by a diff that was neither accepted nor rejected.

    Attributes:
        diff_id: The image diff that holds the lock.
    """

    def __init__(
        self,
        message: str,
        *,
        diff_id: int,
        status_code: int,
        error_code: int | None = None,
        method: str = "GET",
        url: str = "",
        body: str = "",
        retry_after: float | None = None,
    ) -> None:
        super().__init__(
            message,
            status_code=status_code,
            error_code=error_code,
            method=method,
            url=url,
            body=body,
            retry_after=retry_after,
        )
        self.diff_id = diff_id


class InvalidResponseError(ClanforgeError):
    """An answer that cannot be read: not JSON, not an object, not a job, or too large.

    Attributes:
        fields: The wire names of the fields at fault; empty where the body as a whole is.
        body: The first 2 KiB of the body.
    """

    def __init__(self, message: str, *, fields: tuple[str, ...] = (), body: str = "") -> None:
        super().__init__(message)
        self.fields = fields
        self.body = body


class RetryOutcomeUnknownError(ClanforgeError):
    """Asking for a retry failed in a way that leaves open whether the server acted upon it.

    The failure itself is chained as the cause. Read the diff's status before asking again: a second retry
    would throw away a run that the first one may have started.

    Attributes:
        diff_id: The image diff that may or may not be running again.
    """

    def __init__(self, diff_id: int) -> None:
        super().__init__(f"the retry of image diff {diff_id} may or may not have happened")
        self.diff_id = diff_id
