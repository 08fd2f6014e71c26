"""``clanforge release``: releases images from a terminal or in a pipeline."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from support.cli.harness import Clanforge, Finished
from support.cli.releases import BUILD, RELEASE, SOURCE, VERSION
from support.cli.terminal import Terminal

from clanforge_async import ImageRelease, ReleaseToken
from clanforge_async.simulator import Drop, Simulator


def token_in(finished: Finished) -> str:
    return next(word for word in finished.err.split() if word.startswith("release/1:"))


def test_images_are_released(images: Simulator, clanforge: Clanforge, tmp_path: Path) -> None:
    """Each event is a line, the last line has the outcome, the journal is written, and no secret appears anywhere."""
    history = tmp_path / "history.jsonl"
    options = ("--yes", "--journal", str(tmp_path / "journal"), "--image", "502", "--history", str(history), *VERSION)
    finished = clanforge("release", *RELEASE, *options)
    assert finished.status == 0
    lines = [" ".join(line.split()) for line in finished.lines if line.startswith("501")]
    assert lines[:3] == ["501 check started", "501 update started", "501 update image-update/218002 Completed 100 %"]
    assert "501 approve approved" in lines
    assert lines[-1].startswith("501 released")
    assert [images.image(image_id).files for image_id in (501, 502)] == [BUILD, BUILD]
    labels = {json.loads(line)["label"] for line in history.read_text().splitlines()}
    assert labels == {f"image-{image}/{step}" for image in (501, 502) for step in ("update", "diff", "version")}
    files = sorted((tmp_path / "journal").iterdir())
    assert [file.name for file in files] == ["image-501.json", "image-502.json"]
    everything = finished.out + finished.err + "".join(file.read_text() for file in files)
    assert "AKIA" not in everything
    assert "hush" not in everything


def test_json_has_an_object_for_each_event(images: Simulator, clanforge: Clanforge) -> None:
    """``--json`` prints steps, updates, rollouts and results, each with its image, step and token."""
    finished = clanforge("release", *RELEASE, "--yes", "--json", "--settle", "0", "--game-build", "2.0")
    assert finished.status == 0
    records = finished.records
    assert {record["event"] for record in records} == {"step", "update", "rollout", "result"}
    assert all(record["image"] == 501 and "step" in record for record in records)
    assert all(str(ReleaseToken.parse(record["token"])) == record["token"] for record in records)
    result = records[-1]
    assert (result["event"], result["outcome"], result["error"]) == ("result", "released", None)
    assert result["version"] == images.image(501).version
    quiet = clanforge("release", *RELEASE, "--yes", "--json", "--quiet", *VERSION)
    assert [record["outcome"] for record in quiet.records] == ["unchanged"]


def test_a_dry_run_prints_the_calls(images: Simulator, clanforge: Clanforge) -> None:
    """``--dry-run`` prints the calls and the problems that would end the release, and sends nothing."""
    finished = clanforge("release", *RELEASE, "--dry-run")
    assert finished.status == 0
    assert finished.lines[0] == "501  image_updates.create(501, 77, 'build 2', source='s3://***@bucket/builds/')"
    lock = images.lock(501)
    locked = clanforge("release", *RELEASE, "--dry-run", "--json")
    assert locked.status == 6
    [plan] = locked.records
    assert (plan["lock"], plan["ok"], plan["problems"]) == (str(lock), False, [f"image 501 is locked by {lock}"])
    assert "locked by" in clanforge("release", *RELEASE, "--dry-run").err
    assert images.requests.count("image-update create") == 0


def test_a_held_release_is_resumed_with_a_decision(images: Simulator, clanforge: Clanforge, tmp_path: Path) -> None:
    """``--hold`` ends with 0 and a command; ``resume --approve`` continues with the options in the journal's file."""
    held = clanforge("release", *RELEASE, *VERSION, "--hold", "--journal", str(tmp_path))
    assert held.status == 0
    assert "image 501 is held: resume with --approve or --reject" in held.err
    token = token_in(held)
    file = tmp_path / "image-501.json"
    assert clanforge("release", "resume", token, *VERSION).status == 2
    assert clanforge("release", "resume", token, "--approve", "--reject").status == 2
    released = clanforge("release", "resume", str(file), "--approve", "--quiet")
    assert (released.status, released.out) == (0, "")
    assert images.image(501).files == BUILD
    assert images.requests.count("image-diff create") == 1


def test_a_held_release_can_be_rejected(images: Simulator, clanforge: Clanforge) -> None:
    """``resume --reject`` rejects the diff and ends with 1."""
    token = token_in(clanforge("release", *RELEASE, "--hold"))
    rejected = clanforge("release", "resume", token, "--reject")
    assert rejected.status == 1
    assert "the diff was not approved" in rejected.err
    assert "Resume with" not in rejected.err
    assert images.image(501).lock is None


def test_an_abort_frees_the_image(images: Simulator, clanforge: Clanforge, tmp_path: Path) -> None:
    """``abort`` accepts tokens and journals, and prints the result."""
    clanforge("release", *RELEASE, "--hold", "--journal", str(tmp_path))
    aborted = clanforge("release", "abort", str(tmp_path))
    assert (aborted.status, aborted.lines) == (0, ["501  the diff is rejected"])
    assert images.image(501).lock is None
    token = token_in(clanforge("release", *RELEASE, "--hold"))
    [record] = clanforge("release", "abort", token, "--json").records
    assert record == {"event": "abort", "image": 501, "rejected": True, "lock": None, "version": None}
    released = clanforge("release", *RELEASE, "--yes", "--journal", str(tmp_path), *VERSION)
    assert released.status == 0
    late = clanforge("release", "abort", str(tmp_path / "image-501.json"))
    assert "too late, image-version/" in late.out
    images.faults.add(Drop())
    failed = clanforge("release", "abort", token, "--timeout", "0.1")
    assert failed.status == 3
    assert "the abort timed out" in failed.err


def test_a_lock_of_another_is_refused(images: Simulator, clanforge: Clanforge) -> None:
    """If another client locks the image, the status is 6; nothing was sent, so nothing can be resumed."""
    lock = images.lock(501)
    finished = clanforge("release", *RELEASE, "--yes")
    assert finished.status == 6
    assert f"image 501 is locked by {lock}" in finished.err
    assert "Resume with" not in finished.err
    assert images.image(501).lock == lock


def test_a_call_with_unknown_outcome_is_reported(images: Simulator, clanforge: Clanforge) -> None:
    """A lost response to a version create ends with 7; ``--repeat`` confirms that the call had no effect."""
    images.faults.add(Drop(), route="image-version create")
    finished = clanforge("release", *RELEASE, "--yes", *VERSION)
    assert finished.status == 7
    assert "the outcome of image_versions.create is unknown" in finished.err
    token = token_in(finished)
    images.faults.clear()
    assert clanforge("release", "resume", token, *VERSION).status == 7
    again = clanforge("release", "resume", token, "--repeat", *VERSION)
    assert again.status in (0, 6)


def test_several_releases_end_with_the_highest_status(images: Simulator, clanforge: Clanforge) -> None:
    """A release that fails does not stop the others, and its token is printed."""
    images.script("update", "completed")
    images.lock(502)
    finished = clanforge("release", *RELEASE, "--image", "502", "--yes", *VERSION)
    assert finished.status == 6
    assert images.image(501).files == BUILD


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        ((), "--image is required"),
        (("--image", "x"), "'x' is not an image ID"),
        (("--image", "501"), "--machine is required"),
        (("--image", "501", "--machine", "77"), "--desc is required"),
        ((*RELEASE,), "--yes or --hold is required"),
        ((*RELEASE, "--yes", "--hold"), "--yes and --hold contradict each other"),
        ((*RELEASE, "--gs", "bucket/x"), "give one of --s3, --steam and --gs"),
        ((*RELEASE, "--yes", "--on-empty", "skip"), "on_empty must be 'stop' or 'full'"),
        ((*RELEASE, "--yes", "--settle", "x"), "is not a duration"),
        ((*RELEASE, "--yes", "--job-retries", "-1"), "is not a number of retries"),
        (("--image", "501", "--machine", "77", "--desc", "x", "--steam", "x", "--yes"), "app_id"),
        (("--image", "501", "--machine", "77", "--desc", "x", "--gs", "b/f", "--yes"), "CLANFORGE_SOURCE_CREDENTIALS"),
        (("resume", "nothing"), "not a release token"),
        (("abort", "nothing"), "not a release token"),
    ],
)
def test_wrong_usage_is_reported(images: Simulator, clanforge: Clanforge, argv: tuple[str, ...], message: str) -> None:
    """A missing, invalid or contradicting option is a usage error, before any request."""
    finished = clanforge("release", *argv)
    assert finished.status == 2
    assert message in finished.err
    assert images.requests.count() == 0


def fresh_token(**changes: Any) -> str:
    options: dict[str, Any] = {"description": "build 2", "source": "s3://***@bucket/builds/"}
    made = ImageRelease(501, 77, **(options | changes))
    return str(ReleaseToken(image_id=501, machine_id=77, plan=made.digest))


def test_a_token_needs_the_options_of_remaining_steps(images: Simulator, clanforge: Clanforge) -> None:
    """Before the update, a token needs the description and the source; later, missing options are not checked."""
    token = fresh_token()
    for argv, message in (
        ((), "--desc is required"),
        (("--desc", "build 2"), "its source is required"),
        (("--desc", "build 3", *SOURCE), "the token is of another release: description differ"),
    ):
        finished = clanforge("release", "resume", token, "--yes", *argv)
        assert finished.status == 2
        assert message in finished.err
    assert clanforge("release", "resume", token, "--yes", "--desc", "build 2", *SOURCE, *VERSION).status == 0
    assert images.image(501).files == BUILD
    own = fresh_token(source=None, first_step="diff")
    assert clanforge("release", "resume", own, "--yes", *VERSION).status == 0


def test_a_journal_gets_its_secrets_from_the_environment(
    images: Simulator, clanforge: Clanforge, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A release that has not pulled its build resumes from its file if the source's secrets are in the environment."""
    file = tmp_path / "image-501.json"
    options = {"image_id": 501, "machine_id": 77, "description": "build 2", "source": "s3://***@bucket/builds/"}
    options["wait_for"] = "version"
    file.write_text(json.dumps({"releases": [{"token": fresh_token(), "options": options}]}))
    monkeypatch.delenv("CLANFORGE_SOURCE_KEY")
    lacking = clanforge("release", "resume", str(file), "--yes")
    assert lacking.status == 2
    assert "secrets are required in the environment" in lacking.err
    monkeypatch.setenv("CLANFORGE_SOURCE_KEY", "AKIA-secret")
    assert clanforge("release", "resume", str(file), "--yes").status == 0
    assert images.image(501).files == BUILD
    file.write_text('{"releases": []}')
    assert "no release in" in clanforge("release", "resume", str(file), "--yes").err


def test_other_sources_get_their_secrets_from_the_environment(
    images: Simulator, clanforge: Clanforge, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The secrets of Steam and Google Cloud sources come from the environment, in new and in resumed releases."""
    key = tmp_path / "key.json"
    key.write_text('{"private_key": "very-private"}')
    monkeypatch.setenv("CLANFORGE_SOURCE_CREDENTIALS", str(key))
    image = ("--image", "501", "--machine", "77", "--desc", "build 2")
    for source, name in ((("--gs", "bucket/builds"), "gs"), (("--steam", "730"), "steam")):
        folder = tmp_path / name
        held = clanforge("release", *image, *source, "--hold", "--journal", str(folder))
        assert held.status == 0
        file = folder / "image-501.json"
        text = file.read_text()
        assert "very-private" not in text
        assert "hush" not in text
        clanforge("release", "abort", str(file))
        token = token_in(held)
        fresh = token.replace(token.rpartition(":")[2], "")
        file.write_text(text.replace(token, fresh))
        assert clanforge("release", "resume", str(file), "--reject").status == 1
    assert images.requests.count("image-update create") == 4
    plain = clanforge("release", *RELEASE, "--on-empty", "full", "--yes", "--settle", "0")
    assert "completed" in plain.out
    monkeypatch.setenv("CLANFORGE_SOURCE_CREDENTIALS", str(tmp_path / "missing"))
    missing = clanforge("release", *image, "--gs", "bucket/builds", "--yes")
    assert missing.status == 2
    assert "cannot read CLANFORGE_SOURCE_CREDENTIALS" in missing.err


@pytest.mark.parametrize(("keys", "status"), [(b"maybe\ny\n", 0), (b"n\n", 1), (b"\x04", 2)])
def test_a_terminal_asks_for_approval(images: Simulator, keys: bytes, status: int) -> None:
    """On a terminal, the diff's files are listed and the user decides; without an answer, nothing is released."""
    terminal = Terminal()
    process = terminal.run(
        "import sys; from clanforge_async.cli import main; sys.exit(main(sys.argv[1:]))", "release", *RELEASE, *VERSION
    )
    terminal.wait_for("Release image-diff/")
    terminal.type(keys)
    assert process.wait(timeout=30) == status
    terminal.close()
    assert "+ new.cfg" in terminal.shown
    assert "* bin/server" in terminal.shown
    assert "- maps/quarry.pak" in terminal.shown
    assert (images.image(501).files == BUILD) is (status == 0)
