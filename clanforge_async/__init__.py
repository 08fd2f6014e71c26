"""Asyncio SDK for the Clanforge game-image API."""

# Names are imported when they are first asked for: pytest loads the package for its plugin wherever it is installed.
import importlib
import typing

if typing.TYPE_CHECKING:
    from clanforge_async._codec import job_from_dict, job_to_dict
    from clanforge_async._http.config import CLANFORGE_URL, MULTIPLAY_URL
    from clanforge_async._polling.forecast import JobForecast
    from clanforge_async._polling.history import JobHistory
    from clanforge_async._polling.strategy import until_eta
    from clanforge_async._version import __version__
    from clanforge_async._watching.results import StaleJobError, WatchClosedError, WatchResult, WatchTimeoutError
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
        NotFoundError,
        PermissionDeniedError,
        RateLimitError,
        RequestTimeoutError,
        RetryOutcomeUnknownError,
        ServerError,
        TransportError,
    )
    from clanforge_async.jobs import (
        ImageDiffDetails,
        ImageDiffJob,
        ImageVersionJob,
        Job,
        JobFailedError,
        JobSquashedError,
        JobState,
    )
    from clanforge_async.refs import JobKind, JobRef
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
    "ImageDiffDetails",
    "ImageDiffJob",
    "ImageLockedError",
    "ImageVersionJob",
    "InvalidResponseError",
    "Job",
    "JobFailedError",
    "JobForecast",
    "JobHistory",
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
    "__version__",
    "job_from_dict",
    "job_to_dict",
    "until_eta",
]

_HOMES = {
    "CLANFORGE_URL": "_http.config",
    "MULTIPLAY_URL": "_http.config",
    "APIError": "errors",
    "AccessKeyAuth": "auth",
    "AuthenticationError": "errors",
    "BadRequestError": "errors",
    "BearerTokenAuth": "auth",
    "ClanforgeClient": "client",
    "ClanforgeError": "errors",
    "ConfigurationError": "errors",
    "ImageDiffDetails": "jobs",
    "ImageDiffJob": "jobs",
    "ImageLockedError": "errors",
    "ImageVersionJob": "jobs",
    "InvalidResponseError": "errors",
    "Job": "jobs",
    "JobFailedError": "jobs",
    "JobForecast": "_polling.forecast",
    "JobHistory": "_polling.history",
    "JobKind": "refs",
    "JobRef": "refs",
    "JobSquashedError": "jobs",
    "JobState": "jobs",
    "JobWatcher": "watcher",
    "NotFoundError": "errors",
    "PermissionDeniedError": "errors",
    "RateLimitError": "errors",
    "RequestTimeoutError": "errors",
    "RetryOutcomeUnknownError": "errors",
    "ServerError": "errors",
    "StaleJobError": "_watching.results",
    "TransportError": "errors",
    "WatchClosedError": "_watching.results",
    "WatchResult": "_watching.results",
    "WatchTimeoutError": "_watching.results",
    "__version__": "_version",
    "job_from_dict": "_codec",
    "job_to_dict": "_codec",
    "until_eta": "_polling.strategy",
}
