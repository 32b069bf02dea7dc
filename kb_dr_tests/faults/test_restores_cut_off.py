"""A restore that is refused, cancelled or killed, at each of its phases: never half a cluster."""

import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from kb_dr.adapters.log_progress import SilentProgress
from kb_dr.adapters.scratch_space import LocalScratchSpace
from kb_dr.domain.recovery import WorkArea
from kb_dr.operations.plan_target import Wanted, plan_target
from kb_dr.operations.restore_postgres import plan_restore, restore_postgres
from kb_dr_tests.fakes import FakeClock
from kb_dr_tests.made_programs import MadePrograms
from kb_dr_tests.postgres_servers import RunningCluster, programs_of
from kb_dr_tests.protected_cluster import AFTER_THE_BACKUP, LostCluster
from kb_dr_tests.protected_service import SECONDS, CopiedService, ProtectedService, Service, ended

_PATH = "/usr/bin:/bin"


@pytest.fixture
def copied(protected_service: ProtectedService, tmp_path: Path) -> CopiedService:
    """A service whose repositories are directories of its own."""
    return protected_service.copied(tmp_path / "copied")


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """Where restores go, and nothing else."""
    made = tmp_path / "place"
    made.mkdir()
    return made


def restore_words(copied: CopiedService, target: Path) -> list[str]:
    return ["restore", "--backup", str(copied.backup()), "--into", str(target)]


def mentioned(path: Path) -> list[str]:
    """The processes that have something to do with this place."""
    return [
        " ".join(process.info["cmdline"])
        for process in psutil.process_iter(["cmdline"])
        if any(str(path) in word for word in process.info["cmdline"] or ())
    ]


# what this host lacks


def test_an_extension_that_is_not_here_is_named_before_anything_is_written(
    copied: CopiedService, place: Path, tmp_path: Path
) -> None:
    programs = programs_of(copied.stored.manifest.source.major)
    made = MadePrograms(programs, tmp_path / "lacking", without_extensions=["vector"])
    lacking = {"KB_DR_POSTGRES_BIN_DIRS": str(made.bin_dir), "PATH": _PATH}

    said = copied.run(*restore_words(copied, place / "data"), **lacking)

    said.require(27, "extensions missing", "vector 0.")
    assert "plpgsql" not in said.err, "only what is missing is named"
    assert list(place.iterdir()) == []
    copied.run("verify", str(copied.backup()), **lacking).require(62, "vector")


def test_programs_of_another_major_are_none(copied: CopiedService, place: Path) -> None:
    wanted = copied.stored.manifest.source.major
    other = {"KB_DR_POSTGRES_BIN_DIRS": str(programs_of(wanted - 1).bin_dir), "PATH": _PATH}

    said = copied.run(*restore_words(copied, place / "data"), **other)

    said.require(27, f"find PostgreSQL {wanted}", "KB_DR_POSTGRES_BIN_DIRS")
    assert list(place.iterdir()) == []


# cancelled and killed

Hook = Callable[[MadePrograms], None]

_PHASES = [
    pytest.param(lambda made: made.stand_still("pg_verifybackup"), id="verify files"),
    pytest.param(lambda made: made.stand_still("pg_controldata"), id="before replay"),
    pytest.param(lambda made: made.stand_still("pg_controldata", at_call=2), id="after replay"),
]
"""Fetch and replay itself are in test_commands_under_fault, the last rename below."""


def start_until(
    made: MadePrograms, hook: Hook, copied: Service, *words: str
) -> "subprocess.Popen[str]":
    """Start a command and return when it has come to the hook."""
    hook(made)
    process = copied.start(*words, KB_DR_POSTGRES_BIN_DIRS=str(made.bin_dir))
    deadline = time.monotonic() + SECONDS
    while not made.reached.exists():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return process


@pytest.fixture
def made(copied: CopiedService, tmp_path: Path) -> MadePrograms:
    return MadePrograms(programs_of(copied.stored.manifest.source.major), tmp_path / "made")


@pytest.mark.parametrize("hook", _PHASES)
def test_a_cancelled_restore_leaves_nothing_behind(
    copied: CopiedService, place: Path, made: MadePrograms, hook: Hook
) -> None:
    process = start_until(made, hook, copied, *restore_words(copied, place / "data"))

    process.send_signal(signal.SIGINT)
    ended(process).require(130, "interrupted")

    assert list(place.iterdir()) == []
    assert mentioned(place) == mentioned(made.directory) == []


@pytest.mark.parametrize("hook", _PHASES)
def test_a_killed_restore_leaves_no_target_and_the_next_one_cleans_up(
    copied: CopiedService, place: Path, made: MadePrograms, hook: Hook
) -> None:
    words = restore_words(copied, place / "data")
    process = start_until(made, hook, copied, *words)

    process.kill()
    assert ended(process).status == -signal.SIGKILL
    left = [path.name for path in place.iterdir()]
    copied.run(*words).require(0)

    assert len(left) == 1
    assert left[0].startswith(".data.kb-dr-partial-")
    assert [path.name for path in place.iterdir()] == ["data"]
    assert mentioned(place) == mentioned(made.directory) == []


@pytest.mark.parametrize("hook", _PHASES)
def test_scratch_of_a_killed_proof_is_removed_by_the_next_one(
    copied: CopiedService, made: MadePrograms, hook: Hook
) -> None:
    scratch, backup = copied.directory / "scratch", str(copied.backup())
    process = start_until(made, hook, copied, "verify", backup)

    process.kill()
    assert ended(process).status == -signal.SIGKILL
    left = list(scratch.iterdir())
    before = len(copied.opened().proofs(copied.backup()))
    copied.run("verify", backup).require(0)

    assert len(left) == 1
    assert list(scratch.iterdir()) == []
    assert mentioned(scratch) == []
    assert len(copied.opened().proofs(copied.backup())) == before + 1, "a killed one leaves none"


class _InterruptedAtTheRename(LocalScratchSpace):
    """Ctrl-C comes right before, or right after, the target gets its name."""

    after = False

    def put_in_place(self, area: WorkArea, target: Path, *, known_as: Path | None = None) -> None:
        if self.after:
            super().put_in_place(area, target, known_as=known_as)
        signal.raise_signal(signal.SIGINT)
        super().put_in_place(area, target, known_as=known_as)


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_a_restore_cancelled_at_the_rename_is_there_whole_or_not_at_all(
    lost_cluster: LostCluster, place: Path, tmp_path: Path, after: bool
) -> None:
    lost, target, clock = lost_cluster, place / "data", FakeClock()
    scratch = _InterruptedAtTheRename(tmp_path / "scratch")
    scratch.after = after
    planned = plan_target(lost.repository, lost.codec, clock, Wanted())
    plan = plan_restore(planned, lost.host, target)

    with pytest.raises(KeyboardInterrupt):
        restore_postgres(
            plan, lost.repository, lost.codec, lost.host, scratch, clock, SilentProgress()
        )

    assert [path.name for path in place.iterdir()] == (["data"] if after else [])
    if after:
        with RunningCluster(lost.programs, place) as cluster:
            rows = {row[0] for row in cluster.query("select entry from ledger")}
            assert rows > set(AFTER_THE_BACKUP)
