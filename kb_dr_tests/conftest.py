"""What many tests share: PostgreSQL's programs, and a cluster to back up."""

import gc
import shutil
import signal
import sys
from collections.abc import Iterator

import pytest

from kb_dr.adapters.postgres_programs import PostgresPrograms
from kb_dr.scrub import forget_all
from kb_dr_tests.archived_cluster import archived, archived_cluster_of
from kb_dr_tests.catalog_database import catalog_database, made_with_catalog
from kb_dr_tests.chained_service import chained_of
from kb_dr_tests.dumped_service import dumped_service
from kb_dr_tests.postgres_servers import RunningCluster, programs_of
from kb_dr_tests.protected_cluster import lost_cluster
from kb_dr_tests.protected_service import protected_service
from kb_dr_tests.replaceable import production, running
from kb_dr_tests.sinks.fixtures import (
    certificates,
    mail_sink,
    pagerduty_sink,
    slack_sink,
    sns_sink,
    webhook_sink,
)
from kb_dr_tests.spread_directories import spread
from kb_dr_tests.store_fixtures import ceph_store, moto_store, rclone_store
from kb_dr_tests.taken_dumps import dumps

# fixtures for all
__all__ = [
    "archived",
    "archived_cluster_of",
    "catalog_database",
    "ceph_store",
    "certificates",
    "chained_of",
    "dumped_service",
    "dumps",
    "lost_cluster",
    "made_with_catalog",
    "mail_sink",
    "moto_store",
    "pagerduty_sink",
    "production",
    "protected_service",
    "rclone_store",
    "running",
    "slack_sink",
    "sns_sink",
    "webhook_sink",
]

_FOLDERS = ("unit", "contracts", "integration", "faults", "end_to_end")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark each test by its folder, so that a level can be run alone; the longest begin first."""
    # Workers begin with equal shares and take each other's ends: a share of long ones alone would
    # be the last to end, and what lies at its end be set up once more by whoever takes it.
    items.sort(key=lambda item: "end_to_end" not in item.path.parts)
    for item in items:
        for folder in _FOLDERS:
            if folder in item.path.parts:
                item.add_marker(getattr(pytest.mark, folder))


def pytest_collection_finish() -> None:
    """What was imported and collected stays: looking it through for garbage takes seconds."""
    gc.collect()
    gc.freeze()


def pytest_configure(config: pytest.Config) -> None:
    """Name the marks; let children hear Ctrl-C, and a terminal that is closed."""
    # A shell starts what it runs in the background deaf to it, and children inherit that.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
        signal.signal(signal.SIGHUP, signal.SIG_DFL)
    for folder in _FOLDERS:
        config.addinivalue_line("markers", f"{folder}: tests in kb_dr_tests/{folder}")


@pytest.fixture(scope="session", autouse=True)
def _directories_of_tests_apart(tmp_path_factory: pytest.TempPathFactory) -> None:
    """What one test has removed is not looked through by the next."""
    spread(tmp_path_factory.getbasetemp())


@pytest.fixture(autouse=True)
def _secrets_of_this_test_alone() -> Iterator[None]:
    """Tests make up secrets, some of which are words of the messages of others."""
    yield
    forget_all()


@pytest.fixture(scope="session")
def postgres_programs() -> PostgresPrograms:
    """The programs of PostgreSQL 16, which has pgvector."""
    return programs_of(16)


@pytest.fixture(params=[14, 15, 16, 17, 18])
def each_postgres_programs(request: pytest.FixtureRequest) -> PostgresPrograms:
    """The programs of every supported major version, one test each."""
    return programs_of(request.param)


@pytest.fixture
def primary(
    postgres_programs: PostgresPrograms, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RunningCluster]:
    """A running cluster of one's own; its WAL goes nowhere until archive_with() is called."""
    with RunningCluster(postgres_programs, tmp_path_factory.mktemp("primary")) as cluster:
        yield cluster
    shutil.rmtree(cluster.data.parent)


@pytest.fixture(scope="module")
def shared_primary(
    postgres_programs: PostgresPrograms, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RunningCluster]:
    """A running cluster shared by the tests of one module: leave it as it was found."""
    with RunningCluster(postgres_programs, tmp_path_factory.mktemp("primary")) as cluster:
        yield cluster
    shutil.rmtree(cluster.data.parent)


@pytest.fixture(autouse=True)
def no_state_of_an_instance_that_is_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Dagster remembers one state storage for the whole process. An instance that nobody closed
    puts an older one back whenever it is collected, in the middle of any test, and definitions
    are then resolved through an instance that is gone. None of ours keeps its state there.
    """
    loaded = sys.modules.get("dagster._core.storage.defs_state.base")
    if loaded is not None:
        monkeypatch.setattr(loaded.DefsStateStorage, "get", lambda: None)
