"""`kb-dr status --nagios` as a monitor starts it: on a service that is well, and on broken ones."""

import shutil
import socket
from pathlib import Path

import pytest

from kb_dr_tests.protected_service import CopiedService, ProtectedService, Said

CHECK = ("status", "--nagios", "--timeout", "200")


@pytest.fixture
def copied(protected_service: ProtectedService, tmp_path: Path) -> CopiedService:
    return protected_service.copied(tmp_path)


def said_of(said: Said, status: int, *texts: str) -> list[str]:
    """It ended so, and its first line begins so; the lines."""
    lines = said.out.split("\n")
    assert (said.status, "Traceback" in said.err) == (status, False), said
    assert lines[0].startswith(texts[0]), said
    for text in texts[1:]:
        assert text in said.out
    return lines


def test_a_service_that_is_well_is_ok(copied: CopiedService) -> None:
    lines = said_of(copied.run(*CHECK), 0, "KB_DR OK - recoverable, all ")

    assert lines[0].count("|") == 1
    numbers = dict(each.split("=") for each in lines[0].split(" | ")[1].split())
    assert {"rpo", "rto", "backup_age_primary", "proof_age_offsite"} <= set(numbers)
    assert numbers["rpo"].endswith("s;;3600;0")


def test_a_repository_that_cannot_be_read_is_critical(copied: CopiedService) -> None:
    shutil.rmtree(copied.directory / "primary")

    said_of(copied.run(*CHECK), 2, "KB_DR CRITICAL - ", "primary can be read: ")


def test_what_nobody_can_tell_is_unknown(copied: CopiedService) -> None:
    shutil.rmtree(copied.root / "proofs")
    shutil.rmtree(copied.directory / "primary" / "proofs")

    said_of(copied.run(*CHECK), 3, "KB_DR UNKNOWN - ", "no backup is proven")


def test_an_objective_that_is_broken_is_critical(copied: CopiedService) -> None:
    said = copied.run(*CHECK, KB_DR_BACKUP_AGE_HOURS="0.01", KB_DR_RPO_SECONDS="1")

    said_of(said, 2, "KB_DR CRITICAL - ", "RPO of primary: ")


def test_settings_that_cannot_be_used_are_unknown(copied: CopiedService) -> None:
    said_of(copied.run(*CHECK, KB_DB_PORT="many"), 3, "KB_DR UNKNOWN - read settings: ")


def test_a_store_that_never_answers_is_cut_off(copied: CopiedService) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        settings = {
            "KB_DR_REPOSITORY_URL": "s3://kb-backups/org",
            "KB_DR_REPOSITORY_ENDPOINT_URL": f"http://127.0.0.1:{silent.getsockname()[1]}",
        }
        said = copied.run("status", "--nagios", "--timeout", "2", **settings)

    said_of(said, 3, "KB_DR UNKNOWN - no answer within 2 s")
