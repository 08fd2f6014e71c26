"""The rules of a rollout: decide when all machines run a version.

The counts of a rollout concern the image's latest version, but do not name it: before the rollout begins, they
describe the previous version and look complete. An install names its version, so the rollout has begun as soon as an
install of this version was seen (the list of installs covers all images of the account). The rollout has ended when no
machine is pending and no install of this version is incomplete. If no install is seen within ``settle`` seconds of the
version's end, there was nothing to install, or all installs began and ended between two reads.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

from attrs import evolve

from clanforge_async._http.retry_policy import is_transient
from clanforge_async.errors import APIError, ClanforgeError
from clanforge_async.images import ImageInstall
from clanforge_async.refs import JobKind, JobRef
from clanforge_async.releases.digest import digest
from clanforge_async.releases.results import ReleaseError, ReleaseSupersededError, RolloutError
from clanforge_async.releases.state import (
    LONGEST_PAUSE,
    NO_TIME,
    SHORTEST_PAUSE,
    End,
    Observation,
    ReleaseRules,
    ReleaseState,
    RolloutReading,
    current_step,
    fail,
    paused,
)
from clanforge_async.releases.token import ReleaseToken


def record_rollout(
    state: ReleaseState, reading: RolloutReading, version: JobRef, observed: Observation, rules: ReleaseRules
) -> ReleaseState:
    """Return the state after a read of the rollout.

    Args:
        state: The state before.
        reading: The counts of machines, and the incomplete installs of the account.
        version: The release's version.
        observed: The times of the read.
        rules: The rules of the release.
    """
    rollout, installs = reading
    own = [install for install in installs if install.image_version_id == version.id]
    if rollout != state.rollout:
        state = evolve(state, waits=0)
    state = evolve(state, token=_with_beginning(state.token, own), rollout=rollout, failing_since=None)
    newer = _find_newer(state.token, installs, version)
    if newer is not None:
        msg = f"image version {newer} is being installed instead of {version.id}"
        return _end(state, ReleaseSupersededError(msg, **_context(state, rules)))
    left = 0.0 if state.token.rollout_began else _seconds_to_settle(state.token, observed.server_time, rules)
    if rollout.pending or not all(install.is_terminal for install in own):
        return paused(state, LONGEST_PAUSE)
    return _finish(state, rules) if left < NO_TIME else paused(state, max(left, SHORTEST_PAUSE))


def record_failed_read(
    state: ReleaseState, error: Exception, observed: Observation, rules: ReleaseRules
) -> ReleaseState:
    """Return the state after a read that failed while the release waits: a transient failure does not end it."""
    since = observed.at if state.failing_since is None else state.failing_since
    left = since + rules.outage_tolerance - observed.at
    if not isinstance(error, ClanforgeError) or not is_transient(error) or left < NO_TIME:
        return fail(state, rules, error)
    state = paused(evolve(state, failing_since=since), max(left, SHORTEST_PAUSE))
    retry_after = (error.retry_after if isinstance(error, APIError) else None) or 0.0
    return evolve(state, pause=max(state.pause, retry_after))


def _with_beginning(token: ReleaseToken, own: Sequence[ImageInstall]) -> ReleaseToken:
    if not own:
        return token
    paths = [install.image_path for install in own if install.image_path]
    path = token.install_path or (digest(paths[0]) if paths else None)
    return evolve(token, rollout_began=True, install_path=path)


def _find_newer(token: ReleaseToken, installs: Iterable[ImageInstall], version: JobRef) -> int | None:
    """Return the newer version that is being installed at the path of this one, if any."""
    for install in installs:
        is_newer = install.image_version_id is not None and install.image_version_id > version.id
        if is_newer and install.image_path and digest(install.image_path) == token.install_path:
            return install.image_version_id
    return None


def _seconds_to_settle(token: ReleaseToken, server_time: float, rules: ReleaseRules) -> float:
    begins = float(token.version_ended or 0)
    if isinstance(rules.release.install_at, datetime):
        begins = max(begins, rules.release.install_at.timestamp())
    return begins + rules.settle - server_time


def _finish(state: ReleaseState, rules: ReleaseRules) -> ReleaseState:
    tolerated = (state.token.failed_before or 0) + rules.tolerate_failed
    if state.rollout is not None and state.rollout.failed > tolerated:
        msg = f"{state.rollout.failed} machines have failed; at most {tolerated} may"
        return _end(state, RolloutError(msg, rollout=state.rollout, **_context(state, rules)))
    return evolve(state, end=End("released"))


def _end(state: ReleaseState, error: ReleaseError) -> ReleaseState:
    return evolve(state, end=End("failed", error))


def _context(state: ReleaseState, rules: ReleaseRules) -> dict[str, Any]:
    job = state.completed.get(JobKind.IMAGE_VERSION)
    return {"step": current_step(state, rules), "token": state.token, "job": job}
