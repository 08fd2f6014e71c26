"""Images, rollouts and installs as lines and tables; with ``--json``, as one object per line."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, cast

from attrs import AttrsInstance, evolve, fields, has

from clanforge_async import (
    DiffRejection,
    Image,
    ImageInstall,
    ImageOptions,
    ImageRollout,
    JobRef,
    JobState,
    QueuedInstall,
)
from clanforge_async._codec.masking import mask_secrets
from clanforge_async.cli.formatting import escape_and_truncate, format_datetime, print_err, print_line
from clanforge_async.cli.output.jsonl import print_json
from clanforge_async.cli.output.select import OutputOptions
from clanforge_async.images import MachineCounts


def show_options(options: ImageOptions, output_options: OutputOptions) -> None:
    """Show the account's games and build machines and, for an image, its lock and default source."""
    url = options.update_url
    shown = evolve(options, update_url=None if url is None else mask_secrets(url))
    _show({"event": "options", **_fields(shown)}, _format_options(shown), output_options)


def show_rollout(image_id: int, rollout: ImageRollout, output_options: OutputOptions) -> None:
    """Show the numbers of machines in a rollout."""
    headings = ("MACHINES", "PENDING", "FAILED", "COMPLETED", "TOTAL")
    table = format_table(headings, _rollout_rows(image_id, rollout))
    _show({"event": "rollout", "image_id": image_id, **_fields(rollout)}, table, output_options)


def show_image(image: Image, output_options: OutputOptions) -> None:
    """Show an image."""
    state = "active" if image.active else "inactive"
    version, updated = _cell(image.latest_version_id), _cell(image.updated_at)
    line = f"image {image.id}  {state}  latest version {version}  updated {updated}"
    _show({"event": "image", **_fields(image)}, [line], output_options)


def show_rejection(rejection: DiffRejection, output_options: OutputOptions, *, reinstall: bool) -> None:
    """Show that a diff was rejected.

    Args:
        rejection: The rejection.
        output_options: How to show it.
        reinstall: Whether the build machine is to be reinstalled.
    """
    job = rejection.reinstall
    if job is not None:
        machine = f"job {job.id}, which is {job.state_name}, reinstalls the build machine"
    elif reinstall:
        machine = "the response was lost, so the job that reinstalls the build machine is unknown"
    else:
        machine = "the build machine keeps its files"
    ref = JobRef.image_diff(rejection.diff_id)
    line = escape_and_truncate(f"{ref}  rejected: {machine}")
    _show({"event": "rejected", "ref": str(ref), **_fields(rejection)}, [line], output_options)


def show_installs(installs: Sequence[ImageInstall], output_options: OutputOptions) -> None:
    """Show incomplete installs, with ``--json`` each as an object."""
    if output_options.quiet:
        return
    if output_options.as_json:
        for install in installs:
            print_json({"event": "install", **_fields(install)})
    elif installs:
        headings = ("INSTALL", "VERSION", "MACHINE", "LOCATION", "STATE", "PROGRESS", "UPDATED", "ERROR")
        _print_lines(format_table(headings, map(_install_row, installs)))
    else:
        print_err("no incomplete installs: all have ended, or none has begun yet")


def show_queued(install_id: int, queued: QueuedInstall, output_options: OutputOptions) -> None:
    """Show that an install was queued."""
    if queued.id is None:
        job = "the response was lost, but the list shows that it has begun or ended"
    else:
        job = f"{'machine' if queued.mirror_id is None else 'mirror'} job {queued.id}"
    squashed = f", {queued.squashed} older squashed" if queued.squashed else ""
    line = f"install {install_id}  queued: {job}{squashed}"
    _show({"event": "queued", "install_id": install_id, **_fields(queued)}, [line], output_options)


def format_table(headings: Sequence[str], rows: Iterable[Sequence[object]]) -> list[str]:
    """Return the lines of a table with aligned columns; None is shown as ``-``."""
    table = [list(headings), *([_cell(value) for value in row] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    return ["  ".join(map(str.ljust, row, widths)).rstrip() for row in table]


def _cell(value: object) -> str:
    return "-" if value is None else escape_and_truncate(str(value))


def _format_options(options: ImageOptions) -> Iterator[str]:
    if options.image_id is not None:
        yield f"image {options.image_id} of game {options.game_id}"
        yield "  not locked" if options.lock is None else f"  locked by {options.lock}"
        yield "  no default source" if options.update_url is None else f"  default source {_cell(options.update_url)}"
    yield from _section("games", options.games)
    yield from _section("images", {entry.id: entry.name for entry in options.images.values()})
    yield from _section("build machines", options.machines)


def _section(title: str, names: Mapping[int, str]) -> Iterator[str]:
    if names:
        yield title
        width = max(len(str(number)) for number in names)
        for number, name in names.items():
            yield f"  {number:>{width}}  {escape_and_truncate(name)}".rstrip()


def _rollout_rows(image_id: int, rollout: ImageRollout) -> Iterator[Sequence[object]]:
    yield _counts(f"image {image_id}", rollout)
    for fleet_id, fleet in rollout.fleets.items():
        yield _counts(f"  fleet {fleet_id}", fleet)
        for region_id, region in fleet.regions.items():
            yield _counts(f"    region {region_id} {region.name}".rstrip(), region)


def _counts(name: str, counts: MachineCounts) -> Sequence[object]:
    return name, counts.pending, counts.failed, counts.completed, counts.total


def _install_row(install: ImageInstall) -> Sequence[object]:
    machine = install.machine if install.mirror is None else f"mirror {install.mirror}"
    state = install.state_name if install.state is None else install.state.name.title()
    updated, error = format_datetime(install.updated_at), install.error or ""
    progress = f"{install.progress} %"
    return install.id, install.image_version_id, machine, install.location, state, progress, updated, error


def _show(record: Mapping[str, Any], lines: Iterable[str], output_options: OutputOptions) -> None:
    if output_options.quiet:
        return
    if output_options.as_json:
        print_json(record)
    else:
        _print_lines(lines)


def _print_lines(lines: Iterable[str]) -> None:
    for line in lines:
        print_line(line)


def _fields(value: AttrsInstance) -> dict[str, Any]:
    """Return the attributes of a value as JSON, under their Python names."""
    return {field.name: _to_json(getattr(value, field.name)) for field in fields(type(value))}


def _to_json(value: object) -> Any:
    match value:
        case datetime():
            return format_datetime(value)
        case JobState():
            return value.name.lower()
        case JobRef():
            return str(value)
        case Mapping():
            items = cast("Mapping[object, object]", value)
            return {str(key): _to_json(item) for key, item in items.items()}
        case _:
            return _fields(cast("AttrsInstance", value)) if has(type(value)) else value
