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
    """Label the jobs whose watches start in this block as those of an image: a reference doesn't tell the image."""
    token = _image.set(image_id)
    try:
        yield
    finally:
        _image.reset(token)


def label_by_image_and_step(ref: JobRef) -> str:
    """Return the label of a release's job, such as ``image-501/update``."""
    return f"image-{_image.get()}/{ref.kind.value.removeprefix('image-')}"


def labelled_by_image_and_step(history: JobHistory) -> JobHistory:
    """Return a history of the same runs that labels by image and step, unless it has a label function of its own."""
    if history.label is not label_by_kind:
        return history
    labelled = copy(history)  # shares its runs: in memory the mapping, in a file by reading what has changed
    labelled.label = label_by_image_and_step
    return labelled
