"""Requests that several families of calls send."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

from clanforge_async._codec.jobs import parse_image_diff_job, parse_image_update_job, parse_image_version_job
from clanforge_async._http.request import ApiRequest
from clanforge_async._validation import positive_id
from clanforge_async.jobs import ImageDiffJob, ImageUpdateJob, ImageVersionJob, Job
from clanforge_async.refs import JobKind, JobRef

API = "/cfp/v1"


def image_update_status(update_id: int) -> ApiRequest[ImageUpdateJob]:
    """Return the request for an image update's job ("Image update status")."""
    path = f"{API}/imageupdate/{positive_id(update_id, 'update_id')}/status"
    return ApiRequest(path, partial(parse_image_update_job, update_id))


def image_diff_status(diff_id: int, **params: str) -> ApiRequest[ImageDiffJob]:
    """Return the request for an image diff's job ("Image diff status")."""
    path = f"{API}/imagediff/{positive_id(diff_id, 'diff_id')}/status"
    return ApiRequest(path, partial(parse_image_diff_job, diff_id), params)


def image_version_status(image_version_id: int) -> ApiRequest[ImageVersionJob]:
    """Return the request for an image version's job ("Image version status")."""
    path = f"{API}/imageversion/{positive_id(image_version_id, 'image_version_id')}/status"
    return ApiRequest(path, partial(parse_image_version_job, image_version_id))


_STATUS_REQUESTS: Mapping[JobKind, Callable[[int], ApiRequest[Job]]] = {
    JobKind.IMAGE_UPDATE: image_update_status,
    JobKind.IMAGE_DIFF: image_diff_status,
    JobKind.IMAGE_VERSION: image_version_status,
}


def job_status(ref: JobRef) -> ApiRequest[Job]:
    """Return the request for the job that a reference names."""
    return _STATUS_REQUESTS[ref.kind](ref.id)
