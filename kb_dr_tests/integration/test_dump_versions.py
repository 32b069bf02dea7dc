"""A dump taken by each supported major version goes into its own and the next, and into none that
is older: by the product's own verbs, on servers of all of them.
"""

import os
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from kb_dr.errors import TargetLacks
from kb_dr_tests.dumped_service import DumpedService, dumped
from kb_dr_tests.loaded_dumps import databases, load, rows
from kb_dr_tests.postgres_servers import RunningCluster, programs_of

MAJORS = (15, 16, 17, 18)
ENTRIES = 120


def test_each_major_is_loaded_into_itself_and_the_next_and_refused_by_the_one_before(
    services: dict[int, DumpedService],
) -> None:
    for before, major, after in zip((None, *MAJORS), MAJORS, (*MAJORS[1:], None), strict=False):
        service = services[major]
        assert service.stored.manifest.source.server_version // 10_000 == major
        for target in (each for each in (major, after) if each is not None):
            cluster = services[target].cluster

            loaded = load(service, into=address(cluster, f"of_{major}"))

            assert "exactly as recorded" in loaded.compared, (major, target)
            assert rows(cluster, "knowledge_entries", f"of_{major}") == ENTRIES
        if before is not None:
            older = services[before].cluster
            there = databases(older)

            with pytest.raises(TargetLacks, match=f"PostgreSQL {before}, expected {major}") as no:
                load(service, into=address(older, "refused"))

            assert no.value.hint
            assert databases(older) == there


@pytest.fixture(scope="module")
def services(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[int, DumpedService]]:
    """A server of each major version with a dump of it; the programs of all are at hand."""
    everywhere = os.pathsep.join(str(programs_of(each).bin_dir) for each in MAJORS)
    with ExitStack() as stack:
        found = {}
        for major in MAJORS:
            directory = tmp_path_factory.mktemp(f"of{major}")
            found[major] = dumped(programs_of(major), directory, stack, entries=ENTRIES)
            found[major].settings["KB_DR_POSTGRES_BIN_DIRS"] = everywhere
        yield found


def address(cluster: RunningCluster, database: str) -> str:
    """A database of a server, as a person types it."""
    return f"postgresql://postgres@/{database}?host={cluster.sockets}&port=5432"
