"""What retention let go of in one copy, told by the names of the tombstones alone.

There may be thousands, from years; whoever brings backups to a copy asks every few seconds.
"""

import re
from collections.abc import Sequence

from kb_dr.domain import layout
from kb_dr.domain.tombstone import PurgeStep, Tombstone, latest_step
from kb_dr.operations.kept_records import parse_kept, read_kept
from kb_dr.ports import Repository

_STEP = re.compile(r"(\d{8}-\d{6})-(" + "|".join(PurgeStep) + r")-[0-9a-f]+")


def let_go_in(repositories: Sequence[Repository], copy: str) -> dict[str, str]:
    """The backups one copy has let go of and not taken back, each with the id of its last step.

    ``repositories`` are all that keep a record of it; one is enough. A step whose name does not
    tell, and steps within one second, are read: UnreadableRecord when that cannot be done.
    """
    steps: dict[str, dict[str, tuple[Repository, str]]] = {}
    for repository in repositories:
        for listed in repository.list(layout.TOMBSTONES):
            parts = listed.key.removeprefix(layout.TOMBSTONES).removesuffix(".json").split("/")
            if len(parts) == 3 and parts[1] == copy and listed.key.endswith(".json"):
                backup, _, step = parts
                steps.setdefault(backup, {}).setdefault(step, (repository, listed.key))
    found: dict[str, str] = {}
    for backup, each in steps.items():
        last = _last_step(each)
        if last is not None and last[0] is not PurgeStep.UNDELETED:
            found[backup] = last[1]
    return found


def _last_step(
    steps: dict[str, tuple[Repository, str]],
) -> tuple[PurgeStep, str] | None:
    matches = {name: _STEP.fullmatch(name) for name in steps}
    if all(matches.values()):
        stamps = sorted(match[1] for match in matches.values() if match is not None)
        newest = [
            (PurgeStep(match[2]), name)
            for name, match in matches.items()
            if match is not None and match[1] == stamps[-1]
        ]
        if len(newest) == 1:
            return newest[0]
    read = [_read(repository, key) for repository, key in steps.values()]
    last = latest_step(each for each in read if each is not None)
    return None if last is None else (last.step, last.id)


def _read(repository: Repository, key: str) -> Tombstone | None:
    body = read_kept(repository, key)
    if body is None:
        return None
    return parse_kept(repository, key, body, Tombstone, lambda _: key)
