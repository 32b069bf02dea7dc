"""Drills on a protected service: passed from each copy in turn, and never passed by accident."""

import json
import signal
from datetime import UTC, datetime
from pathlib import Path

import pyrage
import pytest

from kb_dr.adapters.postgres_programs import PostgresPrograms
from kb_dr.domain.control import Damage
from kb_dr.domain.proof import Standing, Verdict
from kb_dr.operations.controls import store_control_run
from kb_dr_tests.made_controls import BLIND, made_run
from kb_dr_tests.protected_service import CopiedService, ProtectedService
from kb_dr_tests.streamed_service import Load, StreamedService, streamed_cluster, wait_until

PROMISED_SECONDS = 10.0
"""Of commits, at most, when production dies while it is streamed."""


@pytest.fixture
def copied(protected_service: ProtectedService, tmp_path: Path) -> CopiedService:
    return protected_service.copied(tmp_path)


def test_a_drill_restores_a_drawn_time_and_leaves_its_evidence(copied: CopiedService) -> None:
    said = copied.run("drill", "--seed", "4711", "--json").require(0)

    told = json.loads(said.out)
    assert told["passed"] is True
    drill = told["drill"]
    assert (drill["seed"], drill["copy"]) == (4711, "offsite")
    assert drill["asked"].startswith("time ")
    assert drill["reach"]["reached_lsn"] == drill["reach"]["expected_lsn"]
    assert drill["reach"]["exact"] is True
    names = [phase["name"] for phase in drill["phases"]]
    assert {"rebuild catalog", "plan", "fetch and unpack", "verify files", "replay"} <= set(names)
    assert drill["backups_found"] == 1
    assert 0 < told["rto_seconds"] < drill["rto_objective_seconds"]
    for copy in ("primary", "offsite"):
        kept = copied.directory / copy / "drills" / f"{drill['id']}.json"
        assert json.loads(kept.read_text())["proof_id"] == drill["proof_id"]
        assert "PASSED" in kept.with_suffix(".md").read_text()
    assert list(copied.directory.glob("scratch/*")) == [], "it is torn down"


def test_drills_take_the_copies_in_turn(copied: CopiedService) -> None:
    first = json.loads(copied.run("drill", "--json").require(0).out)["drill"]
    second = json.loads(copied.run("drill", "--json", "--latest").require(0).out)["drill"]

    assert (first["copy"], second["copy"]) == ("offsite", "primary")
    assert second["asked"] == "latest"
    assert second["verdict"] == "PROVEN"
    assert copied.standing("primary") is Standing.PROVEN, "it went to the end of that archive"


def test_a_drill_to_a_time_greens_nothing(copied: CopiedService) -> None:
    for proof in (copied.directory / "offsite" / "proofs").rglob("*.json"):
        proof.unlink()
    for proof in (copied.directory / "primary" / "proofs").rglob("*.json"):
        proof.unlink()

    copied.run("drill", "--from", "offsite").require(0)

    assert copied.standing("offsite") is Standing.UNPROVEN, "the WAL behind it was not replayed"


def test_a_drill_by_a_blind_verifier_is_not_passed(copied: CopiedService) -> None:
    here = copied.opened()
    blind = made_run(here.clock.now(), {Damage.ROWS_DROPPED: BLIND})
    store_control_run((here.checked("primary"),), blind)

    copied.run("drill", "--from", "offsite").require(63, "all proofs are void", "rows_dropped")


def test_a_drill_of_a_damaged_copy_is_not_passed(copied: CopiedService) -> None:
    body = bytearray(copied.chunk.read_bytes())
    body[len(body) // 2] ^= 1
    copied.chunk.chmod(0o600)
    copied.chunk.write_bytes(body)

    said = copied.run("drill", "--from", "offsite").require(61, "FAILED", "sha256")

    assert "NOT PASSED" in said.out
    assert copied.standing("offsite") is Standing.FAILED


def test_a_drill_without_the_key_is_not_passed(copied: CopiedService) -> None:
    other = copied.directory / "other.agekey"
    other.write_text(f"{pyrage.x25519.Identity.generate()}\n")

    said = copied.run("drill", KB_DR_AGE_IDENTITY_FILE=str(other)).require(62, "NOT_PROVEN")

    assert "age identity" in said.out
    [drill] = copied.opened().drills()
    assert drill.verdict is Verdict.NOT_PROVEN


def test_an_rto_that_does_not_hold_is_a_shortfall(copied: CopiedService) -> None:
    copied.run("drill", KB_DR_RTO_SECONDS="1").require(63, "RTO")


def test_a_host_that_dies_under_load_with_its_stream_loses_seconds_of_commits(
    postgres_programs: PostgresPrograms, tmp_path: Path
) -> None:
    with streamed_cluster(postgres_programs, tmp_path / "source") as cluster:
        service = StreamedService(tmp_path / "service", cluster)
        with Load(cluster) as load, service.streaming("--every", "2") as stream:
            wait_until(lambda: service.upto("primary") > 0, lambda: stream.said)
            service.run("backup", "full", "--copy").require(0)
            service.run("verify", "latest").require(0)
            load.wait_for(300)
            before = service.upto("offsite")
            wait_until(lambda: service.upto("offsite") > before, lambda: stream.said)
            load.wait_for(50)
            stream.end(signal.SIGKILL)
            cluster.lose()
            lost_at = datetime.now(UTC)
        acknowledged = len(load.acknowledged)

        said = service.run("drill", "--from", "offsite", "--latest", "--json").require(0)

    drill = json.loads(said.out)["drill"]
    newest = datetime.fromisoformat(drill["reach"]["newest_commit"])
    lost = (lost_at - newest).total_seconds()
    print(f"{acknowledged} acknowledged; lost {lost:.1f} s; the drill says {drill['rpo_seconds']}")
    assert drill["verdict"] == "PROVEN"
    assert drill["reach"]["reached_lsn"] == drill["reach"]["expected_lsn"]
    assert lost <= PROMISED_SECONDS, "with streaming, RPO is seconds: so it was promised"
    assert drill["rpo_seconds"] >= lost - 1, "the drill counts from its own begin"
