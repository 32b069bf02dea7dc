"""WAL: one push, one fetch, a burst of ready segments, and a recovery over them."""

import json
import os
import re
import shutil
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import psycopg

from kb_dr.domain.scratch_configuration import scratch_settings
from kb_dr.domain.wal_names import is_segment
from kb_dr.installation import open_installation
from kb_dr.settings import load_settings
from kb_dr_tests.bench.results import Burst, Call, Cost, median_cost
from kb_dr_tests.bench.site import Site
from kb_dr_tests.bench.transfers import stage
from kb_dr_tests.bench.usage import clean_environment, measured, run
from kb_dr_tests.postgres_servers import RunningCluster

CALLS = 5
IN_PROCESS = 40
"""Segments that are pushed within one process, for the peer of the burst."""

_LOOK_SECONDS = 0.02
_DEADLINE_SECONDS = 1800.0
_IMPORTED = re.compile(r"^import time:\s+(\d+) \|", re.MULTILINE)


def measure_wal(
    site: Site, stores: Sequence[str], segments: int, say: Callable[[str], None]
) -> tuple[list[Call], list[Burst]]:
    """All WAL measurements; nothing of them is left on disk."""
    calls: list[Call] = []
    bursts: list[Burst] = []
    site.cluster.query("create table if not exists burst (id int, body text)")
    for store in stores:
        say(f"{store}: {segments} ready segments, archived; then recovered")
        calls_here, bursts_here = _one_store(site, store, segments)
        calls += calls_here
        bursts += bursts_here
    return calls, bursts


def _one_store(site: Site, store: str, segments: int) -> tuple[list[Call], list[Burst]]:
    env_file = site.env_file(store, "burst")
    site.archive_into(env_file)
    servers = site.servers(store, postgres=False)
    place = site.directory / "burst"
    place.mkdir()
    try:
        run(site.kb_dr(env_file, "backup", "full", "--json"), env=clean_environment(), cwd=place)
        base = place / "peer" / "data"
        base.parent.mkdir()
        site.cluster.programs.run(
            "pg_basebackup",
            *("-D", base, "-X", "none", "-c", "fast", "--no-sync", "-d", site.cluster.conninfo()),
        )
        # Nothing is archived while it is empty, and nothing fails.
        site.cluster.archive_with("")
        plain = _make_segments(site, segments, place / "plain")
        calls = _calls(site, store, env_file, plain[:CALLS], servers)
        pushes = _burst(site, store, env_file, plain, servers)
        replays = _replay(site, store, env_file, base, place / "plain", segments)
        return calls, [pushes, replays]
    finally:
        site.cluster.archive_with("/bin/true")
        shutil.rmtree(place)
        site.forget(store, "burst")


def _make_segments(site: Site, count: int, place: Path) -> list[Path]:
    """Full segments of ordinary rows, ready and not archived; copies of them, in order."""
    place.mkdir()
    with psycopg.connect(site.cluster.conninfo(), autocommit=True) as connection:
        while len(_ready(site)) < count:
            connection.execute("truncate burst")
            connection.execute(
                "insert into burst select i, repeat(md5(random()::text), 4)"
                " from generate_series(1, 80000) i"
            )
            connection.execute("select pg_switch_wal()")
    names = _ready(site)
    for name in names:
        shutil.copyfile(site.cluster.data / "pg_wal" / name, place / name)
    os.sync()
    return [place / name for name in names]


def _ready(site: Site) -> list[str]:
    marks = (site.cluster.data / "pg_wal" / "archive_status").glob("*.ready")
    return sorted(mark.stem for mark in marks if is_segment(mark.stem))


def _calls(
    site: Site, store: str, env_file: Path, segments: Sequence[Path], servers: Sequence[int]
) -> list[Call]:
    """Into a repository of their own, and back from there."""
    own = site.env_file(store, "calls")
    identifier = ["--system-identifier", str(site.cluster.system_identifier)]
    fetched = env_file.with_name("fetched")
    interpreter = median_cost([run([sys.executable, "-c", "pass"]).cost for _ in range(CALLS)])
    found = []
    for verb, words_of in (
        ("push", lambda segment: ["push", str(segment), *identifier]),
        ("fetch", lambda segment: ["fetch", segment.name, str(fetched), *identifier]),
    ):
        costs: list[Cost] = []
        shares: list[float] = []
        for segment in segments:
            words = site.kb_dr(own, "wal", *words_of(segment))
            if segment is segments[-1]:
                shares.append(_import_share(words, own.parent))
            else:
                costs.append(
                    run(words, env=clean_environment(), cwd=own.parent, servers=servers).cost
                )
        found.append(Call(f"wal {verb}", store, median_cost(costs), interpreter.seconds, shares[0]))
    site.forget(store, "calls")
    return found


def _import_share(words: Sequence[str], cwd: Path) -> float:
    """Of one call that is asked to say what each import took, by itself."""
    began = time.perf_counter()
    traced = clean_environment() | {"PYTHONPROFILEIMPORTTIME": "1"}
    errors = cwd / "imports"
    run(["sh", "-c", f'exec "$@" 2> {errors}', "sh", *words], env=traced, cwd=cwd)
    seconds = time.perf_counter() - began
    return sum(int(each) for each in _IMPORTED.findall(errors.read_text())) / 1e6 / seconds


def _burst(
    site: Site, store: str, env_file: Path, plain: Sequence[Path], servers: Sequence[int]
) -> Burst:
    own = site.env_file(store, "in-process")
    some = [str(path) for path in plain[:IN_PROCESS]]
    identifier = str(site.cluster.system_identifier)
    peer = stage("push", str(own), identifier, *some, servers=servers)
    site.forget(store, "in-process")
    last = plain[-1].name
    with measured(site.servers(store, postgres=True)) as result:
        site.archive_into(env_file)
        deadline = time.monotonic() + _DEADLINE_SECONDS
        while _ready(site):
            assert time.monotonic() < deadline, "the burst was not archived"
            time.sleep(_LOOK_SECONDS)
    site.cluster.wait_for(
        "select coalesce(last_archived_wal >= %s, false) from pg_stat_archiver", [last]
    )
    return Burst(
        "archive", store, len(plain), result.cost.seconds,
        "the same pushes in one process", peer.seconds / len(some) * len(plain),
        result.cost.cpu_seconds,
    )  # fmt: skip


def _replay(
    site: Site, store: str, env_file: Path, base: Path, plain: Path, segments: int
) -> Burst:
    """`kb-dr restore` serves its server the WAL; the peer's restore_command is cp."""
    target = env_file.with_name("restored")
    ran = run(
        site.kb_dr(env_file, "restore", "--latest", "--into", str(target), "--json"),
        env=clean_environment(),
        cwd=env_file.parent,
        servers=site.servers(store, postgres=False),
    )
    shutil.rmtree(target)
    phases = {each["name"]: each["seconds"] for each in json.loads(ran.output)["phases"]}
    source = open_installation(load_settings(env_file=env_file)).catalog("primary")[-1]
    settings = scratch_settings(source.manifest.source, durable=True)  # type: ignore[union-attr]  # read a moment ago
    peer_seconds = _replay_with_cp(site, base, plain, settings)
    return Burst(
        "recover", store, segments, phases["replay"], "restore_command = cp", peer_seconds,
        ran.cost.cpu_seconds,
    )  # fmt: skip


def _replay_with_cp(site: Site, base: Path, plain: Path, settings: dict[str, str]) -> float:
    # The base backup's own segments were archived before the burst.
    for path in (site.cluster.data / "pg_wal").iterdir():
        if is_segment(path.name) and not (plain / path.name).exists():
            shutil.copyfile(path, plain / path.name)
    recovery = {"restore_command": f'cp "{plain}/%f" "%p"', "recovery_target_timeline": "1"}
    (base / "recovery.signal").touch()
    cluster = RunningCluster(
        site.cluster.programs, base.parent, settings={**settings, "fsync": "on", **recovery}
    )
    began = time.perf_counter()
    with cluster:
        deadline = time.monotonic() + _DEADLINE_SECONDS
        while cluster.value("select pg_is_in_recovery()"):
            assert time.monotonic() < deadline, "the peer did not recover"
            time.sleep(_LOOK_SECONDS)
        return time.perf_counter() - began
