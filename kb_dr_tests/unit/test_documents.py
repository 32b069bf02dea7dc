"""Documents are held against what they speak of: links, paths, verbs, keys."""

import re
from pathlib import Path

import click
import pytest

from kb_dr.cli.app import _VERBS, app
from kb_dr.domain import layout
from kb_dr.domain.backup_id import BackupId
from kb_dr.domain.lsn import Lsn

ROOT = Path(__file__).parents[2]
DOCUMENTS = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_link_leads_somewhere(document: Path) -> None:
    targets = re.findall(r"\]\(([^)#\s]+)", document.read_text())
    broken = [
        target
        for target in targets
        if "://" not in target and not (document.parent / target).exists()
    ]
    assert broken == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_link_into_a_document_leads_to_a_heading(document: Path) -> None:
    links = re.findall(r"\]\(([^)#\s]*\.md)?#([^)\s]+)\)", document.read_text())
    broken = [
        f"{target}#{anchor}"
        for target, anchor in links
        if "://" not in target
        and anchor not in _anchors(document.parent / target if target else document)
    ]
    assert broken == []


def _anchors(document: Path) -> set[str]:
    """Of its headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.*)$", document.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", each.lower()).replace(" ", "-") for each in headings}


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_path_of_the_code_exists(document: Path) -> None:
    named = re.findall(r"`((?:kb_dr|kb_dr_tests|scripts|docs)/[\w./-]*)`", document.read_text())
    missing = [path for path in named if not (ROOT / path).exists()]
    assert missing == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_verb_is_one_of_ours(document: Path) -> None:
    text = document.read_text()
    verbs = set(re.findall(r"(?:`|^|')kb-dr(?: --env-file \S+)? ([a-z]+)\b", text, re.MULTILINE))
    assert verbs <= set(_VERBS), verbs - set(_VERBS)


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_option_is_one_of_ours(document: Path) -> None:
    for line in re.findall(r"(?:`|^|')kb-dr ([^`'\n|;]+)", document.read_text(), re.MULTILINE):
        words = line.split()
        command: click.Command = app
        known = {option for each in app.params for option in each.opts}
        for word in words:
            if word == "#":
                break
            if word.startswith("--"):
                assert word.strip("…,.()") in known | {"--help"}, f"kb-dr {line}"
            elif isinstance(command, click.Group) and word in command.list_commands(_CONTEXT):
                command = command.get_command(_CONTEXT, word) or command
                known |= {option for each in command.params for option in each.opts}
                if command.name in ("push", "fetch"):
                    break  # their words are read by another parser


_CONTEXT = click.Context(app)


def test_every_verb_is_in_the_readme() -> None:
    text = (ROOT / "README.md").read_text()
    missing = [
        verb for verb in _VERBS if f"kb-dr {verb}" not in text and verb not in ("ui", "demo")
    ]
    assert missing == []
    assert "make ui" in text
    assert "make demo" in text


def test_the_keys_are_the_documented_ones() -> None:
    text = (ROOT / "docs" / "repository-format.md").read_text()
    backup = BackupId.parse("kb-full-20261120-020000")
    dump = BackupId.parse("kb-dump-20261120-020000")
    digest = "0" * 64
    spelled = {
        layout.MARKER: layout.MARKER,
        "full/{stamp}/{attempt}/base.tar.zst.age.00000": layout.chunk_key(backup, "{attempt}", 0),
        "full/{stamp}/{attempt}/configuration.tar.zst.age": layout.configuration_key(
            backup, "{attempt}"
        ),
        "full/{stamp}/{attempt}/backup_manifest.zst": layout.postgres_manifest_key(
            backup, "{attempt}"
        ),
        "full/{stamp}/manifest.json": layout.manifest_key(backup),
        "dump/{stamp}/{attempt}/kb-backup-{stamp}.dump.zst.age.00000": layout.chunk_key(
            dump, "{attempt}", 0
        ),
        "dump/{stamp}/{attempt}/globals.sql.zst.age": layout.globals_key(dump, "{attempt}"),
        "dump/{stamp}/manifest.json": layout.manifest_key(dump),
        "wal/{system identifier}/{timeline}/{file}-{sha256}.zst.age": layout.wal_key(
            7, "000000010000000000000003", digest
        ),
        "wal/{system identifier}/{timeline}/{segment}.partial/{lsn}.zst.age": layout.partial_key(
            7, "000000010000000000000003", Lsn.parse("0/3000028")
        ),
        "proofs/{backup id}/{copy}/{proof id}.json": layout.proof_key(
            backup, "{copy}", "{proof id}"
        ),
        "controls/{control id}.json": layout.control_key("{control id}"),
        "probes/{YYYYMMDD-HHMMSS}-{host}": layout.probe_key("{YYYYMMDD-HHMMSS}", "host").replace(
            "host", "{host}"
        ),
        "failures/{backup id}/{attempt}.json": layout.failure_key(backup, "{attempt}"),
        "alerts/{record id}.json": layout.alert_record_key("{record id}"),
    }
    for documented, made in spelled.items():
        assert f"`{documented}`" in text
        filled = (
            documented.replace("{stamp}", backup.stamp)
            .replace("{backup id}", str(backup))
            .replace("{system identifier}", "7")
            .replace("{timeline}", "00000001")
            .replace("{segment}", "000000010000000000000003")
            .replace("{lsn}", "00000000-03000028")
            .replace("{file}", "000000010000000000000003")
            .replace("{sha256}", digest)
        )
        assert filled == made
