"""The commands for images and installs, and the rejection of a diff: one call each."""

from __future__ import annotations

from clanforge_async.cli.commands import report_outages, warn_if_interrupted
from clanforge_async.cli.errors import COMPLETED, REFUSED
from clanforge_async.cli.formatting import print_err
from clanforge_async.cli.output import images as output
from clanforge_async.cli.output.select import OutputOptions
from clanforge_async.cli.parameters import ConnectionOptions


async def show_options(
    connection: ConnectionOptions, image_id: int | None, game_id: int | None, output_options: OutputOptions
) -> int:
    """Show the account's games and build machines and, for an image, its lock and default source."""
    async with connection.client() as client:
        report_outages(client)
        options = await client.images.options(image_id, game_id=game_id)
    output.show_options(options, output_options)
    return COMPLETED


async def show_rollout(
    connection: ConnectionOptions, image_id: int, output_options: OutputOptions, *, detail: bool
) -> int:
    """Show the numbers of machines in an image's rollout."""
    async with connection.client() as client:
        report_outages(client)
        rollout = await client.images.rollout(image_id, detail)
    output.show_rollout(image_id, rollout, output_options)
    return COMPLETED


async def set_active(
    connection: ConnectionOptions, image_id: int, output_options: OutputOptions, *, active: bool
) -> int:
    """Activate or deactivate an image, and show it."""
    async with connection.client() as client:
        report_outages(client)
        with warn_if_interrupted("the change", "the image in the web panel"):
            image = await client.images.set_active(image_id, active)
    output.show_image(image, output_options)
    return COMPLETED


async def reject_diff(
    connection: ConnectionOptions, diff_id: int, image_id: int | None, output_options: OutputOptions, *, reinstall: bool
) -> int:
    """Reject an image diff, and show the job that reinstalls the build machine, if any."""
    async with connection.client() as client:
        report_outages(client)
        with warn_if_interrupted("the rejection", f"`clanforge image options --image {image_id or 'ID'}`"):
            rejection = await client.image_diffs.reject(diff_id, reinstall=reinstall, image_id=image_id)
    output.show_rejection(rejection, output_options, reinstall=reinstall)
    return COMPLETED


async def list_installs(
    connection: ConnectionOptions, image_version_id: int | None, output_options: OutputOptions
) -> int:
    """List the account's incomplete installs."""
    async with connection.client() as client:
        report_outages(client)
        installs = await client.image_installs.list(image_version_id=image_version_id)
    output.show_installs(installs, output_options)
    return COMPLETED


async def queue_install(connection: ConnectionOptions, install_id: int, output_options: OutputOptions) -> int:
    """Queue one of the account's incomplete installs."""
    async with connection.client() as client:
        report_outages(client)
        installs = {install.id: install for install in await client.image_installs.list()}
        if install_id not in installs:
            print_err(f"error: no incomplete install has the ID {install_id}; see `clanforge image-install list`")
            return REFUSED
        with warn_if_interrupted("the queueing", "`clanforge image-install list`"):
            queued = await client.image_installs.queue(installs[install_id])
    output.show_queued(install_id, queued, output_options)
    return COMPLETED
