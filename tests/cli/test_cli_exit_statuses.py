from __future__ import annotations

import clanforge_async
from clanforge_async import ClanforgeError
from clanforge_async.cli.errors import exit_status, outcome

EXPECTED = {
    "APIError": 5,
    "AuthenticationError": 4,
    "BadRequestError": 5,
    "ClanforgeError": 5,
    "ConfigurationError": 2,
    "ImageLockedError": 5,
    "InvalidResponseError": 5,
    "JobFailedError": 1,
    "JobSquashedError": 1,
    "NotFoundError": 5,
    "PermissionDeniedError": 4,
    "RateLimitError": 5,
    "RequestTimeoutError": 5,
    "RetryOutcomeUnknownError": 5,
    "ServerError": 5,
    "StaleJobError": 5,
    "TransportError": 5,
    "WatchClosedError": 5,
    "WatchTimeoutError": 3,
}


def errors() -> dict[str, type[ClanforgeError]]:
    public = {name: getattr(clanforge_async, name) for name in clanforge_async.__all__}
    return {name: cls for name, cls in public.items() if isinstance(cls, type) and issubclass(cls, ClanforgeError)}


def test_every_error_has_its_exit_status() -> None:
    """Each public error, and any other exception, has its exit status."""
    statuses = {name: exit_status(cls.__new__(cls)) for name, cls in errors().items()}
    assert statuses == EXPECTED
    assert exit_status(RuntimeError()) == 5


def test_every_error_has_its_outcome() -> None:
    """Each error has one of the documented outcomes."""
    words = {name: outcome(cls.__new__(cls)) for name, cls in errors().items()}
    assert {name: word for name, word in words.items() if word != "error"} == {
        "JobFailedError": "failed",
        "JobSquashedError": "squashed",
        "WatchTimeoutError": "timeout",
    }
    assert outcome(None) == "completed"
