"""Labels of a release's jobs in a history: by image and step, since the jobs of one image take about equally long."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from contextvars import ContextVar
from copy import copy

from clanforge_async._polling.history import JobHistory, label_by_kind
from clanforge_async.refs import JobRef

_image: ContextVar[int] = ContextVar("clanforge_image")


@contextmanager
def watching_job_of(image_id: int) -> Generator[None]:
    """Label all jobs whose watches start in this block with an image, since a job reference does not name one."""
    token = _image.set(image_id)
    try:
        yield
    finally:
        _image.reset(token)


def label_by_image_and_step(ref: JobRef) -> str:
    """Return the label of a release's job, such as ``image-501/update``."""
    return f"image-{_image.get()}/{ref.kind.value.removeprefix('image-')}"


def labelled_by_image_and_step(history: JobHistory) -> JobHistory:
    """Return a history of the same runs that labels by image and step, unless its own label function was assigned."""
    if history.label is not label_by_kind:
        return history
    labelled = copy(history)  # shares its runs: the mapping in memory, or the file
    labelled.label = label_by_image_and_step
    return labelled
