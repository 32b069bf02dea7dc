"""`kb-dr copy` brings and mends what it can, says the rest, and never ends well with it."""

import json
from pathlib import Path

import pytest

from kb_dr.cli import copy as copy_verb
from kb_dr.cli.app import run
from kb_dr.domain import layout
from kb_dr.domain.manifest import StoredManifest
from kb_dr.domain.tombstone import PurgeStep
from kb_dr.errors import RepositoryUnavailable
from kb_dr_tests.made_copies import bring, damage, let_go
from kb_dr_tests.made_installation import MadeInstallation


@pytest.fixture
def installation(tmp_path: Path) -> MadeInstallation:
    """Primary, offsite and local."""
    return MadeInstallation(tmp_path, local=True)


@pytest.fixture
def stored(installation: MadeInstallation) -> StoredManifest:
    """One backup, the same in all three."""
    made = installation.has_backup()
    for copy in installation.further_copies:
        bring(installation, copy)
    return made


@pytest.fixture
def typed(installation: MadeInstallation, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is typed reaches this installation."""
    monkeypatch.setattr(copy_verb, "installation", lambda: installation)


@pytest.mark.usefixtures("typed")
def test_copy_without_words_brings_all_to_each_copy(
    installation: MadeInstallation, capsys: pytest.CaptureFixture[str]
) -> None:
    old, new = installation.has_backup(), installation.has_backup(days=1)
    let_go(installation, old, PurgeStep.PURGED)

    assert run(["copy", "--json"]) == 0

    said = json.loads(capsys.readouterr().out)
    assert [(each["copy"], each["backup_id"]) for each in said["backups"]] == [
        ("offsite", old.manifest.id),
        ("offsite", new.manifest.id),
        ("local", new.manifest.id),
    ]
    assert said["left_out"] == {"offsite": [], "local": [old.manifest.id]}
    assert {each["copy"] for each in said["wal"]} == {"offsite", "local"}
    assert run(["copy", old.manifest.id, "--to", "local"]) == 2
    assert run(["copy", "--to", "primary"]) == 2


@pytest.mark.usefixtures("typed")
def test_a_copy_that_is_down_holds_up_no_other(
    installation: MadeInstallation, capsys: pytest.CaptureFixture[str]
) -> None:
    stored = installation.has_backup()
    for key in ("", layout.MARKER):
        installation.offsite.failures[key] = RepositoryUnavailable("no answer")

    assert run(["copy"]) == 11

    assert installation.has_copy("local", stored)
    assert stored.manifest.id in capsys.readouterr().out


@pytest.mark.usefixtures("typed", "stored")
def test_repair_says_what_it_mended_and_fails_while_something_is_damaged(
    installation: MadeInstallation, capsys: pytest.CaptureFixture[str]
) -> None:
    key = damage(installation.local, "base.tar.zst.age.00001", "flip")

    assert run(["copy", "--repair"]) == 0
    said = capsys.readouterr().out
    assert f"mended in local: {key}" in said
    assert "red until it is proven anew" in said

    for memory in installation.memory.values():
        damage(memory, "base.tar.zst.age.00001", "flip")
    assert run(["copy", "--repair"]) == 30
    said = capsys.readouterr().out
    assert f"DAMAGED STILL in primary: {key}" in said


@pytest.mark.usefixtures("typed")
def test_a_damaged_manifest_is_said_by_a_copy_and_mended_by_a_repair(
    installation: MadeInstallation, stored: StoredManifest, capsys: pytest.CaptureFixture[str]
) -> None:
    damage(installation.local, "/manifest.json", b"damaged")
    newer = installation.has_backup(days=1)

    assert run(["copy", "--to", "local"]) == 30
    assert "kb-dr copy --repair --to local" in capsys.readouterr().err
    assert installation.has_copy("local", newer), "it holds up no other backup"
    assert run(["copy", "--repair", stored.manifest.id, "--to", "local"]) == 0
    assert installation.has_copy("local", stored)
