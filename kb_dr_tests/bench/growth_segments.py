"""How a restore grows with the WAL behind its backup: the plan, and each phase of the rest."""

import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from kb_dr_tests.bench.site import Site, running_site
from kb_dr_tests.bench.usage import Ran, clean_environment, run

SEED_ENTRIES = 200
SEGMENT_CONTENT_BYTES = 4 * 1024 * 1024
"""Of WAL in each segment; the rest of its 16 MiB is what a switch leaves: zeroes."""


@dataclass(frozen=True, slots=True)
class Replayed:
    """One restore over so many segments."""

    segments: int
    planned: Ran
    """`kb-dr restore --dry-run` to the newest end."""
    planned_to_a_time: Ran
    """The same to a moment half-way: it reads WAL to find where that is."""
    restored: Ran
    phases: tuple[tuple[str, float], ...]
    """Name and seconds, as the restore itself tells them."""


def restore_over(
    counts: Sequence[int], below: Path | None, say: Callable[[str], None]
) -> tuple[Replayed, ...]:
    """One backup, ever more WAL behind it, and a restore at each count."""
    found = []
    with running_site(below) as site:
        site.prepare(SEED_ENTRIES)
        env = site.env_file("directory", "growth")
        site.archive_into(env)
        _kb_dr(site, env, "backup", "full")
        made, middle = 0, ""
        for count in sorted(counts):
            while made < count:
                made += 1
                when = _write_segment(site)
                middle = when if made == count // 2 or not middle else middle
            site.cluster.archive_everything()
            replayed = _restore(site, env, count, middle)
            say(f"{count} segments: {replayed.restored.cost.seconds:.2f} s")
            found.append(replayed)
    return tuple(found)


def _restore(site: Site, env: Path, segments: int, middle: str) -> Replayed:
    target = site.directory / "restored"
    to_the_end = ("restore", "--latest", "--into", str(target), "--json")
    to_a_time = ("restore", "--target-time", middle, "--into", str(target), "--json")
    planned = _kb_dr(site, env, *to_the_end, "--dry-run")
    planned_to_a_time = _kb_dr(site, env, *to_a_time, "--dry-run")
    try:
        restored = _kb_dr(site, env, *to_the_end)
    finally:
        shutil.rmtree(target, ignore_errors=True)
    done: dict[str, Any] = json.loads(restored.output)
    assert done["done"], done
    phases = tuple((each["name"], float(each["seconds"])) for each in done["phases"])
    return Replayed(segments, planned, planned_to_a_time, restored, phases)


def _kb_dr(site: Site, env: Path, *words: str) -> Ran:
    return run(
        site.kb_dr(env, *words), env=clean_environment(), cwd=site.directory, watch_memory=True
    )


def _write_segment(site: Site) -> str:
    """Fill a part of one segment, commit, and go on to the next; when that was."""
    site.cluster.query(
        "select count(pg_logical_emit_message(true, 'bench', repeat(md5(random()::text), 1024)))"
        f" from generate_series(1, {SEGMENT_CONTENT_BYTES // 32768})"
    )
    site.cluster.switch_wal()
    return f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%S.%fZ}"
