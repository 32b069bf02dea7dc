"""Dumps: who compresses the archive, and what more connections are worth when it is loaded."""

import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
from pgvector.psycopg import register_vector

from kb_dr.sandbox.content import DIMENSIONS, entries
from kb_dr_tests.bench.results import Archive, Cost, Load, median_cost
from kb_dr_tests.bench.site import Site
from kb_dr_tests.bench.usage import clean_environment, measured, python, run

REFERENCE = "reference"
JOBS = 2
TABLES = 4
_SEED_ENTRIES = 8000
"""Far more text than zstd looks back at this level, so copies of it compress no better."""
_INDEXED_ENTRIES = 4000

GZIP, ZSTD, OURS = "gzip, by pg_dump", "zstd, by pg_dump", "zstd and age, by us"


def measure_dumps(
    site: Site, mib: int, repeats: int, say: Callable[[str], None]
) -> tuple[list[Archive], list[Load]]:
    """Both, on a reference data set whose tables take about so many MiB."""
    say(f"dumps: making {mib} MiB in {TABLES} tables")
    _make_reference(site, mib)
    archives = _archives(site, repeats, say)
    loads = [_loads(site, repeats, say)]
    site.cluster.query(f"drop database {REFERENCE}")
    return archives, loads


def _make_reference(site: Site, mib: int) -> None:
    """Tables alike in size, each with indexes; the first with one for vectors, too."""
    site.cluster.query(f"create database {REFERENCE}")
    with psycopg.connect(site.cluster.conninfo(REFERENCE), autocommit=True) as connection:
        connection.execute("create extension vector")
        register_vector(connection)
        columns = (
            f"id bigint, title text, body text, embedding vector({DIMENSIONS}), at timestamptz"
        )
        connection.execute(f"create table seed ({columns})".encode())
        with connection.cursor().copy(b"copy seed from stdin with (format binary)") as copy:
            copy.set_types(["int8", "text", "text", "vector", "timestamptz"])
            for each in entries(min(_SEED_ENTRIES, mib * 100)):
                copy.write_row((each.id, each.title, each.body, each.embedding, each.updated_at))
        found = connection.execute("select count(*), pg_table_size('seed') from seed").fetchone()
        assert found is not None
        rows, size = found
        copies = (mib << 20) / TABLES / size
        for number in range(TABLES):
            table = f"entries_{number}"
            connection.execute(
                f"create table {table} as select id + {rows} * part as id, title, body, embedding,"
                f" at from seed, generate_series(0, {int(copies)}) part"
                f" where id + {rows} * part <= {int(rows * copies)}"
                # Else copies of a row would lie beside each other, and compress to nothing.
                " order by part, seed.id".encode()
            )
            connection.execute(f"alter table {table} add primary key (id)".encode())
            for indexed in ("title, at", "at", "md5(body)"):
                connection.execute(f"create index on {table} ({indexed})".encode())
        connection.execute(
            f"create table vectors as select id, embedding from seed where id <= {_INDEXED_ENTRIES}"
            .encode()
        )  # fmt: skip
        connection.execute("create index on vectors using hnsw (embedding vector_cosine_ops)")
        connection.execute("drop table seed")
        connection.execute("vacuum (freeze, analyze)")
        connection.execute("checkpoint")


def _archives(site: Site, repeats: int, say: Callable[[str], None]) -> list[Archive]:
    costs: dict[str, list[Cost]] = {GZIP: [], ZSTD: [], OURS: []}
    sizes: dict[str, int] = {}
    target = site.directory / "measured.dump"
    for number in range(repeats):
        for how in costs:
            say(f"dumps: {how}, run {number + 1}")
            costs[how].append(_dump(site, how, target))
            sizes[how] = target.stat().st_size
            target.unlink()
    return [Archive(how, sizes[how], median_cost(found), repeats) for how, found in costs.items()]


def _dump(site: Site, how: str, target: Path) -> Cost:
    if how != OURS:
        method = "gzip" if how == GZIP else "zstd"
        words = [*_words(site, "pg_dump"), f"--compress={method}", f"--file={target}", REFERENCE]
        return run(
            [*words, "--format=custom"], env=_environment(site), servers=(site.postmaster,)
        ).cost
    words = [*_words(site, "pg_dump"), "--format=custom", "--compress=0", REFERENCE]
    coding = python("kb_dr_tests.bench.stage", "code", str(target), site.recipient)
    with measured((site.postmaster,)) as result:
        with subprocess.Popen(words, env=_environment(site), stdout=subprocess.PIPE) as dumping:
            subprocess.run(coding, env=clean_environment(), stdin=dumping.stdout, check=True,
                           stdout=subprocess.DEVNULL)  # fmt: skip
        assert dumping.returncode == 0
    return result.cost


def _loads(site: Site, repeats: int, say: Callable[[str], None]) -> Load:
    archive = site.directory / "reference.dump"
    words = [*_words(site, "pg_dump"), "--format=custom", "--compress=0", f"--file={archive}"]
    run([*words, REFERENCE], env=_environment(site))
    costs: dict[int, list[Cost]] = {1: [], JOBS: []}
    for number in range(repeats):
        for jobs in costs:
            say(f"dumps: pg_restore --jobs={jobs}, run {number + 1}")
            with _empty_database(site) as name:
                loading = [*_words(site, "pg_restore"), f"--jobs={jobs}", f"--dbname={name}"]
                ran = run(
                    [*loading, str(archive)], env=_environment(site), servers=(site.postmaster,)
                )
                costs[jobs].append(ran.cost)
    size = archive.stat().st_size
    archive.unlink()
    return Load(JOBS, size, median_cost(costs[1]), median_cost(costs[JOBS]), repeats)


@contextmanager
def _empty_database(site: Site) -> Iterator[str]:
    site.cluster.query("create database loaded template template0")
    site.cluster.query("checkpoint")  # what the run before it left to be written is not this one's
    try:
        yield "loaded"
    finally:
        site.cluster.query("drop database loaded")


def _words(site: Site, program: str) -> list[str]:
    return [
        str(site.cluster.programs.path(program)), f"--host={site.cluster.sockets}",
        "--username=postgres", "--no-password",
    ]  # fmt: skip


def _environment(site: Site) -> dict[str, str]:
    return site.cluster.programs.environment()
