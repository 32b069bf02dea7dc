"""`kb-dr wal fetch` meets a fault in the middle of a recovery: it aborts, and never opens short.

Each fault strikes when part of the WAL has been replayed: there an exit status of 1 to 125 would
open the cluster without its last rows. What can be waited out is waited out, and what was aborted
can be recovered completely later. What PostgreSQL makes of our exit and of a signal is seen on each
supported version; what we make of a store's trouble knows no version, and is on two of them.
"""

import shutil
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import psutil
import pyrage
import pytest

from kb_dr.domain.restore_command import restore_command
from kb_dr.domain.wal_names import Segment
from kb_dr_tests.archived_cluster import ArchivedCluster, Recovered, WalStore, recover
from kb_dr_tests.contracts.places import S3Place
from kb_dr_tests.faults.s3_proxy import Fault, Kind, S3Proxy
from kb_dr_tests.object_stores import RcloneStore

FOREVER = 10**6

oldest_and_newest = pytest.mark.parametrize("archived", [14, 18], indirect=True)


@dataclass(frozen=True)
class Region:
    """The archive in an S3 region with a proxy in front."""

    archived: ArchivedCluster
    store: WalStore
    """Its settings."""
    proxy: S3Proxy
    settings: dict[str, str]

    @property
    def middle(self) -> str:
        """In the key of the segment that ends with the second row, and in no listing."""
        return self.archived.store.stored(self.archived.segments[1]).name

    @property
    def at_the_end(self) -> str:
        """In what is asked when all has been replayed: the first segment never archived."""
        last = Segment.parse(self.archived.segments[-1], self.archived.segment_bytes)
        return last.next().name

    def recover(self, directory: Path, *, ahead: bool = True, **settings: str) -> Recovered:
        """Recover with this region's `kb-dr wal restore-command`, which leaves a process that
        runs ahead, or with the plain fetch; ``settings`` win over the right ones.
        """
        self.store.configure(**{**self.settings, **settings})
        expected = (
            *("--expect-end", str(self.archived.end), "--expect-timeline", "1"),
            *("--segment-bytes", str(self.archived.segment_bytes)),
        )
        if ahead:
            line = self.store.restore_command(*expected)
        else:
            line = restore_command(self.store.words("wal", "fetch", *expected))
        return recover(self.archived, directory, line)

    def is_asked_for(self, part: str) -> bool:
        return any(part in path for _, path in self.proxy.requests)


@pytest.fixture(scope="module")
def placed(
    archived: ArchivedCluster,
    rclone_store: RcloneStore,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Region]:
    """The archive of each major version, copied into a region."""
    prefix = f"archived-{uuid4().hex}"
    # A bucket of this server is a directory.
    root = rclone_store.buckets / S3Place.bucket / prefix
    shutil.copytree(archived.store.directory / "repository", root)
    settings = tmp_path_factory.mktemp("settings")
    with S3Proxy(rclone_store.port) as proxy:
        yield Region(
            archived,
            WalStore(settings, archived.store.public, archived.store.secret),
            proxy,
            {
                "KB_DR_REPOSITORY_URL": f"s3://{S3Place.bucket}/{prefix}",
                "KB_DR_REPOSITORY_ENDPOINT_URL": proxy.endpoint_url,
                "KB_DR_REPOSITORY_ACCESS_KEY_ID": rclone_store.access_key_id,
                "KB_DR_REPOSITORY_SECRET_ACCESS_KEY": rclone_store.secret_access_key,
                # A store that is down is asked for four times as long, then given up.
                "KB_DR_S3_TIMEOUT_SECONDS": "1",
            },
        )
    shutil.rmtree(root)


@pytest.fixture
def region(placed: Region) -> Iterator[Region]:
    """Whole and answering; it does so again afterwards."""
    placed.proxy.requests.clear()
    yield placed
    placed.proxy.heal()


def test_a_whole_archive_opens_complete_when_its_end_is_certain(
    region: Region, tmp_path: Path
) -> None:
    found = region.recover(tmp_path)

    assert found.rows == (1, 2, 3), found.log
    assert region.is_asked_for(region.at_the_end)


Trouble = Callable[[Region], None]


def _answer(part: Callable[[Region], str], status: int, code: str) -> Trouble:
    def trouble(region: Region) -> None:
        for method in ("GET", "HEAD"):
            region.proxy.inject(
                Fault(Kind.ANSWER, method, FOREVER, part(region), status=status, code=code)
            )

    return trouble


def _middle(region: Region) -> str:
    return region.middle


def _end(region: Region) -> str:
    return region.at_the_end


def _network_down(region: Region) -> None:
    cut = lambda: region.proxy.cut(after_bytes=0)  # noqa: E731
    region.proxy.inject(Fault(Kind.PASS_THEN, "GET", in_path=region.middle, then=cut))


def _network_silent(region: Region) -> None:
    region.proxy.inject(Fault(Kind.HANG, "GET", FOREVER, region.middle))


def _bytes_flipped(region: Region) -> None:
    region.proxy.inject(Fault(Kind.DAMAGE_ANSWER, "GET", FOREVER, region.middle))


def _network_down_at_the_end(region: Region) -> None:
    cut = lambda: region.proxy.cut(after_bytes=0)  # noqa: E731
    region.proxy.inject(Fault(Kind.PASS_THEN, "GET", in_path=region.at_the_end, then=cut))


_throttled = _answer(_middle, 503, "SlowDown")
_credentials_withdrawn = _answer(_middle, 403, "InvalidAccessKeyId")
_credentials_withdrawn_at_the_end = _answer(_end, 403, "ExpiredToken")
_bucket_gone_at_the_end = _answer(_end, 404, "NoSuchBucket")


@oldest_and_newest
@pytest.mark.parametrize(
    "trouble",
    [
        pytest.param(_network_down, id="network down"),
        pytest.param(_network_silent, id="network silent"),
        pytest.param(_throttled, id="throttled for ever"),
        pytest.param(_credentials_withdrawn, id="credentials withdrawn"),
        pytest.param(_bytes_flipped, id="bytes flipped"),
    ],
)
def test_a_fault_in_the_middle_aborts_recovery(region: Region, trouble: Trouble) -> None:
    trouble(region)

    region.recover(region.archived.attempts).require_abort()

    assert region.is_asked_for(region.middle)


@oldest_and_newest
@pytest.mark.parametrize(
    "trouble",
    [
        pytest.param(_network_down_at_the_end, id="network down"),
        pytest.param(_credentials_withdrawn_at_the_end, id="credentials withdrawn"),
        pytest.param(_bucket_gone_at_the_end, id="bucket gone"),
    ],
)
def test_an_end_that_is_not_certain_is_none(region: Region, trouble: Trouble) -> None:
    """All was replayed, and still nobody knows whether it was all."""
    trouble(region)

    region.recover(region.archived.attempts).require_abort()

    assert region.is_asked_for(region.at_the_end)


@oldest_and_newest
def test_wrong_credentials_abort_recovery(region: Region) -> None:
    wrong = "not-the-right-secret"

    found = region.recover(region.archived.attempts, KB_DR_REPOSITORY_SECRET_ACCESS_KEY=wrong)

    found.require_abort()
    assert "403" in found.log
    assert wrong not in found.log


@oldest_and_newest
def test_an_identity_that_opens_nothing_aborts_recovery(region: Region, tmp_path: Path) -> None:
    another = tmp_path / "another.agekey"
    another.write_text(f"{pyrage.x25519.Identity.generate()}\n")

    found = region.recover(region.archived.attempts, KB_DR_AGE_IDENTITY_FILE=str(another))

    found.require_abort()


@pytest.mark.parametrize("victim", ["the program", "the shell around it"])
@pytest.mark.parametrize("with_signal", [signal.SIGKILL, signal.SIGTERM], ids=["KILL", "TERM"])
def test_a_fetch_that_is_killed_aborts_recovery(
    region: Region, victim: str, with_signal: signal.Signals
) -> None:
    killed: list[int] = []

    def kill() -> None:
        # It waits for the answer to its request, which comes when this returns.
        for process in _fetching(region.store.env_file):
            shell = process.parent()
            if victim != "the program" and shell is not None:
                shell.send_signal(with_signal)
            process.send_signal(with_signal)
            killed.append(process.pid)

    region.proxy.inject(Fault(Kind.PASS_THEN, "GET", in_path=region.middle, then=kill))

    # Who runs ahead would ask first, and is not the one to be killed.
    found = region.recover(region.archived.attempts, ahead=False)

    assert len(killed) == 1, found.log
    assert not found.opened, found.log
    if (victim, with_signal) != ("the shell around it", signal.SIGTERM):
        # PostgreSQL takes a shell ended by SIGTERM for its own shutdown, and says nothing.
        found.require_abort()


def _fetching(env_file: Path) -> list[psutil.Process]:
    """The `kb-dr wal fetch` of these settings; the shell has the whole line as one word."""
    return [
        process
        for process in psutil.process_iter(["cmdline"])
        if {"fetch", str(env_file)} <= set(process.info["cmdline"] or ())
    ]


@oldest_and_newest
def test_a_store_that_is_throttled_for_a_while_is_waited_for(
    region: Region, tmp_path: Path
) -> None:
    for method in ("GET", "HEAD"):
        region.proxy.inject(Fault(Kind.ANSWER, method, 2, status=503, code="SlowDown"))
    region.proxy.inject(Fault(Kind.ANSWER, "GET", 3, region.middle, status=503, code="SlowDown"))
    region.proxy.inject(
        Fault(Kind.ANSWER, "GET", 2, region.at_the_end, status=503, code="SlowDown")
    )

    # Time enough for those few tries also on a starved machine.
    found = region.recover(tmp_path, KB_DR_S3_TIMEOUT_SECONDS="60")

    assert found.rows == (1, 2, 3), found.log


def test_what_was_aborted_recovers_completely_once_the_fault_is_mended(region: Region) -> None:
    _credentials_withdrawn(region)
    region.recover(region.archived.attempts).require_abort()
    region.proxy.heal()

    found = region.recover(region.archived.attempts)

    assert found.rows == (1, 2, 3), found.log
