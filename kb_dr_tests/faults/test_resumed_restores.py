"""A region that goes away under a restore is waited for; what was read is not read again."""

import re
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from kb_dr.domain.backup_id import BackupId
from kb_dr.domain.proof import Verdict
from kb_dr_tests.faults.s3_proxy import Fault, Kind
from kb_dr_tests.postgres_servers import RunningCluster
from kb_dr_tests.protected_service import SECONDS, ProtectedService, Said, environment

_IN_TIME = {"KB_DR_S3_TIMEOUT_SECONDS": "1", "KB_DR_RESTORE_PATIENCE_SECONDS": "600"}
_NOT_IN_TIME = _IN_TIME | {"KB_DR_RESTORE_PATIENCE_SECONDS": "2"}
_WAITS = "does not answer; waiting up to"
_GOES_ON = "answers again after"

_CONTENT = (
    "select count(*), md5(string_agg(t::text, ',' order by t::text)) from filler t",
    "select count(*), md5(string_agg(t::text, ',' order by t::text)) from knowledge_entries t",
)


@pytest.fixture
def service(protected_service: ProtectedService) -> Iterator[ProtectedService]:
    """The protected service; its region answers again afterwards."""
    yield protected_service
    protected_service.proxy.heal()


class _Running:
    """A command whose words are read while it runs."""

    def __init__(self, process: "subprocess.Popen[str]", err: Path) -> None:
        self.process = process
        self._err = err

    def wait_until_it_says(self, text: str) -> None:
        deadline = time.monotonic() + SECONDS
        while text not in self._err.read_text():
            assert self.process.poll() is None, self._err.read_text()
            assert time.monotonic() < deadline, self._err.read_text()
            time.sleep(0.02)

    def ended(self) -> Said:
        out, _ = self.process.communicate(timeout=SECONDS)
        return Said(self.process.returncode, out, self._err.read_text())


@contextmanager
def running(
    service: ProtectedService, directory: Path, *words: str, **settings: str
) -> Iterator[_Running]:
    """A command of this service; it never outlives the block."""
    path = directory / "stderr"
    with (
        path.open("w") as err,
        subprocess.Popen(
            service.words(*words),
            env=environment(settings),
            cwd=service.directory,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=err,
            text=True,
        ) as process,
    ):
        try:
            yield _Running(process, path)
        finally:
            process.kill()


def cut_in(service: ProtectedService, phase: str) -> None:
    """The line is cut in this phase of the next restore."""
    # Of WAL, in front of a segment that no plan reads: then the server is replaying. (A plan reads
    # back to the newest commit, and other tests may have left WAL without any behind it.)
    if phase == "WAL":
        for _ in range(3):
            service.cluster.archive_everything()
    # Of the base backup, in the middle of its fourth chunk.
    part, after_bytes = {
        "base backup": (".age.00003", 500_000),
        "WAL": (service.segments[0], 0),
    }[phase]
    cut = lambda: service.proxy.cut(after_bytes=after_bytes)  # noqa: E731
    service.proxy.inject(Fault(Kind.PASS_THEN, "GET", in_path=part, then=cut))


def restore_words(service: ProtectedService, target: Path) -> tuple[str, ...]:
    return ("restore", "--backup", service.backups()[0], "--into", str(target))


def nothing_is_left(directory: Path) -> None:
    assert list(directory.iterdir()) == []
    assert not [
        process
        for process in psutil.process_iter(["cmdline"])
        if any(str(directory) in word for word in process.info["cmdline"] or ())
    ]


@pytest.mark.parametrize("phase", ["base backup", "WAL"])
def test_a_restore_goes_on_where_a_region_went_away(
    service: ProtectedService, tmp_path: Path, phase: str
) -> None:
    target = tmp_path / "restored" / "data"
    words = restore_words(service, target)
    cut_in(service, phase)
    before = len(service.proxy.answered)

    with running(service, tmp_path, *words, **_IN_TIME) as restore:
        restore.wait_until_it_says(_WAITS)
        assert service.proxy.away.is_set()
        service.proxy.heal()
        said = restore.ended().require(0, _GOES_ON)

    assert said.err.count(_WAITS) == said.err.count(_GOES_ON) == 1
    read = Counter(path for _, path in service.proxy.answered[before:] if "base.tar" in path)
    stored = service.opened().find_backup(BackupId.parse(service.backups()[0]))
    assert len(read) == len(stored.manifest.chunks) > 4
    assert set(read.values()) == {1}, "a chunk that had come was fetched again"
    with RunningCluster(service.cluster.programs, target.parent) as restored:
        for question in _CONTENT:
            assert restored.query(question) == service.cluster.query(question)


@pytest.mark.parametrize("phase", ["base backup", "WAL"])
def test_a_region_that_does_not_come_back_is_an_error_and_nothing_is_left(
    service: ProtectedService, tmp_path: Path, phase: str
) -> None:
    (tmp_path / "place").mkdir()
    cut_in(service, phase)
    words = restore_words(service, tmp_path / "place" / "data")

    with running(service, tmp_path, *words, **_NOT_IN_TIME) as restore:
        said = restore.ended().require(11, _WAITS, "did not come back within", "--from")

    assert re.search("^error: ", said.err, re.MULTILINE)
    nothing_is_left(tmp_path / "place")


@pytest.mark.parametrize("phase", ["base backup", "WAL"])
@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM])
def test_a_stop_is_heard_while_a_region_is_waited_for(
    service: ProtectedService, tmp_path: Path, phase: str, stop: signal.Signals
) -> None:
    (tmp_path / "place").mkdir()
    cut_in(service, phase)
    words = restore_words(service, tmp_path / "place" / "data")

    with running(service, tmp_path, *words, **_IN_TIME) as restore:
        restore.wait_until_it_says(_WAITS)
        restore.process.send_signal(stop)
        restore.ended().require(130, "interrupted")

    nothing_is_left(tmp_path / "place")


@pytest.mark.parametrize(
    ("patience", "status", "verdict"),
    [(_IN_TIME, 0, Verdict.PROVEN), (_NOT_IN_TIME, 62, Verdict.NOT_PROVEN)],
    ids=["short", "long"],
)
def test_a_proof_that_meets_an_outage_is_not_wasted_and_never_red(
    service: ProtectedService,
    tmp_path: Path,
    patience: dict[str, str],
    status: int,
    verdict: Verdict,
) -> None:
    backup = service.backups()[0]
    cut_in(service, "WAL")

    with running(service, tmp_path, "verify", backup, "--from", "primary", **patience) as proof:
        proof.wait_until_it_says(_WAITS)
        if status == 0:
            service.proxy.heal()
        proof.ended().require(status)

    service.proxy.heal()
    newest = service.opened().proofs(BackupId.parse(backup))[-1]
    assert (newest.copy, newest.verdict) == ("primary", verdict)
    nothing_is_left(service.directory / "scratch")
