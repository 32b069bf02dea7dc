"""Proof by restore with a tool that has none: what an engineer types to know the same."""

import shlex
from pathlib import Path

from kb_dr_tests.bench.contestants.contestant import Command
from kb_dr_tests.bench.site import DATABASE, Site

BY_HAND = (
    "Proof by restore is a script for it: its restore, a server with fsync off (as in kb_dr's"
    " proof), pg_amcheck over each table and each B-tree, which is held against its table, the rows"
    " of each table of the database counted, pg_checksums over the stopped cluster, where checksums"
    " are on. amcheck reads no index of another kind (HNSW) and no free space map, here as in"
    " kb_dr's proof; pg_checksums does. kb_dr's proof also holds each file against PostgreSQL's"
    " manifest and the rows against its fingerprint, looks at visibility maps, replays all WAL"
    " there is, and keeps a record."
)

_UNSAFE = ("fsync=off", "full_page_writes=off", "synchronous_commit=off")
_COUNT = (
    "select format('select %L, count(*) from %s', c.oid::regclass, c.oid::regclass)"
    " from pg_class c join pg_namespace n on n.oid = c.relnamespace"
    " where c.relkind in ('r', 'm') and n.nspname not in ('pg_catalog', 'information_schema')"
    " \\gexec"
)
_JOBS = 2
"""kb_dr looks at tables, indexes and maps at once; the bench is for two cores."""


def proved_by_hand(site: Site, restore: Command, target: Path) -> Command:
    """Restore to ``target``, start, check, count, stop, check again, and remove it.

    Fails where any of it does. As kb_dr does, page checksums are read where they are on.

    It prints ``TABLE|ROWS`` of each table of the bench's database.
    """
    programs = site.cluster.programs
    libraries = f"LD_LIBRARY_PATH={programs.environment().get('LD_LIBRARY_PATH', '')}"

    def program(name: str, *words: str) -> str:
        return shlex.join(["env", libraries, str(programs.path(name)), *words])

    settings = [f"-c{each}" for each in ("listen_addresses=", "archive_mode=off", *_UNSAFE)]
    postgres = ["env", libraries, str(programs.path("postgres")), "-D", str(target), *settings]
    server = shlex.join(programs.unprivileged.prefixed(postgres, None))
    query = program("psql", "-XAtq", "-U", "postgres", "-v", "ON_ERROR_STOP=1")
    amcheck = program(
        "pg_amcheck", "-U", "postgres", "--all", "--install-missing", "--heapallindexed",
        f"--jobs={_JOBS}",
    )  # fmt: skip
    checksums = program("pg_checksums", "--check", "-D", str(target))
    script = f"""
set -eu
{shlex.join(restore.words)} >/dev/null
sockets=$(mktemp -d /tmp/kbdr-XXXXXX)
export PGHOST="$sockets"
{server} -c unix_socket_directories="$sockets" >"$sockets/log" 2>&1 &
server=$!
trap 'kill -QUIT $server 2>/dev/null || true; wait $server || true; rm -rf "$sockets"' EXIT
until [ "$({query} -c 'select pg_is_in_recovery()' postgres 2>/dev/null)" = f ]; do
    kill -0 $server || {{ cat "$sockets/log" >&2; exit 1; }}
    sleep 0.05
done
{amcheck} >&2
echo {shlex.quote(_COUNT)} | {query} {DATABASE}
checksums=$({query} -c 'show data_checksums' postgres)
kill -INT $server
wait $server
if [ "$checksums" = on ]; then {checksums} >&2; fi
rm -rf {shlex.quote(str(target))}
"""
    return Command(["bash", "-c", script], restore.environment)
