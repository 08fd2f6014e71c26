"""Reads that explain a call with a side effect whose outcome is unknown."""

from __future__ import annotations

import asyncio
import math

from clanforge_async._http.request import ApiRequest, ApiResponse
from clanforge_async._http.session import Session
from clanforge_async.errors import ClanforgeError
from clanforge_async.jobs import Job
from clanforge_async.refs import JobRef
from clanforge_async.resources.images import Images
from clanforge_async.resources.requests import job_status


async def read_lock(images: Images, image_id: int, failure: ClanforgeError) -> JobRef | None:
    """Return the job that locks an image; None if none does, or if it cannot be read.

    Args:
        images: Reads the lock.
        image_id: The image.
        failure: The failure of the call; gets a note if the lock cannot be read.
    """
    try:
        return (await images.options(image_id)).lock
    except ClanforgeError as error:
        failure.add_note(f"nor could the image's lock be read: {error}")
        return None


async def find_candidate(
    session: Session, images: Images, image_id: int, request: ApiRequest[object], failure: ClanforgeError
) -> JobRef | None:
    """Return the job that a call may have created: it locks the image, and was created since the call.

    It can be a rival's all the same.

    Args:
        session: The client's session.
        images: Reads the lock.
        image_id: The image.
        request: The call.
        failure: The failure of the call; gets a note if a read fails too.
    """
    lock = await read_lock(images, image_id, failure)
    if lock is None:
        return None
    try:
        response = await session.call(job_status(lock))
    except ClanforgeError as error:
        failure.add_note(f"nor could {lock} be read, which locks the image: {error}")
        return None
    return lock if _may_be_created_since(response, request) else None


def _may_be_created_since(response: ApiResponse[Job], request: ApiRequest[object]) -> bool:
    # The server's clock counts whole seconds, so a job of the second of the call counts. Without a `Date` nothing is
    # known of that clock, and no job does.
    if response.server_time is None:
        return False
    seconds_since_call = asyncio.get_running_loop().time() - request.sent_at
    return response.value.created_at.timestamp() >= math.floor(response.server_time.timestamp() - seconds_since_call)
