"""Asyncio SDK for the Clanforge game-image API."""

# Names are imported when they are first asked for: pytest loads the package for its plugin wherever it is installed.
import importlib
import typing

if typing.TYPE_CHECKING:
    from clanforge_async._options import CLANFORGE_URL, MULTIPLAY_URL
    from clanforge_async._results import WatchResult
    from clanforge_async._wire import job_from_dict, job_to_dict
    from clanforge_async.auth import AccessKeyAuth, BearerTokenAuth
    from clanforge_async.client import ClanforgeClient
    from clanforge_async.errors import (
        APIError,
        AuthenticationError,
        BadRequestError,
        ClanforgeError,
        ConfigurationError,
        ImageLockedError,
        InvalidResponseError,
        JobFailedError,
        JobSquashedError,
        NotFoundError,
        PermissionDeniedError,
        RateLimitError,
        RequestTimeoutError,
        RetryOutcomeUnknownError,
        ServerError,
        StaleJobError,
        TransportError,
        WatchClosedError,
        WatchTimeoutError,
    )
    from clanforge_async.jobs import ImageDiffJob, ImageVersionJob, Job, JobKind, JobRef, JobState
    from clanforge_async.polling import until_eta
    from clanforge_async.watcher import JobWatcher
else:

    def __getattr__(name: str) -> object:
        if name not in _HOMES:
            msg = f"module {__name__!r} has no attribute {name!r}"
            raise AttributeError(msg)
        value: object = getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
        globals()[name] = value
        return value

    def __dir__() -> list[str]:
        return sorted({*globals(), *__all__})


__all__ = [
    "CLANFORGE_URL",
    "MULTIPLAY_URL",
    "APIError",
    "AccessKeyAuth",
    "AuthenticationError",
    "BadRequestError",
    "BearerTokenAuth",
    "ClanforgeClient",
    "ClanforgeError",
    "ConfigurationError",
    "ImageDiffJob",
    "ImageLockedError",
    "ImageVersionJob",
    "InvalidResponseError",
    "Job",
    "JobFailedError",
    "JobKind",
    "JobRef",
    "JobSquashedError",
    "JobState",
    "JobWatcher",
    "NotFoundError",
    "PermissionDeniedError",
    "RateLimitError",
    "RequestTimeoutError",
    "RetryOutcomeUnknownError",
    "ServerError",
    "StaleJobError",
    "TransportError",
    "WatchClosedError",
    "WatchResult",
    "WatchTimeoutError",
    "job_from_dict",
    "job_to_dict",
    "until_eta",
]

_HOMES = {
    "CLANFORGE_URL": "_options",
    "MULTIPLAY_URL": "_options",
    "APIError": "errors",
    "AccessKeyAuth": "auth",
    "AuthenticationError": "errors",
    "BadRequestError": "errors",
    "BearerTokenAuth": "auth",
    "ClanforgeClient": "client",
    "ClanforgeError": "errors",
    "ConfigurationError": "errors",
    "ImageDiffJob": "jobs",
    "ImageLockedError": "errors",
    "ImageVersionJob": "jobs",
    "InvalidResponseError": "errors",
    "Job": "jobs",
    "JobFailedError": "errors",
    "JobKind": "jobs",
    "JobRef": "jobs",
    "JobSquashedError": "errors",
    "JobState": "jobs",
    "JobWatcher": "watcher",
    "NotFoundError": "errors",
    "PermissionDeniedError": "errors",
    "RateLimitError": "errors",
    "RequestTimeoutError": "errors",
    "RetryOutcomeUnknownError": "errors",
    "ServerError": "errors",
    "StaleJobError": "errors",
    "TransportError": "errors",
    "WatchClosedError": "errors",
    "WatchResult": "_results",
    "WatchTimeoutError": "errors",
    "job_from_dict": "_wire",
    "job_to_dict": "_wire",
    "until_eta": "polling",
}
