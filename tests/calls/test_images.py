"""``client.images``: options, including the search for an image's game, activation, and rollout."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest
from support.image_answers import (
    GAME,
    IMAGE,
    MACHINE,
    client_of,
    image_wire,
    options_wire,
    rollout_wire,
    sent_by,
    unreachable,
)

from clanforge_async import (
    BearerTokenAuth,
    ClanforgeClient,
    ConfigurationError,
    Image,
    ImageEntry,
    ImageOptions,
    InvalidResponseError,
    JobRef,
    NotFoundError,
    PermissionDeniedError,
    RegionRollout,
)

TOKEN: dict[str, Any] = {"auth": BearerTokenAuth("token"), "account_service_id": None}


class Catalogue:
    """Responds to image options like a server with games and their images; counts the requests."""

    def __init__(self, **games: list[int]) -> None:
        self.games = {int(name.removeprefix("game")): images for name, images in games.items()}
        self.asked: list[tuple[int, int] | None] = []
        self.queries: list[dict[str, str]] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        query = dict(request.url.params)
        self.queries.append(query)
        game = int(query.get("gameid", 0))
        self.asked.append((game, int(query["imageid"])) if game else None)
        games = [{"gameid": number, "name": f"Game {number}"} for number in self.games]
        images = [{"imageid": number, "name": "", "gameversionid": ""} for number in self.games.get(game, [])]
        return httpx.Response(200, json={"games": games, "images": images, "machines": []})


# Options


async def test_options_send_game_and_image() -> None:
    """If both ids are known, options are one request."""

    async def call(client: ClanforgeClient) -> None:
        await client.images.options(501, game_id=12, game_version_id=88)

    query = "?accountserviceid=7&gameid=12&imageid=501&gameversion_identifier=88"
    assert await sent_by(call, options_wire()) == f"/cfp/v1/image/options{query}"
    assert (
        await sent_by(call, options_wire(), **TOKEN)
        == f"/cfp/v1/image/options{query.replace('accountserviceid=7&', '')}"
    )


async def test_options_without_an_image_are_one_request() -> None:
    """Without an image, only the games and machines are read, and no lock is reported."""
    assert await sent_by(lambda client: client.images.options(), options_wire()) == (
        "/cfp/v1/image/options?accountserviceid=7"
    )
    async with client_of(httpx.Response(200, json={"games": [], "diffid": 5})) as client:
        assert await client.images.options() == ImageOptions()


async def test_options_are_parsed() -> None:
    """Games, images and machines are mapped by id; numbers may be text; the image's source is not masked."""
    url = "s3://key:secret@bucket/folder/"
    async with client_of(httpx.Response(200, json=options_wire(update_url=url, diffid="218595"))) as client:
        options = await client.images.options(IMAGE, game_id=GAME)
    assert options == ImageOptions(
        game_id=GAME,
        image_id=IMAGE,
        lock=JobRef.image_diff(218595),
        update_url=url,
        games={GAME: "Ashfall"},
        images={IMAGE: ImageEntry(id=IMAGE, name="linux", game_version_id=88)},
        machines={MACHINE: "build-1"},
    )
    assert "secret" not in repr(options)


@pytest.mark.parametrize(
    ("fields", "lock"),
    [
        ({}, None),
        ({"diffid": None, "updateid": ""}, None),
        ({"diffid": 0, "updateid": "0"}, None),
        ({"diffid": 5}, JobRef.image_diff(5)),
        ({"updateid": "5"}, JobRef.image_update(5)),
        ({"diffid": 0, "updateid": 5}, JobRef.image_update(5)),
        ({"diffid": 5, "updateid": 6}, JobRef.image_diff(5)),
    ],
)
async def test_the_lock_is_a_diff_or_an_update(fields: dict[str, Any], lock: JobRef | None) -> None:
    """The lock of the requested image is the diff, or else the update; null, blank and 0 mean no lock."""
    async with client_of(httpx.Response(200, json=options_wire(**fields))) as client:
        assert (await client.images.options(IMAGE, game_id=GAME)).lock == lock


@pytest.mark.parametrize("empty", [[], {}, None])
async def test_an_empty_list_may_be_a_map_or_null(empty: Any) -> None:
    """Servers send an empty list in three ways; machines may also be absent."""
    body = {"games": empty, "images": empty, "machines": empty}
    async with client_of(httpx.Response(200, json=body)) as client:
        assert await client.images.options(IMAGE, game_id=GAME) == ImageOptions(game_id=GAME, image_id=IMAGE)


@pytest.mark.parametrize(
    ("fields", "names"),
    [
        ({"games": 5}, ("games",)),
        ({"games": [5]}, ("games",)),
        ({"games": [{"name": "no id"}]}, ("games",)),
        ({"images": [{"imageid": -1}], "machines": "none"}, ("images", "machines")),
        ({"images": [{"imageid": 5, "gameversionid": "next"}]}, ("images",)),
        ({"diffid": "open"}, ("diffid",)),
        ({"updateid": -5}, ("updateid",)),
        ({"update_url": {}}, ("update_url",)),
    ],
)
async def test_malformed_options_name_their_fields(fields: dict[str, Any], names: tuple[str, ...]) -> None:
    """If options cannot be parsed, the error names the invalid fields."""
    async with client_of(httpx.Response(200, json=options_wire(**fields))) as client:
        with pytest.raises(InvalidResponseError) as raised:
            await client.images.options(IMAGE, game_id=GAME)
    assert raised.value.fields == names


@pytest.mark.parametrize("name", ["games", "images"])
async def test_missing_lists_are_malformed(name: str) -> None:
    """Games and images are always sent: without them, no image would ever be found."""
    body = options_wire()
    del body[name]
    async with client_of(httpx.Response(200, json=body)) as client:
        with pytest.raises(InvalidResponseError) as raised:
            await client.images.options(IMAGE, game_id=GAME)
    assert raised.value.fields == (name,)


async def test_the_game_of_an_image_is_found_once() -> None:
    """The games are read, then each with this image; later calls request only the game that has it."""
    catalogue = Catalogue(game11=[500], game12=[501, 502], game13=[503])
    async with client_of(catalogue) as client:
        options = await client.images.options(501)
        assert (options.game_id, options.image_id) == (12, 501)
        assert catalogue.asked == [None, (11, 501), (12, 501)]
        await client.images.options(501)
        await client.images.options(502)
        await client.images.options(500)
    assert catalogue.asked[3:] == [(12, 501), (12, 502), (11, 500)]


async def test_concurrent_calls_share_the_search() -> None:
    """Concurrent calls for images of one game search for that game once."""
    catalogue = Catalogue(game11=[], game12=list(range(501, 511)))

    async def answer_later(request: httpx.Request) -> httpx.Response:
        await asyncio.sleep(0)
        return catalogue(request)

    async with client_of(unreachable, transport=httpx.MockTransport(answer_later)) as client:
        found = await asyncio.gather(*map(client.images.options, range(501, 511)))
    assert [options.image_id for options in found] == list(range(501, 511))
    assert catalogue.asked.count(None) == 1
    assert len(catalogue.asked) == 12


async def test_an_image_that_moved_is_found_again() -> None:
    """If the known game no longer has the image, the search starts again; without result, it raises `NotFoundError`."""
    catalogue = Catalogue(game11=[], game12=[501])
    async with client_of(catalogue) as client:
        await client.images.options(501)
        catalogue.games = {11: [501], 12: []}
        assert (await client.images.options(501)).game_id == 11
        catalogue.games = {11: [], 12: []}
        with pytest.raises(NotFoundError, match="no game of the account has an image 501") as raised:
            await client.images.options(501)
    assert raised.value.url == "https://api.multiplay.co.uk/cfp/v1/image/options"


async def test_the_search_leaves_the_game_version_out() -> None:
    """A game version is invalid for other games, so it is sent only to the game that has the image."""
    catalogue = Catalogue(game11=[], game12=[501])
    async with client_of(catalogue) as client:
        await client.images.options(501, game_version_id=88)
        await client.images.options(501, game_version_id=89)
    versions = [query.get("gameversion_identifier") for query in catalogue.queries]
    assert versions == [None, None, None, "88", "89"]


@pytest.mark.parametrize("failing", [0, 1])
async def test_an_error_of_the_search_is_raised(failing: int) -> None:
    """An error during the search is raised unchanged, and the next call searches again."""
    catalogue = Catalogue(game12=[501])
    answers: list[Any] = [catalogue] * failing + [lambda _: httpx.Response(403)]

    def handle(request: httpx.Request) -> httpx.Response:
        answer: httpx.Response = (answers.pop(0) if answers else catalogue)(request)
        return answer

    async with client_of(handle) as client:
        with pytest.raises(PermissionDeniedError):
            await client.images.options(501)
        assert (await client.images.options(501)).game_id == 12


def test_a_search_from_another_loop_waits_for_nothing() -> None:
    """A client that searches in one loop refuses a call from another at once."""

    async def first() -> ClanforgeClient:
        client = client_of(Catalogue(game12=[501]))
        await client.images.options(501)
        return client

    client = asyncio.run(first())
    with pytest.raises(ConfigurationError, match="event loop"):
        asyncio.run(asyncio.wait_for(client.images.options(502), 5))


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"game_id": 12}, ValueError),
        ({"game_version_id": 88}, ValueError),
        ({"image_id": 0}, ValueError),
        ({"image_id": True}, TypeError),
        ({"image_id": "501"}, TypeError),
        ({"image_id": 501, "game_id": -1}, ValueError),
        ({"image_id": 501, "game_id": "12"}, TypeError),
        ({"image_id": 501, "game_version_id": 0}, ValueError),
        ({"image_id": 501, "game_id": 12, "game_version_id": 1.5}, TypeError),
    ],
)
async def test_arguments_of_options(arguments: dict[str, Any], error: type[Exception]) -> None:
    """Invalid arguments are refused before any request."""
    async with client_of(unreachable) as client:
        with pytest.raises(error):
            await client.images.options(**arguments)


# Active flag


@pytest.mark.parametrize(("active", "sent"), [(True, "1"), (False, "0")])
async def test_set_active_sends_a_digit(active: bool, sent: str) -> None:
    """The flag is sent as 1 or 0."""
    body = {"image": image_wire()}
    assert await sent_by(lambda client: client.images.set_active(501, active), body) == (
        f"/cfp/v1/image/501/update?accountserviceid=7&active={sent}"
    )
    assert await sent_by(lambda client: client.images.set_active(501, active), body, **TOKEN) == (
        f"/cfp/v1/image/501/update?active={sent}"
    )


@pytest.mark.parametrize("body", [image_wire(), {"image": image_wire()}, {"image": image_wire(active="1"), "x": 1}])
async def test_the_record_is_read_nested_and_flat(body: dict[str, Any]) -> None:
    """An image is parsed under ``image``, as in the example, and flat, as in the table of fields."""
    async with client_of(httpx.Response(200, json=body)) as client:
        assert await client.images.set_active(IMAGE, True) == Image(
            id=IMAGE,
            active=True,
            game_version_id=88,
            latest_version_id=9012,
            path="/games/12/501",
            created_by=4,
            updated_by=5,
            created_at="2025-11-22 00:00:00",
            updated_at="2025-11-22 01:00:00",
        )


async def test_an_image_needs_only_id_and_flag() -> None:
    """Only the id and the flag are required; other missing fields are None."""
    body = {"image": {"imageid": IMAGE, "active": 0, "path": None}}
    async with client_of(httpx.Response(200, json=body)) as client:
        assert await client.images.set_active(IMAGE, False) == Image(id=IMAGE, active=False)


@pytest.mark.parametrize(
    ("image_id", "active", "error"),
    [(501, 1, TypeError), (501, "true", TypeError), (0, True, ValueError), ("501", True, TypeError)],
)
async def test_arguments_of_set_active(image_id: Any, active: Any, error: type[Exception]) -> None:
    """Only a ``bool`` is a flag: 0 and 1 are not."""
    async with client_of(unreachable) as client:
        with pytest.raises(error):
            await client.images.set_active(image_id, active)


# Rollout


@pytest.mark.parametrize(("details", "query"), [(False, ""), (True, "?detail=true")])
@pytest.mark.parametrize("auth", [("key", "secret"), BearerTokenAuth("token")], ids=["basic", "bearer"])
async def test_the_rollout_has_the_account_in_its_path(details: bool, query: str, auth: Any) -> None:
    """On both hosts, the account service id is in the path and nowhere else."""
    path = await sent_by(lambda client: client.images.rollout(501, details), rollout_wire(), auth=auth)
    assert path == f"/cfp/v2/project/7/image/501/status{query}"


async def test_the_rollout_needs_an_account() -> None:
    """Without an account service id, the call has no path, even with a token."""
    async with client_of(unreachable, **TOKEN) as client:
        with pytest.raises(ConfigurationError, match="account_service_id"):
            await client.images.rollout(501)


@pytest.mark.parametrize(
    ("image_id", "details", "error"), [(0, False, ValueError), ("5", False, TypeError), (5, 1, TypeError)]
)
async def test_arguments_of_rollout(image_id: Any, details: Any, error: type[Exception]) -> None:
    """Invalid arguments are refused before any request."""
    async with client_of(unreachable) as client:
        with pytest.raises(error):
            await client.images.rollout(image_id, details)


async def test_a_rollout_is_parsed_with_fleets_and_regions() -> None:
    """The numbers are parsed for the image, each fleet and each region."""
    region = {"name": "Europe", "pending_machines": "1", "completed_machines": 2.0}
    fleet = rollout_wire(regions={"3": region})
    async with client_of(httpx.Response(200, json=rollout_wire(fleets={"5010": fleet}))) as client:
        rollout = await client.images.rollout(IMAGE, True)
    assert (rollout.pending, rollout.failed, rollout.completed, rollout.total) == (2, 1, 4, 7)
    assert rollout.fleets[5010].total == 7
    assert rollout.fleets[5010].regions == {3: RegionRollout(name="Europe", pending=1, failed=0, completed=2)}


@pytest.mark.parametrize("failed", [{}, {"failed_machines": None}])
async def test_no_failed_machines(failed: dict[str, Any]) -> None:
    """The number of failed machines may be absent or null at every level; it is then 0."""
    counts: dict[str, Any] = {"pending_machines": 0, "completed_machines": 3, **failed}
    body = counts | {"fleets": {"5": counts | {"regions": {"1": counts | {"name": "Europe"}}}}}
    async with client_of(httpx.Response(200, json=body)) as client:
        rollout = await client.images.rollout(IMAGE, True)
    fleet = rollout.fleets[5]
    assert [part.total for part in (rollout, fleet, fleet.regions[1])] == [3, 3, 3]
    assert [part.failed for part in (rollout, fleet, fleet.regions[1])] == [0, 0, 0]


@pytest.mark.parametrize("fleets", [{}, [], None])
async def test_no_fleets(fleets: Any) -> None:
    """A rollout without fleets is parsed; without failed machines, as on the beta page, their number is 0."""
    body = {"pending_machines": 0, "completed_machines": 3, "fleets": fleets}
    async with client_of(httpx.Response(200, json=body)) as client:
        rollout = await client.images.rollout(IMAGE, True)
    assert (rollout.failed, rollout.total, rollout.fleets) == (0, 3, {})


@pytest.mark.parametrize(
    ("body", "names"),
    [
        ({}, ("pending_machines", "completed_machines")),
        ({"pending_machines": 0}, ("completed_machines",)),
        (rollout_wire(pending_machines=None, failed_machines="none"), ("pending_machines", "failed_machines")),
        (rollout_wire(fleets=[rollout_wire()]), ("fleets",)),
        (rollout_wire(fleets={"Europe": rollout_wire()}), ("fleets",)),
        (rollout_wire(fleets={"5": {}}), ("pending_machines", "completed_machines")),
        (rollout_wire(fleets={"5": 5}), ("fleets",)),
        (
            rollout_wire(fleets={"5": rollout_wire(regions={"1": {"name": "x"}})}),
            ("pending_machines", "completed_machines"),
        ),
    ],
)
async def test_a_rollout_without_numbers_is_not_complete(body: dict[str, Any], names: tuple[str, ...]) -> None:
    """Missing numbers are an error and not zeros, which would look like a complete rollout."""
    async with client_of(httpx.Response(200, json=body)) as client:
        with pytest.raises(InvalidResponseError) as raised:
            await client.images.rollout(IMAGE, True)
    assert raised.value.fields == names
