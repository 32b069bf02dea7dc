"""WAL: what one push and one fetch take of themselves."""

import os
import re
import shlex
import shutil
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import psycopg

from kb_dr.domain.wal_names import is_segment
from kb_dr_tests.bench.results import Call, Cost, median_cost
from kb_dr_tests.bench.site import Site
from kb_dr_tests.bench.usage import clean_environment, run

CALLS = 5

_IMPORTED = re.compile(r"^import time:\s+(\d+) \|", re.MULTILINE)


def measure_calls(site: Site, stores: Sequence[str], say: Callable[[str], None]) -> list[Call]:
    """One segment at a time, into each kind of store and back; nothing is left on disk."""
    site.cluster.query("create table burst (id int, body text)")
    place = site.directory / "calls"
    place.mkdir()
    # Nothing is archived while it is empty, and nothing fails.
    site.cluster.archive_with("")
    try:
        segments = _make_segments(site, CALLS, place / "plain")[:CALLS]
        found: list[Call] = []
        for store in stores:
            say(f"{store}: one push and one fetch at a time")
            found += _calls(site, store, segments)
        return found
    finally:
        site.cluster.archive_with("/bin/true")
        site.cluster.query("drop table burst")
        shutil.rmtree(place)


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


def _calls(site: Site, store: str, segments: Sequence[Path]) -> list[Call]:
    own = site.env_file(store, "calls")
    servers = site.servers(store, postgres=False)
    identifier = ["--system-identifier", str(site.cluster.system_identifier)]
    fetched = own.with_name("fetched")
    environment = {**clean_environment(), **site.trust}
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
                shares.append(_import_share(words, environment, own.parent))
            else:
                costs.append(run(words, env=environment, cwd=own.parent, servers=servers).cost)
        found.append(
            Call(f"wal {verb}", store, median_cost(costs), interpreter.seconds, shares[0],
                 len(costs))
        )  # fmt: skip
    site.forget(store, "calls")
    return found


def _import_share(words: Sequence[str], environment: Mapping[str, str], cwd: Path) -> float:
    """Of one call that is asked to say what each import took, by itself."""
    began = time.perf_counter()
    traced = {**environment, "PYTHONPROFILEIMPORTTIME": "1"}
    errors = cwd / "imports"
    run(["sh", "-c", f'exec "$@" 2> {shlex.quote(str(errors))}', "sh", *words], env=traced, cwd=cwd)
    seconds = time.perf_counter() - began
    return sum(int(each) for each in _IMPORTED.findall(errors.read_text())) / 1e6 / seconds
