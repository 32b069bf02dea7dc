"""A dump taken by each supported major version goes into its own and the next, and into none that
is older: by the product's own verbs, on servers of all of them.
"""

import os
from collections.abc import Iterator
from contextlib import ExitStack

import pyrage
import pytest

from kb_dr.adapters.log_progress import LogProgress
from kb_dr.errors import TargetLacks
from kb_dr_tests.dumped_service import DumpedService, places
from kb_dr_tests.loaded_dumps import databases, load, rows
from kb_dr_tests.postgres_servers import RunningCluster, programs_of

MAJORS = (15, 16, 17, 18)
ENTRIES = 120


class Dumped(DumpedService):
    """A server of one major version, and a dump of it."""

    major = 0
    """The version the dump says it is of."""


def test_each_major_is_loaded_into_itself_and_the_next_and_refused_by_the_one_before(
    services: dict[int, Dumped],
) -> None:
    for before, major, after in zip((None, *MAJORS), MAJORS, (*MAJORS[1:], None), strict=False):
        service = services[major]
        assert service.major == major
        for target in (each for each in (major, after) if each is not None):
            cluster = services[target].cluster

            loaded = load(service, into=address(cluster, f"of_{major}"))

            assert "exactly as recorded" in loaded.compared, (major, target)
            assert rows(cluster, "entries", f"of_{major}") == ENTRIES
        if before is not None:
            older = services[before].cluster
            there = databases(older)

            with pytest.raises(TargetLacks, match=f"PostgreSQL {before}, expected {major}") as no:
                load(service, into=address(older, "refused"))

            assert no.value.hint
            assert databases(older) == there


@pytest.fixture(scope="module")
def services(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[int, Dumped]]:
    """A server of each major version with a dump of it; the programs of all are at hand."""
    identity = pyrage.x25519.Identity.generate()
    key = tmp_path_factory.mktemp("key") / "kb.agekey"
    key.write_text(f"{identity}\n")
    everywhere = os.pathsep.join(str(programs_of(each).bin_dir) for each in MAJORS)
    with ExitStack() as stack:
        found = {}
        for major in MAJORS:
            directory = tmp_path_factory.mktemp(f"of{major}")
            cluster = stack.enter_context(RunningCluster(programs_of(major), directory / "source"))
            # Not every version has the programs of an extension: none is used.
            cluster.query("create table entries (id int generated always as identity, body text)")
            cluster.query(
                f"insert into entries (body) select i from generate_series(1, {ENTRIES}) i"
            )
            settings = {
                "KB_DB_HOST": str(cluster.sockets),
                "KB_DB_NAME": "postgres",
                "KB_DB_USER": "postgres",
                "KB_DR_AGE_RECIPIENTS": str(identity.to_public()),
                "KB_DR_AGE_IDENTITY_FILE": str(key),
                "KB_DR_POSTGRES_BIN_DIRS": everywhere,
                **places(directory),
            }
            service = Dumped(directory, settings, cluster)
            service.opened().initialise("primary")
            service.major = service.opened().back_up_dump(None, LogProgress()).manifest.source.major
            found[major] = service
        yield found


def address(cluster: RunningCluster, database: str) -> str:
    """A database of a server, as a person types it."""
    return f"postgresql://postgres@/{database}?host={cluster.sockets}&port=5432"
