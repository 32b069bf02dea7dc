"""`kb-dr retention lifecycle` and `hidden` show first, and change only when told so."""

import json
from pathlib import Path

import pytest

import kb_dr.cli.lifecycle
from kb_dr.cli.app import run
from kb_dr.domain.lifecycle import LifecycleRule
from kb_dr.errors import ConfigurationError, LifecycleTooShort, VerificationError
from kb_dr_tests.made_bucket import MemoryBucket
from kb_dr_tests.made_installation import MadeInstallation


@pytest.fixture
def bucket(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> MemoryBucket:
    made = MadeInstallation(tmp_path)
    made.has_backup()
    bucket = MemoryBucket()
    made._buckets = {"primary": bucket, "offsite": None}
    monkeypatch.setattr(kb_dr.cli.lifecycle, "installation", lambda: made)
    return bucket


def test_rules_are_shown_and_put_only_when_confirmed(
    bucket: MemoryBucket, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["retention", "lifecycle"]) == 0
    said = capsys.readouterr().out
    assert "missing" in said
    assert "know nothing of holds" in said
    assert run(["retention", "lifecycle", "--apply"]) == ConfigurationError.exit_code
    assert not bucket.rules

    capsys.readouterr()
    assert run(["retention", "lifecycle", "--apply", "--yes"]) == 0
    assert "missing" not in capsys.readouterr().out
    assert run(["retention", "lifecycle", "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)

    assert bucket.rules
    assert len(shown["standing"]) == len(shown["wanted"]) == len(bucket.rules)
    assert shown["problems"] == []


def test_a_shorter_rule_ends_with_an_error_of_its_own(
    bucket: MemoryBucket, capsys: pytest.CaptureFixture[str]
) -> None:
    theirs = LifecycleRule("tidy", "full/", expire_days=30, made_here=False)
    bucket.rules = (theirs,)

    for words in ([], ["--apply", "--yes"], ["--json"]):
        assert run(["retention", "lifecycle", *words]) == LifecycleTooShort.exit_code
    assert "'tidy' expires objects of full/ after 30 days" in capsys.readouterr().err
    assert bucket.rules == (theirs,)


def test_a_directory_has_no_rules_and_is_not_told_any(
    bucket: MemoryBucket, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["retention", "lifecycle", "--copy", "offsite"]) == 0
    assert "no lifecycle rules" in capsys.readouterr().out
    apply = ["retention", "lifecycle", "--copy", "offsite", "--apply", "--yes"]
    assert run(apply) == ConfigurationError.exit_code


def test_what_is_hidden_is_shown_and_brought_back_only_when_confirmed(
    bucket: MemoryBucket, capsys: pytest.CaptureFixture[str]
) -> None:
    bucket.markers = ["full/1/manifest.json", "wal/1"]

    assert run(["retention", "hidden"]) == VerificationError.exit_code
    assert "full/1/manifest.json" in capsys.readouterr().out
    assert run(["retention", "hidden", "--bring-back"]) == VerificationError.exit_code
    assert len(bucket.markers) == 2

    only = ["retention", "hidden", "--prefix", "wal/", "--bring-back", "--yes"]
    assert run(only) == 0
    assert bucket.markers == ["full/1/manifest.json"]
    assert run(["retention", "hidden", "--bring-back", "--yes"]) == 0
    assert run(["retention", "hidden"]) == 0
