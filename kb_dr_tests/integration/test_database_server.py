"""A server that databases are restored into: made of a shape, filled with extensions, swapped
under clients that keep coming; real servers.
"""

import shutil
import threading
from collections.abc import Iterator

import psycopg
import pytest

from kb_dr.adapters import database_server
from kb_dr.adapters.database_server import PostgresDatabases
from kb_dr.adapters.postgres_session import Session
from kb_dr.domain.dump import DatabaseShape
from kb_dr.errors import PostgresError, PostgresUnavailable, RecoveryError, TargetLacks
from kb_dr.settings import SourceSettings
from kb_dr.settings.secret import Secret
from kb_dr_tests.postgres_servers import RunningCluster, fill, programs_of, source_settings

_C = DatabaseShape("UTF8", "C", "C", "libc", None)
_ODD = "Weird \"name\" 'q' ☃"


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningCluster]:
    """PostgreSQL 18, which knows every provider; two roles that are no superusers."""
    with RunningCluster(programs_of(18), tmp_path_factory.mktemp("server")) as running:
        running.query("create role maker login createdb password 'a pass word'")
        running.query("create role nobody_much login")
        yield running
    shutil.rmtree(running.data.parent)


@pytest.fixture
def server(cluster: RunningCluster) -> Iterator[PostgresDatabases]:
    before = set(_databases(cluster))
    yield PostgresDatabases(source_settings(cluster, "kb"))
    for each in set(_databases(cluster)) - before:
        PostgresDatabases(source_settings(cluster)).drop(each)


def _databases(cluster: RunningCluster) -> list[str]:
    return [row[0] for row in cluster.query("select datname from pg_database order by 1")]


def _open(cluster: RunningCluster) -> set[str]:
    rows = cluster.query("select datname from pg_database where datallowconn and not datistemplate")
    return {row[0] for row in rows}


def test_a_look_tells_what_a_plan_needs(cluster: RunningCluster, server: PostgresDatabases) -> None:
    look = server.look()

    assert look.major == 18
    assert look.system_identifier == cluster.system_identifier
    assert set(look.databases) == {"postgres", "template0", "template1"}
    assert {"postgres", "maker", "nobody_much"} <= set(look.roles)
    assert "plpgsql" in look.extensions
    assert look.may_create
    assert not look.in_recovery
    assert PostgresDatabases(_as(cluster, "maker")).look().may_create
    assert not PostgresDatabases(_as(cluster, "nobody_much")).look().may_create


def _as(cluster: RunningCluster, user: str) -> SourceSettings:
    settings = source_settings(cluster)
    return SourceSettings(
        host=settings.host,
        port=settings.port,
        database="kb",
        user=user,
        password=Secret("a pass word"),
        sslmode="prefer",
        data_directory=None,
    )


def test_a_database_is_made_in_the_shape_it_had(
    cluster: RunningCluster, server: PostgresDatabases
) -> None:
    shapes = {
        _ODD: DatabaseShape("SQL_ASCII", "C", "C", "libc", None),
        "built in": DatabaseShape("UTF8", "C", "C", "builtin", "C.UTF-8"),
    }

    for name, shape in shapes.items():
        server.create(name, shape)
    server.create("like the template")

    rows = cluster.query(
        "select datname, pg_encoding_to_char(encoding), datcollate, datctype,"
        " case datlocprovider when 'c' then 'libc' when 'i' then 'icu' else 'builtin' end,"
        " datlocale from pg_database where datname = any(%s)",
        [list(shapes)],
    )
    assert {row[0]: DatabaseShape(*row[1:]) for row in rows} == shapes
    with pytest.raises(RecoveryError, match="there is one already"):
        server.create(_ODD)
    with pytest.raises(RecoveryError, match="64 bytes, expected 1 to 63"):
        server.create("x" * 64)
    with pytest.raises(PostgresError, match="permission denied to create database"):
        PostgresDatabases(_as(cluster, "nobody_much")).create("other")
    server.drop(_ODD)
    server.drop(_ODD)
    assert _ODD not in _databases(cluster)


def test_a_shape_the_server_cannot_make_is_what_it_lacks(
    server: PostgresDatabases, tmp_path_factory: pytest.TempPathFactory
) -> None:
    with pytest.raises(TargetLacks, match=r"tlh_QO.*invalid"):
        server.create("klingon", DatabaseShape("UTF8", "tlh_QO", "C", "libc", None))
    with pytest.raises(TargetLacks, match="encoding"):
        server.create("bytes", DatabaseShape("LATIN1", "C", "C", "builtin", "C.UTF-8"))
    with RunningCluster(programs_of(14), tmp_path_factory.mktemp("old")) as old:
        before = PostgresDatabases(source_settings(old))
        with pytest.raises(TargetLacks, match=r"provider icu.*none before version 15"):
            before.create("by icu", DatabaseShape("UTF8", "C", "C", "icu", "de"))
        before.create("plain", _C)
    with RunningCluster(programs_of(16), tmp_path_factory.mktemp("middle")) as middle:
        between = PostgresDatabases(source_settings(middle))
        with pytest.raises(TargetLacks, match=r"provider builtin.*none before version 17"):
            between.create("built in", DatabaseShape("UTF8", "C", "C", "builtin", "C"))
        # As it is built here; where it is built with ICU, that is one of its shapes.
        with pytest.raises(TargetLacks, match="ICU is not supported in this build"):
            between.create("by icu", DatabaseShape("UTF8", "C", "C", "icu", "de"))


def test_extensions_come_in_order_in_their_schemas_and_at_their_versions(
    cluster: RunningCluster, server: PostgresDatabases
) -> None:
    server.create("kb", _C)

    notes = server.create_extensions(
        "kb",
        {"earthdistance": "1.1", "cube": "1.4", "plpgsql": "9", "hstore": "0.9", "vector": "0"},
        {"hstore": _ODD, "cube": "public"},
    )

    rows = cluster.query(
        "select extname, extversion, nspname from pg_extension"
        " join pg_namespace n on n.oid = extnamespace where extname <> 'plpgsql' order by 1",
        database="kb",
    )
    assert [row[0] for row in rows] == ["cube", "earthdistance", "hstore", "vector"]
    assert (rows[0][1], rows[2][2]) == ("1.4", _ODD)
    assert [each.split(":")[0] for each in notes] == ["extension hstore", "extension vector"]
    with pytest.raises(TargetLacks, match="does not have nonesuch, postgis") as lacks:
        server.create_extensions("kb", {"postgis": "3", "nonesuch": "1", "citext": "1.6"})
    assert "postgresql-18-postgis-3" in lacks.value.hint
    assert cluster.query("select 1 from pg_extension where extname = 'citext'", database="kb") == []


def test_one_who_may_not_create_an_extension_is_told_before_anything_is_loaded(
    cluster: RunningCluster, server: PostgresDatabases
) -> None:
    maker = PostgresDatabases(_as(cluster, "maker"))
    maker.create("kb", _C)

    maker.create_extensions("kb", {"hstore": "1.8"})
    with pytest.raises(TargetLacks, match=r"create extension pageinspect .*permission denied"):
        maker.create_extensions("kb", {"pageinspect": "1.12"})


def test_names_are_swapped_under_clients_that_keep_coming(
    cluster: RunningCluster, server: PostgresDatabases
) -> None:
    for name in ("kb", _ODD):
        server.create(name, _C)
        cluster.query("create table which (name text)", database=name)
        cluster.query("insert into which select current_database()", database=name)
    over = threading.Event()
    seen: set[str] = set()

    def keep_coming() -> None:
        while not over.is_set():
            try:
                [(name,)] = cluster.query("select name from which", database="kb")
            except psycopg.OperationalError:
                continue
            seen.add(name)

    clients = [threading.Thread(target=keep_coming) for _ in range(3)]
    with psycopg.connect(cluster.conninfo("kb")) as idle:
        idle.execute("select 1 from which")
        for each in clients:
            each.start()
        ended = server.swap(new=_ODD, name="kb", kept="kb before")
        over.set()
        for each in clients:
            each.join()

        assert ended >= 1
        with pytest.raises(psycopg.OperationalError):
            idle.execute("select 1")
    assert cluster.query("select name from which", database="kb") == [(_ODD,)]
    assert cluster.query("select name from which", database="kb before") == [("kb",)]
    assert _open(cluster) == {"postgres", "kb", "kb before"}


def test_a_swapped_database_has_what_no_dump_of_the_other_holds(
    cluster: RunningCluster, server: PostgresDatabases
) -> None:
    for name in ("kb", "new"):
        server.create(name, _C)
    for statement in (
        "alter database kb owner to maker",
        "alter database kb connection limit 7",
        "revoke all on database kb from public",
        "grant connect on database kb to nobody_much with grant option",
        """alter database kb set search_path to "$user", 'a, "b"', public""",
        "alter database kb set work_mem = '5MB'",
        "alter database kb set app.which to 'it''s, \"this\"'",
        "alter role maker in database kb set temp_tablespaces to ''",
    ):
        cluster.query(statement)
    what = (
        "select datdba::regrole::text, datconnlimit, datacl::text, setrole::int, setconfig"
        " from pg_database d join pg_db_role_setting on setdatabase = d.oid where datname = %s"
        " order by setrole"
    )
    expected = cluster.query(what, ["kb"])

    server.swap(new="new", name="kb", kept="kb before")

    assert cluster.query(what, ["kb"]) == cluster.query(what, ["kb before"]) == expected
    assert len(expected) == 2


def test_a_swap_that_fails_changes_no_name_and_leaves_both_open(
    cluster: RunningCluster, server: PostgresDatabases, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("kb", "new", "kept"):
        server.create(name, _C)
    oids = cluster.query("select datname, oid::int from pg_database order by 1")

    with pytest.raises(RecoveryError, match="there is a database kept already"):
        server.swap(new="new", name="kb", kept="kept")
    with pytest.raises(RecoveryError, match="there is no database nowhere"):
        server.swap(new="nowhere", name="kb", kept="other")
    # Taken after it was looked at.
    both = [oid for name, oid in oids if name in ("kb", "new")]
    monkeypatch.setattr(database_server, "_two", lambda *_, **__: both)
    with pytest.raises(RecoveryError, match="already exists"):
        server.swap(new="new", name="kb", kept="kept")
    monkeypatch.undo()

    def half_way(asked: Session, old: str, new: str) -> None:
        if old == "new":
            raise RecoveryError("the second of both renames failed")
        rename(asked, old, new)

    rename = database_server._rename
    monkeypatch.setattr(database_server, "_rename", half_way)
    with pytest.raises(RecoveryError, match="second of both"):
        server.swap(new="new", name="kb", kept="other")
    monkeypatch.undo()
    with pytest.raises(PostgresError, match="must be owner of database"):
        PostgresDatabases(_as(cluster, "maker")).swap(new="new", name="kb", kept="other")

    assert cluster.query("select datname, oid::int from pg_database order by 1") == oids
    assert _open(cluster) >= {"kb", "new", "kept"}


def test_a_restored_database_is_looked_into_and_its_server_left_alone(
    cluster: RunningCluster, server: PostgresDatabases
) -> None:
    fill(cluster, 50)
    try:
        server.analyze("postgres")
        with server.inspect("postgres", source=None) as look:  # type: ignore[arg-type]  # unused
            assert look.schema_version() == "20260101_first"
            assert "public.knowledge_entries" in look.tables()
            with pytest.raises(PostgresError, match="no scratch cluster"):
                look.examine_tables()
        rows = cluster.query("select reltuples from pg_class where relname = 'knowledge_entries'")
        assert rows == [(50.0,)]
    finally:
        for each in ("knowledge_entries", "organizations", "alembic_version"):
            cluster.query(f"drop table {each}")
    with pytest.raises(PostgresUnavailable), server.inspect("nowhere", source=None):  # type: ignore[arg-type]  # unused
        pass
