"""Errors of this package, as one tree.

::

    ClanforgeError
    ├─ ConfigurationError            (ValueError too)
    ├─ TransportError                the network or the protocol failed
    │  └─ RequestTimeoutError        (TimeoutError too)
    ├─ APIError                      the server responded with an error
    │  ├─ BadRequestError            400
    │  ├─ AuthenticationError        401
    │  ├─ PermissionDeniedError      403
    │  ├─ NotFoundError              404
    │  ├─ RateLimitError             429
    │  ├─ ServerError                5xx
    │  └─ ImageLockedError           any status
    ├─ InvalidResponseError          the response cannot be parsed
    ├─ OutcomeUnknownError           a call with a side effect may or may not have been processed
    │  └─ RetryOutcomeUnknownError   a retry may or may not have happened
    ├─ ReleaseError                  a release ended before the machines ran the build
    │  ├─ ReleaseRejectedError       the diff was not approved
    │  ├─ ReleaseSupersededError     a newer version is installed instead
    │  ├─ ReleaseTimeoutError        the release timed out (TimeoutError too)
    │  └─ RolloutError               too many machines failed
    ├─ JobFailedError                the job failed
    │  └─ JobSquashedError           a newer job replaced it
    ├─ StaleJobError                 a watch saw no new status in time
    ├─ WatchClosedError              the watcher was closed
    └─ WatchTimeoutError             the watch timed out (TimeoutError too)

Every error can be pickled with its attributes, and with its cause if that is an error of this tree.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from clanforge_async.refs import JobKind, JobRef

if TYPE_CHECKING:
    from collections.abc import Callable

LONGEST_MESSAGE = 500
"""Largest number of characters of the server's text that an error message quotes."""


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
    """Base class of all errors that this package raises."""

    def __reduce__(self) -> tuple[Callable[..., ClanforgeError], tuple[Any, ...]]:
        # Unpickling calls the class with `args` alone, which fails for constructors with keyword-only arguments.
        cause = self.__cause__ if isinstance(self.__cause__, ClanforgeError) else None
        return _rebuild, (type(self), self.args, self.__dict__, cause)


class ConfigurationError(ClanforgeError, ValueError):
    """The client or watcher is misconfigured or closed."""


class TransportError(ClanforgeError):
    """The connection or the HTTP protocol failed.

    Attributes:
        request_sent: False only if it is certain that no part of the request reached the server.
    """

    def __init__(self, message: str, *, request_sent: bool) -> None:
        super().__init__(message)
        self.request_sent = request_sent


class RequestTimeoutError(TransportError, TimeoutError):
    """One request took longer than the client's ``timeout``."""


class APIError(ClanforgeError):
    """The server responded with an error status, or with an error envelope under any status.

    Attributes:
        message: The server's error message, or the reason phrase of the status if it sent none.
        status_code: The HTTP status; can be 200, since the server wraps errors in successful responses.
        error_code: The ``error_code`` of the envelope, if any.
        method: Method of the request.
        url: URL of the request, without its query.
        body: The first 2 KiB of the response body.
        retry_after: Seconds until the server allows another request, if it says so.
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
    """400: a parameter such as ``accountserviceid`` is missing or malformed."""


class AuthenticationError(APIError):
    """401: the keys or the token are wrong."""


class PermissionDeniedError(APIError):
    """403 or ``forbidden``: the credentials have no access to the account or the resource."""


class NotFoundError(APIError):
    """404: no such image diff or image version."""


class RateLimitError(APIError):
    """429: too many requests; see ``retry_after``."""


class ServerError(APIError):
    """5xx: the server, or a gateway in front of it, failed."""


class ImageLockedError(APIError):
    """The image is locked by a diff that was neither accepted nor rejected, or by an update.

    Attributes:
        holder: The image diff or image update that holds the lock.
    """

    def __init__(
        self,
        message: str,
        *,
        holder: JobRef,
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
        self.holder = holder

    @property
    def diff_id(self) -> int | None:
        """The image diff that holds the lock; None if an update does."""
        return _id_of(self.holder, JobKind.IMAGE_DIFF)

    @property
    def update_id(self) -> int | None:
        """The image update that holds the lock; None if a diff does."""
        return _id_of(self.holder, JobKind.IMAGE_UPDATE)


def _id_of(ref: JobRef, kind: JobKind) -> int | None:
    return ref.id if ref.kind is kind else None


class InvalidResponseError(ClanforgeError):
    """The response cannot be parsed: not JSON, not an object, a field missing or malformed, or too large.

    Attributes:
        fields: JSON names of the invalid fields; empty if the whole body is invalid.
        body: The first 2 KiB of the response body.
    """

    def __init__(self, message: str, *, fields: tuple[str, ...] = (), body: str = "") -> None:
        super().__init__(message)
        self.fields = fields
        self.body = body


class OutcomeUnknownError(ClanforgeError):
    """A call with a side effect failed, and the server may or may not have processed it.

    The failure is chained as the cause. The call may take effect twice if you send it again: read the state first.

    Attributes:
        call: The method, as in ``image_updates.create``.
        candidate: A job that the call may have created: it locks the image and was created after the call was sent.
            Another client may have created it. None if there is no such job, or if reading it failed too.
        lock: The job that locks the image now; None if no job does, or if the lock could not be read.
    """

    def __init__(
        self, call: str, *, candidate: JobRef | None = None, lock: JobRef | None = None, message: str | None = None
    ) -> None:
        found = "" if candidate is None else f"; {candidate} was created after it was sent, possibly by it"
        unknown = f"the outcome of {call} is unknown: the server may or may not have processed it{found}"
        super().__init__(message or unknown)
        self.call = call
        self.candidate = candidate
        self.lock = lock


class RetryOutcomeUnknownError(OutcomeUnknownError):
    """A retry failed, and the server may or may not have processed it. The failure is chained as the cause.

    Read the job's status before retrying again: a second retry discards the run that the first may have started.

    Attributes:
        ref: The image update or image diff that may or may not be running again.
    """

    def __init__(self, ref: JobRef) -> None:
        message = f"the retry of {ref.kind.replace('-', ' ')} {ref.id} may or may not have happened"
        super().__init__(f"{ref.kind.replace('-', '_')}s.retry", message=message)
        self.ref = ref

    @property
    def diff_id(self) -> int | None:
        """The image diff; None for an update."""
        return _id_of(self.ref, JobKind.IMAGE_DIFF)

    @property
    def update_id(self) -> int | None:
        """The image update; None for a diff."""
        return _id_of(self.ref, JobKind.IMAGE_UPDATE)
