"""Asyncio SDK for the Clanforge game-image API."""

# Names are imported at their first use: pytest loads the package for its plugin wherever it is installed.
import importlib
import typing

if typing.TYPE_CHECKING:
    from clanforge_async._codec.jobs import job_from_dict, job_to_dict
    from clanforge_async._http.auth import AccessKeyAuth, BearerTokenAuth
    from clanforge_async._http.config import CLANFORGE_URL, MULTIPLAY_URL
    from clanforge_async._http.version import __version__
    from clanforge_async._polling.forecast import JobForecast
    from clanforge_async._polling.history import JobHistory
    from clanforge_async._polling.strategy import until_eta
    from clanforge_async._watching.results import StaleJobError, WatchClosedError, WatchResult, WatchTimeoutError
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
        OutcomeUnknownError,
        PermissionDeniedError,
        RateLimitError,
        RequestTimeoutError,
        RetryOutcomeUnknownError,
        ServerError,
        TransportError,
    )
    from clanforge_async.images import (
        DiffRejection,
        FleetRollout,
        Image,
        ImageEntry,
        ImageInstall,
        ImageOptions,
        ImageRollout,
        QueuedInstall,
        RegionRollout,
        ReinstallJob,
        StragglerPolicy,
    )
    from clanforge_async.jobs import (
        ImageDiffDetails,
        ImageDiffJob,
        ImageUpdateJob,
        ImageVersionJob,
        Job,
        JobFailedError,
        JobSquashedError,
        JobState,
    )
    from clanforge_async.refs import JobKind, JobRef
    from clanforge_async.releases.release import ImageRelease, ReleaseStep
    from clanforge_async.releases.releaser import Releaser
    from clanforge_async.releases.results import (
        AbortResult,
        ReleaseError,
        ReleaseEvent,
        ReleasePlan,
        ReleaseRejectedError,
        ReleaseResult,
        ReleaseSupersededError,
        ReleaseTimeoutError,
        RolloutError,
    )
    from clanforge_async.releases.token import ReleaseToken
    from clanforge_async.resources.sources import GoogleSource, S3Source, SteamSource
    from clanforge_async.watcher import JobWatcher
else:

    def __getattr__(name: str) -> object:
        if name not in _MODULE_OF:
            msg = f"module {__name__!r} has no attribute {name!r}"
            raise AttributeError(msg)
        value: object = getattr(importlib.import_module(f"{__name__}.{_MODULE_OF[name]}"), name)
        globals()[name] = value
        return value

    def __dir__() -> list[str]:
        return sorted({*globals(), *__all__})


__all__ = [
    "CLANFORGE_URL",
    "MULTIPLAY_URL",
    "APIError",
    "AbortResult",
    "AccessKeyAuth",
    "AuthenticationError",
    "BadRequestError",
    "BearerTokenAuth",
    "ClanforgeClient",
    "ClanforgeError",
    "ConfigurationError",
    "DiffRejection",
    "FleetRollout",
    "GoogleSource",
    "Image",
    "ImageDiffDetails",
    "ImageDiffJob",
    "ImageEntry",
    "ImageInstall",
    "ImageLockedError",
    "ImageOptions",
    "ImageRelease",
    "ImageRollout",
    "ImageUpdateJob",
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
    "OutcomeUnknownError",
    "PermissionDeniedError",
    "QueuedInstall",
    "RateLimitError",
    "RegionRollout",
    "ReinstallJob",
    "ReleaseError",
    "ReleaseEvent",
    "ReleasePlan",
    "ReleaseRejectedError",
    "ReleaseResult",
    "ReleaseStep",
    "ReleaseSupersededError",
    "ReleaseTimeoutError",
    "ReleaseToken",
    "Releaser",
    "RequestTimeoutError",
    "RetryOutcomeUnknownError",
    "RolloutError",
    "S3Source",
    "ServerError",
    "StaleJobError",
    "SteamSource",
    "StragglerPolicy",
    "TransportError",
    "WatchClosedError",
    "WatchResult",
    "WatchTimeoutError",
    "__version__",
    "job_from_dict",
    "job_to_dict",
    "until_eta",
]

_MODULE_OF = {
    "CLANFORGE_URL": "_http.config",
    "MULTIPLAY_URL": "_http.config",
    "APIError": "errors",
    "AccessKeyAuth": "_http.auth",
    "AuthenticationError": "errors",
    "BadRequestError": "errors",
    "BearerTokenAuth": "_http.auth",
    "ClanforgeClient": "client",
    "ClanforgeError": "errors",
    "ConfigurationError": "errors",
    "DiffRejection": "images",
    "FleetRollout": "images",
    "Image": "images",
    "GoogleSource": "resources.sources",
    "ImageDiffDetails": "jobs",
    "ImageDiffJob": "jobs",
    "ImageEntry": "images",
    "ImageInstall": "images",
    "ImageLockedError": "errors",
    "ImageOptions": "images",
    "ImageRollout": "images",
    "ImageUpdateJob": "jobs",
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
    "OutcomeUnknownError": "errors",
    "PermissionDeniedError": "errors",
    "QueuedInstall": "images",
    "RateLimitError": "errors",
    "RegionRollout": "images",
    "ReinstallJob": "images",
    "RequestTimeoutError": "errors",
    "RetryOutcomeUnknownError": "errors",
    "S3Source": "resources.sources",
    "ServerError": "errors",
    "StaleJobError": "_watching.results",
    "StragglerPolicy": "images",
    "SteamSource": "resources.sources",
    "TransportError": "errors",
    "WatchClosedError": "_watching.results",
    "WatchResult": "_watching.results",
    "WatchTimeoutError": "_watching.results",
    "__version__": "_http.version",
    "job_from_dict": "_codec.jobs",
    "job_to_dict": "_codec.jobs",
    "until_eta": "_polling.strategy",
    "ImageRelease": "releases.release",
    "ReleaseStep": "releases.release",
    "ReleaseToken": "releases.token",
    "Releaser": "releases.releaser",
    "AbortResult": "releases.results",
    "ReleaseError": "releases.results",
    "ReleaseEvent": "releases.results",
    "ReleasePlan": "releases.results",
    "ReleaseRejectedError": "releases.results",
    "ReleaseResult": "releases.results",
    "ReleaseSupersededError": "releases.results",
    "ReleaseTimeoutError": "releases.results",
    "RolloutError": "releases.results",
}
