"""Keep and read the records of negative controls: appended and never rewritten.

They are kept in every repository: that proofs are void must be known wherever one is read.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from kb_dr.domain import layout
from kb_dr.domain.control import ControlRun
from kb_dr.errors import RepositoryError, UnreadableRecord
from kb_dr.operations.kept_records import keep_record, load_kept, parse_kept, read_kept
from kb_dr.ports import Repository


def store_control_run(places: Sequence[Repository], run: ControlRun) -> None:
    """Append one record wherever it can be; raises as keep_record() does."""
    keep_record(places, _key(run), run)


def load_control_runs(repository: Repository) -> tuple[ControlRun, ...]:
    """Every record kept in this repository."""
    return tuple(load_kept(repository, layout.CONTROLS, ControlRun, _key))


@dataclass(frozen=True, slots=True)
class GatheredControls:
    """The records of all repositories together."""

    runs: tuple[ControlRun, ...]
    problems: tuple[RepositoryError, ...]
    """Why some may be missing: a repository that did not answer, a record that cannot be read
    in any of them."""


def gather_control_runs(repositories: Sequence[Repository]) -> GatheredControls:
    """All records, wherever they are kept: one that is damaged here may be whole there."""
    found: dict[str, ControlRun] = {}
    bad: dict[str, RepositoryError] = {}
    silent: list[RepositoryError] = []
    for repository in repositories:
        try:
            for listed in repository.list(layout.CONTROLS):
                if (body := read_kept(repository, listed.key)) is None:
                    continue
                try:
                    found[listed.key] = parse_kept(repository, listed.key, body, ControlRun, _key)
                except UnreadableRecord as error:
                    bad[listed.key] = error
        except RepositoryError as error:
            silent.append(error)
    unread = [error for key, error in bad.items() if key not in found]
    return GatheredControls(tuple(found.values()), (*silent, *unread))


def _key(run: ControlRun) -> str:
    return layout.control_key(run.id)
