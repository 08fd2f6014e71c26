"""The commands for images: options, rollout and activation, and the rejection of a diff."""

from __future__ import annotations

import os
import signal
from urllib.parse import quote

import pytest
from support.cli.harness import CallAndHang, Clanforge, OverrideFields
from support.secrets import SECRET_KEY, assert_hidden

from clanforge_async.simulator import Drop, Envelope, GatewayError, Simulator

SOURCE = f"s3://reader:{SECRET_KEY}@builds/linux"


@pytest.fixture
def pipeline(simulator: Simulator) -> Simulator:
    """A simulated API with a build machine and two images of a game."""
    simulator.add_game(12, name="Ashfall")
    simulator.add_build_machine(77, name="builder")
    simulator.add_image(501, game_id=12, update_url=SOURCE)
    simulator.add_image(502, game_id=12, machines=0)
    return simulator


@pytest.mark.usefixtures("pipeline")
def test_options_without_an_image_list_games_and_build_machines(clanforge: Clanforge) -> None:
    """Without an image, options are the account's games and build machines."""
    finished = clanforge("image", "options")
    assert (finished.status, finished.err) == (0, "")
    assert finished.lines == ["games", "  12  Ashfall", "build machines", "  77  builder"]


@pytest.mark.parametrize("game", [(), ("--game", "12")])
def test_options_of_an_image_show_its_lock_and_source(
    pipeline: Simulator, clanforge: Clanforge, game: tuple[str, ...]
) -> None:
    """The options of an image show its lock, whether it has a default source, and the game's images."""
    lock = pipeline.lock(501)
    assert clanforge("image", "options", "--image", "501", *game).lines == [
        "image 501 of game 12",
        f"  locked by {lock}",
        "  default source s3://***@builds/linux",
        "games",
        "  12  Ashfall",
        "images",
        "  501  Ashfall 501",
        "  502  Ashfall 502",
        "build machines",
        "  77  builder",
    ]
    assert clanforge("image", "options", "--image", "502", *game).lines[:3] == [
        "image 502 of game 12",
        "  not locked",
        "  no default source",
    ]


def test_options_as_json(pipeline: Simulator, clanforge: Clanforge) -> None:
    """With --json, options are one object, with names by id, and the source without its secrets."""
    lock = pipeline.lock(501)
    [record] = clanforge("image", "options", "--image", "502", "--json").records
    versions = [entry.pop("game_version_id") for entry in record["images"].values()]
    assert all(isinstance(version, int) for version in versions)
    assert record == {
        "event": "options",
        "game_id": 12,
        "image_id": 502,
        "lock": None,
        "update_url": None,
        "games": {"12": "Ashfall"},
        "images": {"501": {"id": 501, "name": "Ashfall 501"}, "502": {"id": 502, "name": "Ashfall 502"}},
        "machines": {"77": "builder"},
    }
    [record] = clanforge("image", "options", "--image", "501", "--json").records
    assert (record["lock"], record["update_url"]) == (str(lock), "s3://***@builds/linux")


@pytest.mark.parametrize(
    "url",
    [
        SOURCE,
        quote(SOURCE, safe=""),
        f"steam://builder:{SECRET_KEY}@install/480/?betapassword={SECRET_KEY}",
        f"gs://builds/linux?credentials={SECRET_KEY}",
    ],
)
def test_the_secrets_of_a_default_source_are_masked(
    pipeline: Simulator, clanforge: Clanforge, url: str, caplog: pytest.LogCaptureFixture
) -> None:
    """A default source is shown without its secrets, in any form in which the server sends it back."""
    caplog.set_level("DEBUG")
    pipeline.faults.add(OverrideFields({"update_url": url}), route="image options")
    for options in ((), ("--json",), ("-vv",)):
        finished = clanforge("image", "options", "--image", "501", *options)
        assert "***" in finished.out
        assert_hidden(finished.out + finished.err + caplog.text)


@pytest.mark.usefixtures("pipeline")
def test_an_image_in_no_game_is_status_6(clanforge: Clanforge) -> None:
    """An unknown image is refused with a message that names it."""
    finished = clanforge("image", "options", "--image", "9")
    assert (finished.status, finished.out) == (6, "")
    assert "no game of the account has an image 9" in finished.err


def test_a_game_needs_an_image(clanforge: Clanforge) -> None:
    """A game without an image is wrong usage: the API accepts both or neither."""
    finished = clanforge("image", "options", "--game", "12")
    assert finished.status == 2
    assert "--game needs --image" in finished.err


@pytest.mark.usefixtures("pipeline")
def test_status_counts_machines(clanforge: Clanforge) -> None:
    """The status of an image is a table of its machines; with --detail, by fleet and region."""
    assert clanforge("image", "status", "501").lines == [
        "MACHINES   PENDING  FAILED  COMPLETED  TOTAL",
        "image 501  0        0       3          3",
    ]
    finished = clanforge("image", "status", "501", "--detail")
    assert (finished.status, finished.err) == (0, "")
    assert finished.lines == [
        "MACHINES                    PENDING  FAILED  COMPLETED  TOTAL",
        "image 501                   0        0       3          3",
        "  fleet 5010                0        0       3          3",
        "    region 1 Europe         0        0       2          2",
        "    region 2 North America  0        0       1          1",
    ]


@pytest.mark.usefixtures("pipeline")
def test_status_as_json(clanforge: Clanforge) -> None:
    """With --json the counts are one object, with fleets and regions by id."""
    [record] = clanforge("image", "status", "501", "--detail", "--json").records
    none, two, one = ({"pending": 0, "failed": 0, "completed": number} for number in (0, 2, 1))
    regions = {"1": {**two, "name": "Europe"}, "2": {**one, "name": "North America"}}
    total = {**none, "completed": 3}
    fleets = {"5010": {**total, "regions": regions}}
    assert record == {"event": "rollout", "image_id": 501, **total, "fleets": fleets}


@pytest.mark.usefixtures("pipeline")
def test_status_needs_the_account(clanforge: Clanforge, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without an account service ID, the rollout is a usage error that names the option, even with a token."""
    for name in ("ACCESS_KEY", "SECRET_KEY", "ACCOUNT_SERVICE_ID"):
        monkeypatch.delenv(f"CLANFORGE_{name}")
    monkeypatch.setenv("CLANFORGE_TOKEN", "demo-token")
    finished = clanforge("image", "status", "501")
    assert finished.status == 2
    assert finished.err.endswith("; pass --account-service-id or set CLANFORGE_ACCOUNT_SERVICE_ID\n")
    assert clanforge("image", "status", "501", "--account-service-id", "1234").status == 0


def test_an_image_is_deactivated_and_activated(pipeline: Simulator, clanforge: Clanforge) -> None:
    """The active flag changes, and the image's record is shown."""
    version = pipeline.image(501).version
    finished = clanforge("image", "deactivate", "501")
    assert finished.status == 0
    [line] = finished.lines
    assert line.startswith(f"image 501  inactive  latest version {version}  updated 20")
    assert not pipeline.image(501).active
    [record] = clanforge("image", "activate", "501", "--json").records
    assert (record["event"], record["id"], record["active"]) == ("image", 501, True)
    assert pipeline.image(501).active


def test_a_lost_change_of_the_active_flag_is_status_7(pipeline: Simulator, clanforge: Clanforge) -> None:
    """If the response is lost, the outcome is unknown: the call is not sent again, and no read shows it."""
    pipeline.faults.add(Drop(after_acting=True), route="image set-active")
    finished = clanforge("image", "deactivate", "501")
    assert (finished.status, finished.out) == (7, "")
    assert finished.err.startswith("error: the outcome of images.set_active is unknown")
    assert pipeline.requests.count("image set-active") == 1


def test_a_rejected_diff_keeps_the_files(pipeline: Simulator, clanforge: Clanforge) -> None:
    """With --keep, the diff is rejected, the image is unlocked, and no job follows."""
    lock = pipeline.lock(501)
    finished = clanforge("image-diff", "reject", str(lock.id), "--keep")
    assert (finished.status, finished.err) == (0, "")
    assert finished.lines == [f"{lock}  rejected: the build machine keeps its files"]
    assert pipeline.image(501).lock is None


def test_a_rejected_diff_reinstalls_the_machine(pipeline: Simulator, clanforge: Clanforge) -> None:
    """With --reinstall, the job that restores the build machine is shown."""
    lock = pipeline.lock(501)
    [record] = clanforge("image-diff", "reject", str(lock.id), "--reinstall", "--json").records
    assert (record["event"], record["ref"], record["diff_id"]) == ("rejected", str(lock), lock.id)
    assert record["reinstall"]["state"] == "created"
    [line] = clanforge("image-diff", "reject", str(pipeline.lock(501).id), "--reinstall").lines
    assert line.endswith(", which is Created, reinstalls the build machine")


@pytest.mark.parametrize("options", [(), ("--reinstall", "--keep")])
def test_a_rejection_needs_one_of_two_options(clanforge: Clanforge, options: tuple[str, ...]) -> None:
    """Neither or both of --reinstall and --keep are wrong usage, before anything is sent."""
    finished = clanforge("image-diff", "reject", "5", *options)
    assert finished.status == 2
    assert finished.err.startswith("error: give either --reinstall or --keep; see ")


def test_a_lost_rejection_is_decided_by_the_lock(pipeline: Simulator, clanforge: Clanforge) -> None:
    """If the response is lost, the lock of --image shows whether the diff was rejected; the call is sent once."""
    lock = pipeline.lock(501)
    pipeline.faults.add(Drop(after_acting=True), route="image-diff reject", times=1)
    finished = clanforge("image-diff", "reject", str(lock.id), "--reinstall", "--image", "501")
    assert finished.status == 0
    assert finished.lines == [
        f"{lock}  rejected: the response was lost, so the job that reinstalls the build machine is unknown"
    ]
    lock = pipeline.lock(501)
    pipeline.faults.add(GatewayError(502), route="image-diff reject", times=1)
    assert clanforge("image-diff", "reject", str(lock.id), "--keep", "--image", "501").status == 7
    assert pipeline.requests.count("image-diff reject") == 2


def test_a_lost_rejection_without_an_image_is_status_7(pipeline: Simulator, clanforge: Clanforge) -> None:
    """Without --image, no read shows whether the diff was rejected."""
    lock = pipeline.lock(501)
    pipeline.faults.add(Drop(after_acting=True), route="image-diff reject")
    finished = clanforge("image-diff", "reject", str(lock.id), "--keep")
    assert finished.status == 7
    assert pipeline.requests.count("image options") == 0


def test_a_refusal_is_status_6(pipeline: Simulator, clanforge: Clanforge) -> None:
    """A call that the server refuses ends with status 6 and the server's message."""
    diff = str(pipeline.lock(501).id)
    clanforge("image-diff", "reject", diff, "--keep")
    for options in ((), ("--json",)):
        finished = clanforge("image-diff", "reject", diff, "--keep", *options)
        assert (finished.status, finished.out) == (6, "")
        assert "has been rejected already" in finished.err
    pipeline.faults.add(Envelope("image locked by updateid: 7"), route="image set-active")
    finished = clanforge("image", "activate", "501")
    assert finished.status == 6
    assert "image-update/7" in finished.err


@pytest.mark.parametrize(
    ("route", "argv", "warning"),
    [
        ("image set-active", ["image", "activate", "501"], "the change may or may not have happened: see the image"),
        (
            "image-diff reject",
            ["image-diff", "reject", "5", "--keep"],
            "the rejection may or may not have happened: see `clanforge image options --image ID` before",
        ),
        (
            "image-diff reject",
            ["image-diff", "reject", "5", "--keep", "--image", "501"],
            "the rejection may or may not have happened: see `clanforge image options --image 501` before",
        ),
    ],
)
def test_an_interrupted_call_may_have_been_processed(
    pipeline: Simulator, clanforge: Clanforge, route: str, argv: list[str], warning: str
) -> None:
    """Ctrl-C during a call with a side effect warns that it may have been processed, and names the place to look."""
    pipeline.add_image_diff(5, duration=0)
    pipeline.faults.add(CallAndHang(lambda: os.kill(os.getpid(), signal.SIGINT)), route=route)
    finished = clanforge(*argv)
    assert finished.status == 130
    assert finished.err.startswith(warning)


@pytest.mark.usefixtures("pipeline")
@pytest.mark.parametrize("argv", [["image", "options"], ["image", "status", "501"], ["image", "activate", "501"]])
def test_quiet_prints_nothing(clanforge: Clanforge, argv: list[str]) -> None:
    """With --quiet, a success prints nothing, even with --json."""
    for options in (("-q",), ("-q", "--json")):
        finished = clanforge(*argv, *options)
        assert (finished.status, finished.out, finished.err) == (0, "", "")


def test_names_from_the_server_are_escaped(pipeline: Simulator, clanforge: Clanforge) -> None:
    """Control characters in a name do not reach the terminal."""
    pipeline.add_game(13, name="Ash\x1b[2Jfall\nimage")
    assert r"  13  Ash\x1b[2Jfall\nimage" in clanforge("image", "options").lines
