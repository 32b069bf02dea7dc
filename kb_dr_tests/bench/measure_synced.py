"""A restore that is on disk when it ends, against one that is left to the kernel to write."""

import os
import shutil
from collections.abc import Callable

from kb_dr_tests.bench.contest import US, Try, Work
from kb_dr_tests.bench.measure_contest import data_bytes
from kb_dr_tests.bench.results import EACH_FILE, UNFORCED
from kb_dr_tests.bench.site import Site
from kb_dr_tests.bench.usage import clean_environment, python, run

STORE = "directory"


def measure_synced(site: Site, rounds: int, say: Callable[[str], None]) -> list[Try]:
    """The same backup restored in each way in each round; nothing is left on disk."""
    env_file = site.env_file(STORE, "synced")
    target = env_file.with_name("restored")
    words = ("--env-file", str(env_file), "restore", "--latest", "--into", str(target), "--json")
    ways = {
        US: site.kb_dr(env_file, *words[2:]),
        EACH_FILE: python("kb_dr_tests.bench.synced_cli", "each-file", *words),
        UNFORCED: python("kb_dr_tests.bench.synced_cli", "nothing", *words),
    }
    found: list[Try] = []
    try:
        site.archive_into(env_file)
        run(site.kb_dr(env_file, "backup", "full", "--json"), env=clean_environment())
        site.cluster.archive_everything()
        for number in range(1, rounds + 1):
            for name in list(ways)[:: 1 if number % 2 else -1]:
                say(f"restore, round {number}: {name}")
                os.sync()
                ran = run(ways[name], env=clean_environment(), watch_memory=True)
                shutil.rmtree(target)
                found.append(
                    Try(Work.RESTORE, name, STORE, data_bytes(site), number, ran.cost.seconds,
                        ran.cost.cpu_seconds, ran.peak_bytes)
                )  # fmt: skip
    finally:
        site.cluster.archive_with("/bin/true")
        site.forget(STORE, "synced")
    return found
