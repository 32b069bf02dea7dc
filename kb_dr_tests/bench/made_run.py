"""A run of the bench that nobody ran: for the tests of its page."""

from collections.abc import Iterable
from datetime import UTC, datetime

from kb_dr_tests.bench.contest import PLAIN_CP, US, Facts, Growth, Idle, Try, Waiting, Work
from kb_dr_tests.bench.kept import FORMAT, Asked, Part, Run
from kb_dr_tests.bench.machine_facts import Machine
from kb_dr_tests.bench.results import (
    UNFORCED,
    Archive,
    Call,
    Cost,
    Findings,
    LeftOut,
    Load,
    Memory,
    Transfer,
)

PEER = "peer"
ASKED = Asked((200, 2000), 3, 500, 300, ("S3", "directory"), 10_000, 60.0, (100,), (10,))
MACHINE = Machine(
    2, "a processor", 8 << 30, "ext4 on a virtual disk", 0.5, 300.0, "Linux 6.1", {"kb_dr": "1.2"}
)


def rounds(
    work: Work,
    contestant: str,
    seconds: Iterable[float],
    *,
    cpu: float = 4.0,
    store: str = "S3",
    plain: int = 200 << 20,
    segments: int | None = None,
) -> tuple[Try, ...]:
    """One contestant at one piece of work, once for each of ``seconds``."""
    return tuple(
        Try(work, contestant, store, plain, number, each, cpu, 100 << 20, plain // 2, 12, segments)
        for number, each in enumerate(seconds)
    )


def findings(*tries: Try) -> Findings:
    """These, and something of everything else."""
    stages = {"upload": Cost(4.0, 1.0), "encrypt": Cost(1.0, 1.0)}
    return Findings(
        tries=tries,
        facts=(
            Facts(US, "1.2", "zstd level 1", "age"),
            Facts(PEER, "2.3", "zstd level 1", "", ("It keeps its files unencrypted.",)),
        ),
        left_out=(LeftOut("absent", "Its binary is not on PATH."),),
        transfers=(
            Transfer("backup", "S3", 200 << 20, 100 << 20, stages, 4.2, Cost(5.0, 3.0),
                     {"base backup": 4.2}, 2, 3),
        ),
        memory=(Memory("backup full", "S3", 200 << 20, 150 << 20),),
        calls=(Call("wal push", "S3", Cost(0.3, 0.2), 0.02, 0.5, 4),),
        archives=(Archive("gzip", 100, Cost(2.0, 2.0), 3),),
        loads=(Load(2, 1 << 20, Cost(4.0, 3.0), Cost(3.0, 4.0), 3),),
        synced=(
            *rounds(Work.RESTORE, US, (6.0, 6.2, 6.4)),
            *rounds(Work.RESTORE, UNFORCED, (3.0, 3.1, 3.2)),
        ),
        idle=(Idle(60.0, {"daemon": 2.0, "code server": 1.0}),),
        waiting=(Waiting("UI until it answers", (3.0, 5.0, 4.0)),),
        growth=(Growth("list", "backups", ((100, 1.0, 50 << 20), (1000, 5.0, 60 << 20))),),
    )  # fmt: skip


def contest(*, backup: float = 9.0, replay: float = 12.0) -> tuple[Try, ...]:
    """A contest in which each of ours takes so many seconds, a peer 10, and cp 8."""
    wal = 500 * (16 << 20)
    return (
        *rounds(Work.BACKUP, US, (backup - 0.5, backup, backup + 0.5)),
        *rounds(Work.BACKUP, PEER, (9.8, 10.0, 10.2)),
        *rounds(Work.REPLAY, US, (replay,), plain=wal, segments=500),
        *rounds(Work.REPLAY, PEER, (20.0,), plain=wal, segments=500),
        *rounds(Work.REPLAY, PLAIN_CP, (8.0,), store="directory", plain=wal, segments=500),
    )


ENDED = datetime(2026, 1, 31, 2, 0, tzinfo=UTC)
CODE = "0123456789ab"
BENCH = "00112233aabb"


def run_of(found: Findings, *, busy_cores: float = 0.0) -> Run:
    """Of one part."""
    part = Part(ENDED, 60.0, busy_cores, (CODE,), (BENCH,), "--quick", found)
    return Run(FORMAT, MACHINE, ASKED, (), ENDED, {"idle": part})
