"""A key is rotated: typed as a person types it, on a real backup in two copies."""

import json
from pathlib import Path

import pyrage

from kb_dr_tests.protected_service import ProtectedService


def test_a_backup_is_moved_to_a_new_key_and_restores_with_that_alone(
    protected_service: ProtectedService, tmp_path: Path
) -> None:
    service = protected_service.copied(tmp_path / "service")
    old = service.stored.manifest.id
    new = pyrage.x25519.Identity.generate()
    alone, both = tmp_path / "new.key", tmp_path / "both.key"
    alone.write_text(f"{new}\n")
    both.write_text(Path(service.settings["KB_DR_AGE_IDENTITY_FILE"]).read_text() + f"{new}\n")
    rotated = {
        "KB_DR_AGE_RECIPIENTS": str(new.to_public()),
        "KB_DR_AGE_IDENTITY_FILE": str(both),
    }
    with_new_alone = rotated | {"KB_DR_AGE_IDENTITY_FILE": str(alone)}

    service.run("keys", "check").require(0)
    # Nothing is encrypted to the new key yet: who holds it alone has lost everything.
    service.run("keys", "check", **with_new_alone).require(18, "open with no identity here")
    before = service.run("keys", "re-encrypt", old, **rotated).require(0)
    assert "--yes does it" in before.out
    assert service.backups() == [old]

    said = service.run("keys", "re-encrypt", old, "--yes", "--json", **rotated).require(0)
    moved = json.loads(said.out)["new"]

    assert service.backups("offsite") == [old, moved]
    proven = service.run("verify", moved, **rotated).require(0)
    assert "PROVEN" in proven.out
    # WAL behind the backup still needs the old key; up to its own restore point nothing does.
    target = tmp_path / "restored"
    for copy in ("primary", "offsite"):
        words = ("restore", "--backup", moved, "--target-name", old, "--from", copy)
        service.run(*words, "--into", str(target / copy), **with_new_alone).require(0)
    service.run("keys", "re-encrypt", moved, "--yes", **rotated).require(2, "already")
