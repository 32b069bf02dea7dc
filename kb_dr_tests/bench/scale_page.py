"""What was measured at scale, as values and as a page."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from kb_dr_tests.bench.scale_verbs import RAW, Measured

MEMORY_LIMIT_BYTES = 300 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Size:
    """How big one repository is made."""

    backups: int
    segments: int


@dataclass(frozen=True, slots=True)
class Scaled:
    """What was measured on one repository."""

    store: str
    size: Size
    made_seconds: float
    verbs: tuple[Measured, ...]
    """The raw listing first."""

    @property
    def raw_seconds(self) -> float:
        """Every name and size, by the store's own means: what each verb is held against."""
        return self.verbs[0].seconds


def page(found: Sequence[Scaled], *, load_before: float) -> str:
    """docs/scale.md."""
    parts = [f"{_HEAD} Measured on {datetime.now(UTC):%Y-%m-%d}.{_machine(load_before)}"]
    for each in found:
        size = f"{each.size.backups:,} backups, {each.size.segments:,} WAL segments"
        rows = [_row(verb, each) for verb in each.verbs]
        parts.append("\n".join([f"## {each.store}: {size}", "", *_COLUMNS, *rows]))
    parts.append(_HOW)
    return "\n\n".join(parts) + "\n"


def _machine(load_before: float) -> str:
    if load_before <= 0.5:
        return ""
    return (
        f" The machine was not quiet: {load_before:.1f} other processes wanted a core when it "
        "began, so the seconds say little; calls and memory hold."
    )


def _row(measured: Measured, scaled: Scaled) -> str:
    calls = measured.calls
    own = measured.peak_bytes - measured.idle_bytes
    cells = (
        measured.verb,
        f"{measured.seconds / scaled.raw_seconds:.2f}",
        f"{measured.peak_bytes / MEMORY_LIMIT_BYTES:.2f}",
        *(str(calls.get(what, 0)) if calls else "" for what in ("list", "pages", "read")),
        f"{measured.seconds:.2f}",
        f"{measured.peak_bytes / 2**20:.0f} ({own / 2**20:+.0f})",
        measured.said,
    )
    return "| " + " | ".join(cells) + " |"


_COLUMNS = (
    "| | time / raw listing | memory / limit | listings | pages | reads | s | peak MiB (by the verb) | came to |",  # noqa: E501 - a line of the page
    "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | --- |",
)

_HEAD = """\
# Scale

What it costs to look at a repository of years. Written by \
`python -m kb_dr_tests.bench.scale --write docs/scale.md`. Ratios first: they hold on other \
machines, seconds do not. What is asked at 100, 1,000 and \
10,000 backups, as people and Dagster ask it, is measured by `python -m \
kb_dr_tests.bench.growth`. Each verb runs in a process of its own; the limit of memory is 300 MiB, \
Python and all imports counted."""

_HOW = f"""\
## How it is measured

- The history is made: a full backup an hour, one restore proof a day, a commit in the newest segment half a minute ago. Manifests, proofs and the newest segments are real and are read; the other objects have the right names and sizes.
- *{RAW}*: every name and size by the store's own means (`scandir` and `lstat`; pages of 1,000 keys), nothing else: what no look at everything can beat. Run once before, so that all others find what they read in memory.
- *list*: the same through the repository, in order of key, in bounded memory. A directory has no order: each folder of more than 250,000 names is read once for every 250,000 of them.
- *catalog*: every manifest read, one after the other handed on. What `kb-dr list`, retention and the catalog's sync begin with. A process that looks often (Dagster's) reads each manifest once in a quarter of an hour, and lists it each time.
- *audit*: `kb-dr wal audit`, without reading the segments.
- *retention plan*: `kb-dr retention plan` of one copy: every manifest and proof read, all WAL listed.
- *status*: `kb-dr status`, which looks at the newest backups first: at 32 of each copy, and at 128, at 512 and at all that can be young enough of a proof (4096 at most) where those do not tell what the objectives ask (the newest usable, the newest proven over WAL without a gap, the newest that was tried, a proof young enough). It lists WAL from the oldest of these on, says since when it looked, and nothing of what is older.
- *status, everything*: `kb-dr status --everything`.
- *Pages* are answers of at most 1,000 keys, at least one for each listing. A test holds calls and pages to that on a small history; no test asserts a time."""  # noqa: E501 - one line of the page each
