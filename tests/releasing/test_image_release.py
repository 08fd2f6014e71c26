"""`ImageRelease`: the build to release and the options of the release."""

from __future__ import annotations

import pickle
from datetime import UTC, datetime
from typing import Any

import pytest

from clanforge_async import ImageRelease, StragglerPolicy
from clanforge_async.releases.release import mask_source
from clanforge_async.resources.sources import S3Source

KEYS: dict[str, Any] = {"access_key": "AKIA/secret", "secret_key": "hush/hush"}


def release(**options: Any) -> ImageRelease:
    return ImageRelease(501, 77, "build 2", **options)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"image_id": 0}, ValueError, "image_id must be positive"),
        ({"machine_id": True}, TypeError, "machine_id must be an int"),
        ({"description": " "}, ValueError, "description must not be blank"),
        ({"description": "a\nb"}, ValueError, "description must not contain control characters"),
        ({"game_build": ""}, ValueError, "game_build must not be blank"),
        ({"source": "\t"}, ValueError, "source must not be blank"),
        ({"source": 7}, TypeError, "source must be a source, its URL or None, not int"),
        ({"restart": 1}, TypeError, "restart must be a bool"),
        ({"force": None}, TypeError, "force must be a bool"),
        ({"full": "yes"}, TypeError, "full must be a bool"),
        ({"on_empty": "skip"}, ValueError, "on_empty must be 'stop' or 'full', not 'skip'"),
        ({"first_step": "version"}, ValueError, "first_step must be 'update' or 'diff'"),
        ({"wait_for": "ever"}, ValueError, "wait_for must be 'rollout' or 'version'"),
        ({"straggler_policy": 90}, TypeError, "straggler_policy must be a StragglerPolicy or None, not int"),
        ({"install_at": "later"}, ValueError, "install_at must be 'now', an aware datetime or None"),
        ({"install_at": datetime(2026, 1, 1)}, ValueError, "install_at must be an aware datetime"),  # noqa: DTZ001
    ],
)
def test_invalid_values_are_refused(options: dict[str, Any], error: type[Exception], message: str) -> None:
    """A value that the API would not accept is refused when the release is created."""
    with pytest.raises(error, match=message):
        ImageRelease(**{"image_id": 501, "machine_id": 77, "description": "build 2", **options})


def test_a_release_is_a_value() -> None:
    """Releases are equal by value and can be pickled; the first four arguments may be positional."""
    made = ImageRelease(
        501,
        77,
        "build 2",
        S3Source("bucket", "builds", **KEYS),
        game_build="2.0",
        straggler_policy=StragglerPolicy(minutes=90, percentage=95.0),
        install_at=datetime(2026, 1, 1, tzinfo=UTC),
    )
    assert pickle.loads(pickle.dumps(made)) == made  # noqa: S301 - our own bytes
    assert made != release()


@pytest.mark.parametrize(
    "source",
    [S3Source("bucket", "builds", **KEYS), S3Source("bucket", "builds", **KEYS).url()],
    ids=["source", "text"],
)
def test_no_secret_is_shown(source: S3Source | str) -> None:
    """Neither the repr nor the masked source of a release contains a secret."""
    shown = repr(release(source=source)) + str(mask_source(source))
    assert "AKIA" not in shown
    assert "hush" not in shown
    assert "bucket" in shown


def test_new_keys_do_not_change_the_digest() -> None:
    """The digest covers the description, the source without its secrets, and the first step."""
    first = release(source=S3Source("bucket", "builds", **KEYS))
    rotated = release(source=S3Source("bucket", "builds", access_key="other", secret_key="keys"))
    assert first.digest == rotated.digest
    assert release(source=mask_source(first.source)).digest == first.digest
    assert first.digest.differences(release().digest) == ["source"]
    assert first.digest.differences(release(source=first.source, first_step="diff", force=True).digest) == [
        "first_step"
    ]
