"""A verifier that sees damage is told from one that does not, on a real backup, really damaged."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyrage
import pytest

from kb_dr import wiring
from kb_dr.adapters.age_codec import AgeCodec
from kb_dr.adapters.clock import SystemClock
from kb_dr.adapters.directory_repository import DirectoryRepository
from kb_dr.adapters.log_progress import SilentProgress
from kb_dr.adapters.overlay_repository import OverlayRepository
from kb_dr.adapters.pg_basebackup import PgBaseBackup
from kb_dr.adapters.postgres_programs import PostgresPrograms
from kb_dr.adapters.postgres_source import PostgresSource
from kb_dr.adapters.restored_checks import RestoredChecks
from kb_dr.adapters.restored_damage import RestoredDamage
from kb_dr.cli.app import run
from kb_dr.defs.postgres.judgement import judge_now
from kb_dr.domain import layout
from kb_dr.domain.control import CATALOGUE, ControlResult, Damage
from kb_dr.domain.manifest import Source, StoredManifest
from kb_dr.domain.proof import Check, Outcome, Verdict
from kb_dr.errors import PostgresError
from kb_dr.installation import Installation
from kb_dr.operations import check_restored, replayable_wal
from kb_dr.operations.base_backup import BackupTools, take_base_backup
from kb_dr.operations.controls import load_control_runs
from kb_dr.operations.initialise import init_repository
from kb_dr.operations.proofs import load_proofs, store_proof
from kb_dr.operations.run_controls import ControlTools, run_controls
from kb_dr.settings import load_settings
from kb_dr_tests.made_controls import COULD_NOT_RUN, GOOD
from kb_dr_tests.made_installation import made_proof
from kb_dr_tests.postgres_servers import RunningCluster, fill, programs_of, source_settings
from kb_dr_tests.protected_cluster import LostCluster, lose_a_protected_cluster
from kb_dr_tests.push_wal import archive_command

IN_THE_CLUSTER = (Damage.ROWS_DROPPED, Damage.INDEX_STALE)


def controlled(
    lost: LostCluster, directory: Path, damages: Sequence[Damage] = tuple(Damage)
) -> dict[Damage, ControlResult]:
    """Run these controls on a lost cluster's repository; what each came to."""
    before = _objects(lost.root)

    run = run_controls(lost.repository, _tools(lost, directory), SilentProgress(), damages=damages)

    assert _objects(lost.root) == before | {layout.control_key(run.id)}
    assert load_control_runs(lost.repository) == (run,)
    assert list((directory / "scratch").glob("*")) == [], "scratch outlived its control"
    assert [each.damage for each in run.results] == list(damages)
    return {each.damage: each for each in run.results}


def _tools(lost: LostCluster, directory: Path) -> ControlTools:
    return ControlTools(
        codec=lost.codec,
        stranger=wiring.stranger(),
        host=lost.host,
        scratch=lost.scratch(directory),
        inspector=RestoredChecks(),
        damager=RestoredDamage(),
        overlay=OverlayRepository,
        clock=SystemClock(),
    )


def _objects(root: Path) -> set[str]:
    return {str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()}


def test_every_damage_is_seen_and_named(lost_cluster: LostCluster, tmp_path: Path) -> None:
    lost = lost_cluster.copied(tmp_path)

    seen = controlled(lost, tmp_path)

    # This cluster was never promoted: see below for one that was.
    history = seen.pop(Damage.HISTORY_MISSING)
    assert (history.outcome, history.verdict) == (COULD_NOT_RUN, None)
    for damage, result in seen.items():
        assert (result.outcome, result.named) == (GOOD, True), result
        assert result.verdict is CATALOGUE[damage].fits
    said = {damage: result.reason for damage, result in seen.items()}
    hole = lost.segments[1]
    assert f"{hole} is missing" in said[Damage.WAL_MISSING]
    assert hole in said[Damage.WAL_EMPTY]
    assert "has zero bytes" in said[Damage.WAL_EMPTY]
    assert "sha256" in said[Damage.CHUNK_FLIPPED]
    assert "decrypt" in said[Damage.CHUNK_FORGED], "no digest can have shown it"
    assert said[Damage.ROWS_DROPPED].startswith("rows_as_recorded: public.organizations: 0 rows")
    assert said[Damage.INDEX_STALE].startswith("btrees: ")
    assert said[Damage.VECTOR_INDEX_STALE].startswith("vector_recall: knowledge_entries_place")


@pytest.mark.parametrize("major", [14, 18])
def test_damage_is_done_and_seen_in_clusters_of_every_major_version(
    major: int, tmp_path: Path
) -> None:
    lost = lose_a_protected_cluster(programs_of(major), tmp_path)

    seen = controlled(lost, tmp_path, IN_THE_CLUSTER)

    for result in seen.values():
        assert result.outcome is GOOD, result


@pytest.mark.parametrize("timeline", [1, 2])
def test_a_missing_history_is_seen_of_a_cluster_that_was_promoted(
    timeline: int, postgres_programs: PostgresPrograms, tmp_path: Path
) -> None:
    lost = lose_a_promoted_cluster(postgres_programs, tmp_path, timeline)

    seen = controlled(lost, tmp_path, (Damage.HISTORY_MISSING,))

    result = seen[Damage.HISTORY_MISSING]
    assert (result.outcome, result.verdict) == (GOOD, Verdict.FAILED), result
    assert "00000002.history is missing" in result.reason


def lose_a_promoted_cluster(
    programs: PostgresPrograms, directory: Path, timeline: int
) -> LostCluster:
    """Back up a cluster before or after its promotion, and lose it."""
    identity = pyrage.x25519.Identity.generate()
    recipient = str(identity.to_public())
    codec = AgeCodec([recipient], [str(identity)])
    repository = DirectoryRepository(directory / "repository", "primary")
    repository.create()
    init_repository(repository, SystemClock(), service="kb", org="default")
    with RunningCluster(programs, directory / "source") as cluster:
        cluster.archive_with(archive_command(directory / "repository", recipient))
        fill(cluster, 20)
        settings = source_settings(cluster)

        def back_up() -> StoredManifest:
            return take_base_backup(
                repository,
                codec,
                PostgresSource(settings),
                PgBaseBackup(programs, settings),
                SystemClock(),
                SilentProgress(),
                BackupTools("kb", "default", "test-host"),
            )

        before = back_up() if timeline == 1 else None
        cluster.stop()
        promote = cluster.data / "recovery.signal"
        promote.touch()
        programs.unprivileged.give(promote)
        cluster.settings["restore_command"] = "exit 1"
        cluster.configure()
        cluster.start()
        cluster.wait_for("select not pg_is_in_recovery()")
        stored = before or back_up()
        cluster.archive_everything()
        cluster.lose()
    assert stored.manifest.wal.timeline == timeline
    return LostCluster(programs, repository, codec, recipient, str(identity), stored, ())


def test_a_server_that_is_not_ours_is_never_damaged(
    postgres_programs: PostgresPrograms, tmp_path: Path
) -> None:
    with RunningCluster(postgres_programs, tmp_path) as cluster:
        fill(cluster, 20)
        source = PostgresSource(source_settings(cluster)).describe()
        harm = RestoredDamage()
        attempts: list[Callable[[Any, Source], object]] = [
            lambda server, of: harm.drop_rows(server, of, ["public.organizations"]),
            harm.make_index_stale,
            harm.make_vector_index_stale,
        ]

        for attempt in attempts:
            with pytest.raises(PostgresError, match="no scratch server"):
                attempt(cluster, source)

        assert cluster.value("select count(*) from organizations") == 20


# --- a blind verifier -------------------------------------------------------------------------


def _sees_rows(*_: object) -> Check:
    return Check("rows_as_recorded", Outcome.PASSED, "they will be there")


def _finds_nothing_missing(*_: object) -> None:
    return None


@pytest.mark.parametrize(
    ("damage", "module", "name", "blinded"),
    [
        (Damage.ROWS_DROPPED, check_restored, "_rows", _sees_rows),
        (Damage.WAL_MISSING, replayable_wal, "_require_enough", _finds_nothing_missing),
    ],
    ids=["rows", "wal"],
)
def test_a_blind_verifier_voids_all_proofs_until_it_sees_again(
    damage: Damage,
    module: Any,
    name: str,
    blinded: Callable[..., object],
    lost_cluster: LostCluster,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    lost = lost_cluster.copied(tmp_path)
    installation = installed(lost, tmp_path, monkeypatch)
    backup = lost.stored.manifest.id
    older = made_proof(lost.stored, Verdict.PROVEN, copy="primary", minutes=0)
    store_proof(lost.repository, replace(older, url=str(lost.root)))
    assert judge_now(installation, backup).passed is True

    # Blind: the damage comes out PROVEN, and every green goes out.
    with monkeypatch.context() as patched:
        patched.setattr(module, name, blinded)
        assert run(["controls", "--only", str(damage)]) == 64
    said = capsys.readouterr()
    assert f"{damage} came out PROVEN" in said.err
    assert run(["status"]) == 63
    status = capsys.readouterr().out
    assert "all proofs are void" in status
    assert f"PROVEN: {damage}" in status
    assert "none (1 void)" in status
    judged = judge_now(installation, backup)
    assert judged.passed is False
    assert judged.reason.startswith("void: ")
    assert str(damage) in judged.reason

    # Mended, and seen by a control: what was proven before stays void.
    assert run(["controls", "--only", str(damage)]) == 0
    assert judge_now(installation, backup).passed is False
    capsys.readouterr()
    assert run(["list"]) == 0
    assert "primary void" in capsys.readouterr().out

    # A new proof counts.
    assert run(["verify", "latest"]) == 0
    assert judge_now(installation, backup).passed is True
    capsys.readouterr()
    assert run(["list"]) == 0
    assert "primary proven" in capsys.readouterr().out
    assert len(load_proofs(lost.repository, lost.stored.manifest.backup_id)) == 2, (
        "no proof of a damaged copy was kept"
    )


def installed(lost: LostCluster, directory: Path, monkeypatch: pytest.MonkeyPatch) -> Installation:
    """An installation over this repository, whose source is gone, for `kb-dr` in this process."""
    identities = directory / "identities"
    identities.write_text(lost.identity + "\n")
    settings = {
        "KB_DR_REPOSITORY_URL": str(lost.root),
        "KB_DR_AGE_RECIPIENTS": lost.recipient,
        "KB_DR_AGE_IDENTITY_FILE": str(identities),
        "KB_DR_POSTGRES_BIN_DIRS": str(lost.programs.bin_dir),
        "KB_DR_SCRATCH_DIR": str(directory / "scratch"),
        "KB_DR_STATE_DIR": str(directory / "state"),
        "KB_DB_HOST": str(directory),
    }
    for key, value in settings.items():
        monkeypatch.setenv(key, value)
    monkeypatch.chdir(directory)
    return Installation(load_settings())
