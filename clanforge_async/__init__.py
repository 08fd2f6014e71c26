"""Asyncio SDK for the Clanforge game-image API."""

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
