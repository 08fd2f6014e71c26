from __future__ import annotations

from typing import Any

import pytest
from support.simulator.pipeline import FILES, SOURCE, SimulatedPipeline

from clanforge_async.simulator import DEMO_ACCOUNT, Account, Listing, Quirks, Simulator, add_demo_pipeline

OTHER = Account(account_service_id=99, access_key="other", secret_key="its secret", token="its token")
BEARER: dict[str, Any] = {"auth": None, "params": {}, "headers": {"Authorization": f"Bearer {DEMO_ACCOUNT.token}"}}
ROLLOUT = "/cfp/v2/project/1234/image/501/status"


@pytest.fixture
def pipeline() -> SimulatedPipeline:
    """A pipeline with a game, an image and a build machine of another account in addition to its own."""
    pipeline = SimulatedPipeline(accounts=[DEMO_ACCOUNT, OTHER], image={"update_url": SOURCE})
    pipeline.simulator.add_game(13, account=OTHER)
    pipeline.simulator.add_image(601, game_id=13)
    pipeline.simulator.add_build_machine(88, account=OTHER)
    return pipeline


async def test_options_without_an_image_list_the_games(pipeline: SimulatedPipeline) -> None:
    """Without a game and an image, options list the account's games and build machines, and no images."""
    assert await pipeline.ok("image/options") == {
        "games": [{"gameid": 12, "name": "Ashfall"}],
        "images": [],
        "machines": [{"machineid": 77, "name": "build-77"}, {"machineid": 78, "name": "build-78"}],
    }


async def test_options_of_an_image(pipeline: SimulatedPipeline) -> None:
    """For a game and an image, options list the game's images with their game versions, and the image's source."""
    body = await pipeline.ok("image/options", gameid=12, imageid=501, gameversion_identifier=5)
    assert [(image["imageid"], image["name"]) for image in body["images"]] == [
        (501, "Ashfall 501"),
        (502, "Ashfall 502"),
    ]
    assert {type(image["gameversionid"]) for image in body["images"]} == {str}
    assert body["update_url"] == SOURCE
    assert not {"diffid", "updateid", "success"} & body.keys()
    assert "update_url" not in await pipeline.ok("image/options", gameid=12, imageid=502)


async def test_an_image_of_no_given_game_is_not_found_by_reading(pipeline: SimulatedPipeline) -> None:
    """An image that is unknown or of another game is in no list, and its lock is not shown."""
    pipeline.simulator.add_image(701, game_id=14, update_url=SOURCE)
    pipeline.simulator.lock(701)
    for image_id in (701, 999):
        body = await pipeline.ok("image/options", gameid=12, imageid=image_id)
        assert [image["imageid"] for image in body["images"]] == [501, 502]
        assert not {"diffid", "updateid", "update_url"} & body.keys()
    assert "diffid" in await pipeline.ok("image/options", gameid=14, imageid=701)


@pytest.mark.parametrize(
    ("query", "refusal"),
    [
        ({"gameid": 12}, (400, "gameid and imageid must be sent together")),
        ({"imageid": 501}, (400, "gameid and imageid must be sent together")),
        ({"gameversion_identifier": 5}, (400, "gameversion_identifier needs gameid and imageid")),
        ({"gameid": "x", "imageid": 501}, (400, "malformed parameter: gameid")),
        ({"gameid": 999, "imageid": 501}, (400, "unknown game")),
        ({"gameid": 13, "imageid": 601}, (403, "forbidden")),
    ],
)
async def test_options_need_a_game_with_an_image(
    pipeline: SimulatedPipeline, query: dict[str, Any], refusal: tuple[int, str]
) -> None:
    """The parameters are sent together or not at all, and the game belongs to the account."""
    assert await pipeline.refused("image/options", **query) == refusal


async def test_an_image_is_activated_and_deactivated(pipeline: SimulatedPipeline) -> None:
    """The active flag is set, and the response has the image with its times as text."""
    pipeline.clock.advance(60)
    body = await pipeline.ok("image/501/update", active=0)
    assert pipeline.simulator.image(501).active is False
    image = pipeline.simulator.image(501)
    assert body == {
        "image": {
            "active": 0,
            "created_at": "2025-11-22T00:00:00Z",
            "created_by": 4321,
            "gameversionid": body["image"]["gameversionid"],
            "imageid": 501,
            "latestversionid": image.version,
            "path": "/games/12/501",
            "updated_at": "2025-11-22T00:01:00Z",
            "updated_by": 4321,
        }
    }
    assert (await pipeline.ok("image/501/update", active=1))["image"]["active"] == 1
    assert pipeline.simulator.image(501).active is True


@pytest.mark.parametrize(
    ("path", "query", "refusal"),
    [
        ("image/501/update", {}, (400, "missing parameter: active")),
        ("image/501/update", {"active": "true"}, (400, "malformed parameter: active")),
        ("image/999/update", {"active": 1}, (404, "not found")),
        ("image/x/update", {"active": 1}, (404, "not found")),
        ("image/601/update", {"active": 1}, (403, "forbidden")),
        (ROLLOUT, {"detail": "1"}, (400, "malformed parameter: detail")),
        (ROLLOUT.replace("501", "999"), {}, (404, "not found")),
        (ROLLOUT.replace("501", "601"), {}, (403, "forbidden")),
        (ROLLOUT.replace("1234", "99"), {}, (403, "forbidden")),
        (ROLLOUT.replace("1234", "x"), {}, (400, "malformed parameter: accountserviceid")),
        ("imageupdate/create", {"imageid": 601, "machineid": 77, "desc": "x", "url": SOURCE}, (403, "forbidden")),
        ("imageupdate/create", {"imageid": 501, "machineid": 88, "desc": "x", "url": SOURCE}, (403, "forbidden")),
        ("imagediff/create", {"imageid": 601, "machineid": 77}, (403, "forbidden")),
    ],
)
async def test_refusals(
    pipeline: SimulatedPipeline, path: str, query: dict[str, Any], refusal: tuple[int, str]
) -> None:
    """A malformed parameter is 400, an unknown id in a path 404, and a resource of another account 403."""
    assert await pipeline.refused(path, **query) == refusal


async def test_jobs_of_others_are_403(pipeline: SimulatedPipeline) -> None:
    """Diffs and installs of another account are not accepted, rejected or queued."""
    theirs: dict[str, Any] = {"auth": ("other", "its secret"), "params": {"accountserviceid": "99"}}
    created = await pipeline.get("imagediff/create", http=theirs, imageid=601, machineid=88)
    diff_id = created.json()["diffid"]
    pipeline.clock.advance(60)
    forbidden = (403, "forbidden")
    assert await pipeline.refused("imageversion/create", diffid=diff_id, restart=0, full=1) == forbidden
    assert await pipeline.refused(f"imagediff/{diff_id}/reject", reinstall=0) == forbidden
    await pipeline.get("imageversion/create", http=theirs, diffid=diff_id, restart=0, full=1)
    pipeline.clock.advance(40)
    assert await pipeline.installs() == []
    (first, *_) = (await pipeline.get("imageinstall/status", http=theirs)).json()["installs"]
    assert await pipeline.refused(f"imageinstall/{first['jobid']}/queue", mirroring="false") == forbidden


async def test_a_rollout_in_detail(pipeline: SimulatedPipeline) -> None:
    """With ``detail=true``, a rollout has the counts of each fleet and each region, with the region's name."""
    counts = {"pending_machines": 0, "failed_machines": 0, "completed_machines": 3}
    assert await pipeline.ok(ROLLOUT) == await pipeline.ok(ROLLOUT, detail="false") == counts
    regions = {
        "1": {"name": "Europe"} | counts | {"completed_machines": 2},
        "2": {"name": "North America"} | counts | {"completed_machines": 1},
    }
    fleets = {"5010": counts | {"regions": regions}}
    assert await pipeline.ok(ROLLOUT, detail="true") == counts | {"fleets": fleets}


async def test_the_account_of_a_rollout_is_in_its_path(pipeline: SimulatedPipeline) -> None:
    """The v2 call needs no ``accountserviceid``, with Basic and with a token; another account is 403."""
    basic: dict[str, Any] = {"params": {}}
    for http in (BEARER, basic):
        assert (await pipeline.get(ROLLOUT, http=http)).status_code == 200
        assert (await pipeline.get(ROLLOUT.replace("1234", "99"), http=http)).status_code == 403
    assert (await pipeline.get(ROLLOUT, http={"auth": None})).status_code == 401


async def test_a_token_needs_no_account_elsewhere(pipeline: SimulatedPipeline) -> None:
    """With a token no v1 call needs ``accountserviceid``."""
    body = (await pipeline.get("image/options", http=BEARER)).json()
    assert body["games"] == [{"gameid": 12, "name": "Ashfall"}]


async def test_an_image_can_be_written_in_other_ways() -> None:
    """Quirks of an image omit ``failed_machines`` and the object around its fields."""
    pipeline = SimulatedPipeline(image={"quirks": Quirks(omits_failed_machines=True, flattens_images=True)})
    assert await pipeline.ok(ROLLOUT) == {"pending_machines": 0, "completed_machines": 3}
    assert (await pipeline.ok("image/501/update", active=0))["active"] == 0


async def test_quirks_are_drawn_for_images_and_jobs() -> None:
    """With ``quirks``, the JSON of images and jobs varies."""
    forms: set[tuple[bool, ...]] = set()
    for seed in range(20):
        pipeline = SimulatedPipeline(quirks=True, seed=seed)
        flat = "imageid" in await pipeline.ok("image/501/update", active=1)
        update = await pipeline.update()
        status = await pipeline.status(update)
        forms.add((flat, "updateid" in status, status["jobstateid"] is None if "jobstateid" in status else True))
    assert len(forms) > 4


async def test_an_update_may_be_read_without_its_id() -> None:
    """The quirk ``omits_update_id`` omits the id from an update's status and retry."""
    pipeline = SimulatedPipeline()
    pipeline.simulator.add_image_update(4, states="completed", quirks=Quirks(omits_update_id=True))
    assert "updateid" not in await pipeline.ok("imageupdate/4/status")
    assert "updateid" not in await pipeline.ok("imageupdate/4/retry")


async def test_maps_without_files_may_be_left_out() -> None:
    """The quirk ``omits_empty_maps`` omits the maps of a diff that have no file."""
    pipeline = SimulatedPipeline()
    pipeline.simulator.add_image_diff(
        4, states="completed", listing=Listing(added={"new.cfg": {}}), quirks=Quirks(omits_empty_maps=True)
    )
    body = await pipeline.ok("imagediff/4/status")
    assert body["added"] == {"new.cfg": {}}
    assert not {"modified", "removed"} & body.keys()


@pytest.mark.parametrize("url", ["bucket", "ftp://bucket/", "s3://key:a/b@bucket/"])
def test_a_default_source_is_checked(url: str) -> None:
    """An image's default source is a source URL with encoded parts."""
    with pytest.raises(ValueError, match="update_url is not a source URL"):
        Simulator().add_image(501, game_id=12, update_url=url)


def test_everything_is_added_once() -> None:
    """A game, an image and a build machine can be added only once, for an account of the simulator."""
    simulator = Simulator()
    simulator.add_image(501, game_id=12)
    simulator.add_build_machine(77)
    with pytest.raises(ValueError, match="game 12 already exists"):
        simulator.add_game(12)
    with pytest.raises(ValueError, match="image 501 already exists"):
        simulator.add_image(501, game_id=12)
    with pytest.raises(ValueError, match="build machine 77 already exists"):
        simulator.add_build_machine(77)
    with pytest.raises(ValueError, match="account 99 is not one of the simulator's"):
        simulator.add_game(13, account=OTHER)


def test_only_known_resources_can_be_inspected() -> None:
    """The state of an unknown image or build machine is a `LookupError`, and so is a script of an unknown kind."""
    simulator = Simulator()
    simulator.add_image(501, game_id=12, files=FILES)
    with pytest.raises(LookupError, match="there is no image 502"):
        simulator.image(502)
    with pytest.raises(LookupError, match="there is no image 502"):
        simulator.lock(502)
    with pytest.raises(LookupError, match="there is no build machine 77"):
        simulator.files_on(77, 501)
    with pytest.raises(ValueError, match="script one of update, diff, version, install, not 'rollout'"):
        simulator.script("rollout", "completed")  # type: ignore[arg-type]


async def test_the_demo_pipeline_needs_no_set_up() -> None:
    """The demo has build machine 77 and images 501 to 503, all of which can be released without a source."""
    pipeline = SimulatedPipeline()
    pipeline.simulator = Simulator(clock=pipeline.clock)
    add_demo_pipeline(pipeline.simulator)
    for image_id in (501, 502, 503):
        query = {"imageid": image_id, "machineid": 77, "desc": "build 2"}
        await pipeline.ok("imageupdate/create", **query)
        pipeline.clock.advance(60)
        diff = pipeline.finish(await pipeline.diff(image_id))
        version = pipeline.finish(await pipeline.version(diff))
        assert pipeline.simulator.image(image_id).version == version.id
