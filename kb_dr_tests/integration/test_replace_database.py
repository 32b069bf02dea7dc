"""A dump takes the place of a database on a real server, and gives it back; cut off at the swap."""

import dataclasses
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from kb_dr.adapters.log_progress import LogProgress
from kb_dr.adapters.pg_restore import PgRestore
from kb_dr.adapters.postgres_programs import PostgresPrograms
from kb_dr.domain.load_plan import Part
from kb_dr.errors import (
    ConfigurationError,
    LoadFailed,
    RecoveryError,
    ServiceUnhealthy,
    TargetIsProduction,
)
from kb_dr.installation.loading import LoadWords
from kb_dr.operations.plan_load import require_consent
from kb_dr_tests.dumped_service import DumpedService, dumped
from kb_dr_tests.loaded_dumps import databases, load, with_checksum
from kb_dr_tests.made_archives import dump
from kb_dr_tests.postgres_servers import RunningCluster
from kb_dr_tests.protected_service import environment


@pytest.fixture(scope="module")
def service(
    postgres_programs: PostgresPrograms, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[DumpedService]:
    """Of this module alone: databases come and go on its server."""
    with ExitStack() as stack:
        yield dumped(postgres_programs, tmp_path_factory.mktemp("loaded"), stack)


def test_production_is_replaced_only_when_forced_whatever_its_address(
    service: DumpedService,
) -> None:
    port = service.cluster.value("select current_setting('port')")
    for into in (None, f"postgresql://postgres@/kb?host={service.cluster.sockets}&port={port}"):
        opened = service.opened()
        words = LoadWords(None, None, None, into, True)
        plan = opened.plan_load(words, Part(), LogProgress())

        assert plan.production
        with pytest.raises(TargetIsProduction):
            require_consent(plan, force_production=False, typed="kb")
        with pytest.raises(ConfigurationError):
            require_consent(plan, force_production=True, typed="other")
    service.run("restore", "--dump", "--replace", "--yes").require(46, "--force-production")
    service.run("restore", "--dump", "--replace", "--force-production").require(2, "not confirmed")
    assert not any("_before_" in each for each in databases(service.cluster))


def test_replaced_and_rolled_back_again_and_again(service: DumpedService, tmp_path: Path) -> None:
    cluster = service.cluster
    cluster.query("create database live")
    cluster.query("create table t (id int primary key)", database="live")
    cluster.query("insert into t values (1)", database="live")
    cluster.query("alter database live set search_path to '$user', public, other")
    cluster.query("revoke connect on database live from public")
    first = with_checksum(dump(cluster, "live", tmp_path / "1.dump"))
    cluster.query("insert into t values (2)", database="live")
    second = with_checksum(dump(cluster, "live", tmp_path / "2.dump"))
    cluster.query("insert into t values (3)", database="live")
    marks = tmp_path / "marks"
    commands = {
        "KB_DB_NAME": "live",
        "KB_DR_APP_STOP_COMMAND": f"echo stop >> {marks}",
        "KB_DR_APP_START_COMMAND": f"echo start >> {marks}",
    }
    properties = (
        "select array(select unnest(datacl)::text order by 1), (select setconfig::text"
        " from pg_db_role_setting where setdatabase = d.oid) from pg_database d"
        " where datname = 'live'"
    )
    before = cluster.query(properties)

    seen = []
    for file in (first, second, first):
        load(service, file=file, into="postgresql:///live", replace=True, settings=commands)
        seen.append(ids(cluster))

    assert seen == [[1], [1, 2], [1]]
    assert cluster.query(properties) == before
    assert marks.read_text().split() == ["stop", "start"] * 3
    opened = service.opened(**commands)
    for back in ([1, 2], [1], [1, 2, 3]):
        plan = opened.plan_roll_back("postgresql:///live")
        opened.roll_back_load(plan, "postgresql:///live")
        assert ids(cluster) == back
    with pytest.raises(RecoveryError, match="did not put it"):
        opened.plan_roll_back("postgresql:///live")


def ids(cluster: RunningCluster) -> list[int]:
    """What is in the database that was live."""
    return [row[0] for row in cluster.query("select id from t order by 1", database="live")]


@pytest.fixture
def live(service: DumpedService, tmp_path: Path) -> Path:
    """A database with rows 1 and 2, and a file of it from when there was row 1 alone."""
    cluster = service.cluster
    for each in databases(cluster):
        if each.startswith("live"):
            cluster.query(f'drop database "{each}" with (force)')
    cluster.query("create database live")
    cluster.query("create table t (id int primary key)", database="live")
    cluster.query("insert into t values (1)", database="live")
    file = with_checksum(dump(cluster, "live", tmp_path / "live.dump"))
    cluster.query("insert into t values (2)", database="live")
    return file


def test_a_service_that_is_not_well_afterwards_gets_its_old_database_back(
    service: DumpedService, live: Path, tmp_path: Path
) -> None:
    marks = tmp_path / "marks"

    with pytest.raises(ServiceUnhealthy) as caught:
        load(
            service,
            file=live,
            into="postgresql:///live",
            replace=True,
            settings={
                "KB_DB_NAME": "live",
                "KB_DR_APP_STOP_COMMAND": f"echo stop >> {marks}",
                "KB_DR_APP_START_COMMAND": f"echo start >> {marks}",
                "KB_DR_HEALTH_COMMAND": f"test $(grep -c start {marks}) = 2",
                "KB_DR_COMMAND_SECONDS": "1",
            },
        )

    assert ids(service.cluster) == [1, 2]
    assert "is the old one again" in caught.value.hint
    assert "the application runs again" in caught.value.hint
    assert marks.read_text().split() == ["stop", "start", "stop", "start"]


def test_the_application_is_left_alone_where_the_database_is_not_its_own(
    service: DumpedService, live: Path, tmp_path: Path
) -> None:
    marks = tmp_path / "marks"
    commands = {
        "KB_DR_APP_STOP_COMMAND": f"echo stop >> {marks}",
        "KB_DR_APP_START_COMMAND": f"echo start >> {marks}",
        "KB_DR_HEALTH_COMMAND": f"echo health >> {marks}; false",
    }

    load(service, file=live, into="postgresql:///live", replace=True, settings=commands)

    assert ids(service.cluster) == [1]
    opened = service.opened(**commands)
    plan = opened.plan_roll_back("postgresql:///live")
    opened.roll_back_load(plan, "postgresql:///live")
    assert ids(service.cluster) == [1, 2]
    assert not marks.exists()


def test_what_replaces_a_database_has_its_encoding_and_locale(
    service: DumpedService, live: Path
) -> None:
    cluster = service.cluster
    cluster.query("create database live_odd template template0 encoding 'LATIN1'"
                  " lc_collate 'C' lc_ctype 'C'")  # fmt: skip

    load(service, file=live, into="postgresql:///live_odd", replace=True)

    assert cluster.query(
        "select pg_encoding_to_char(encoding)::text, datcollate from pg_database"
        " where datname = 'live_odd'"
    ) == [("LATIN1", "C")]


def test_the_server_that_was_planned_for_is_the_one_that_is_changed(
    service: DumpedService, live: Path
) -> None:
    opened = service.opened()
    words = LoadWords(live, None, None, "postgresql:///live", True)
    plan = opened.plan_load(words, Part(), LogProgress())
    before = databases(service.cluster)

    with pytest.raises(RecoveryError, match="which was planned for"):
        opened.load(dataclasses.replace(plan, system_identifier=1), words, LogProgress())

    assert databases(service.cluster) == before
    assert ids(service.cluster) == [1, 2]


def test_a_database_that_somebody_else_made_meanwhile_is_never_dropped(
    service: DumpedService, live: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def load_into_another(self: PgRestore, archive: Path, database: str, **_: object) -> None:
        service.cluster.query(f"drop database {database}")
        service.cluster.query(f"create database {database}")
        raise LoadFailed("load: it went wrong")

    monkeypatch.setattr(PgRestore, "load", load_into_another)

    with pytest.raises(LoadFailed) as caught:
        load(service, file=live, into="postgresql:///live_somebodys")

    assert "left alone" in caught.value.hint
    assert "live_somebodys" in databases(service.cluster)


def test_a_schema_the_application_does_not_expect_never_takes_over(
    service: DumpedService,
) -> None:
    words = LoadWords(None, None, None, None, True)
    opened = service.opened(KB_DR_EXPECTED_SCHEMA_VERSION="20269999_next")
    with pytest.raises(ServiceUnhealthy, match="expects 20269999_next"):
        opened.plan_load(words, Part(), LogProgress())

    service.cluster.query("create database to_migrate")
    psql = (
        f"{service.cluster.programs.path('psql')} -qX -h $KB_DB_HOST -p $KB_DB_PORT"
        ' -U $KB_DB_USER -d $KB_DB_NAME -c "update alembic_version set version_num ='
    )
    expected = {"KB_DR_EXPECTED_SCHEMA_VERSION": "20269999_next"}
    before = databases(service.cluster)
    with pytest.raises(ServiceUnhealthy, match="version other, expected 20269999_next"):
        load(service, into="postgresql:///to_migrate", replace=True,
             settings=expected | {"KB_DR_MIGRATIONS_COMMAND": f"{psql} 'other'\""})  # fmt: skip
    assert databases(service.cluster) == before

    load(service, into="postgresql:///to_migrate", replace=True,
         settings=expected | {"KB_DR_MIGRATIONS_COMMAND": f"{psql} '20269999_next'\""})  # fmt: skip

    assert service.cluster.query("select * from alembic_version", database="to_migrate") == [
        ("20269999_next",)
    ]
    loaded = load(service, into="postgresql:///beside", settings=expected)
    assert any(note.startswith("WARNING: schema version") for note in loaded.notes)


_KILLED = """
import os, signal, sys
from pathlib import Path
from kb_dr.adapters import database_server
from kb_dr.adapters.log_progress import LogProgress
from kb_dr.domain.load_plan import Part
from kb_dr.installation import Installation
from kb_dr.installation.loading import LoadWords
from kb_dr.operations import swap_database
from kb_dr.settings import load_settings

moment, file, env = sys.argv[1:]
rename = database_server._rename
count = 0

def killed(*words):
    global count
    count += 1
    if moment == "before":
        os.kill(os.getpid(), signal.SIGKILL)
    rename(*words)
    if moment == "between" or (moment == "uncommitted" and count == 2):
        os.kill(os.getpid(), signal.SIGKILL)

def brought_up(*words):
    os.kill(os.getpid(), signal.SIGKILL)

if moment == "after":
    swap_database._bring_up = brought_up
else:
    database_server._rename = killed
opened = Installation(load_settings(env_file=Path(env)))
words = LoadWords(Path(file), None, None, "postgresql:///live", True)
plan = opened.plan_load(words, Part(), LogProgress())
opened.load(plan, words, LogProgress())
"""


@pytest.mark.parametrize("moment", ["before", "between", "uncommitted", "after"])
def test_a_kill_at_the_swap_leaves_the_old_database_or_the_new_one_in_service(
    service: DumpedService, live: Path, moment: str
) -> None:
    words = [sys.executable, "-c", _KILLED, moment, str(live), str(service.env_file)]
    settings = {"KB_DB_NAME": "live"}
    done = subprocess.run(
        words, env=environment(settings), capture_output=True, timeout=120, check=False
    )

    assert done.returncode == -9, done.stderr.decode()
    assert ids(service.cluster) == ([1] if moment == "after" else [1, 2])
    load(service, file=live, into="postgresql:///live", replace=True)
    assert ids(service.cluster) == [1]
