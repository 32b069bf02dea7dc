"""docs/performance.md: everything on it is worked out from one run."""

from collections.abc import Mapping, Sequence

from kb_dr_tests.bench import report
from kb_dr_tests.bench.contest import duels, standings
from kb_dr_tests.bench.goals import amount, size
from kb_dr_tests.bench.kept import Run
from kb_dr_tests.bench.machine_facts import QUIET_CORES
from kb_dr_tests.bench.parts import unmeasured
from kb_dr_tests.bench.results import Findings
from kb_dr_tests.bench.sheet import Sheet, line

PICTURE = "images/performance.png"
"""From the folder of the page."""


def page(run: Run, *, with_picture: bool) -> str:
    """The whole page; what we lose comes before anything else that was measured."""
    found = run.findings
    parts = [_HEAD, machine(run), *_behind(run)]
    if with_picture:
        parts.append(f"![Seconds of each contestant over ours, work by work]({PICTURE})")
    shown = report.sheets(found)[2:]
    parts += [_markdown(sheet) for sheet in shown if sheet.rows]
    missing = _not_measured(run)
    if missing:
        parts.append("## Not measured\n\n" + "; ".join(missing) + ".")
    commands = "\n".join(f"make bench BENCH_ARGS='{words}'" for words in run.commands)
    parts.append(_HOW.replace("COMMANDS", commands or "make bench"))
    return "\n\n".join(parts) + "\n"


def machine(run: Run) -> str:
    """What it was measured on, in one paragraph."""
    on = run.machine
    ended = [part.ended_at for part in run.parts.values()]
    versions = ", ".join(f"{name} {version}" for name, version in on.versions.items())
    peers = ", ".join(f"{each.name} {each.version}" for each in run.findings.facts)
    when = f" from {min(ended):%Y-%m-%d %H:%M} to {max(ended):%H:%M} UTC" if ended else ""
    if ended and min(ended).date() != max(ended).date():
        when = f" from {min(ended):%Y-%m-%d} to {max(ended):%Y-%m-%d}"
    text = (
        f"Measured{when} on {on.cores} cores ({on.processor}), {size(on.memory_bytes)} of "
        f"memory, {on.disk} ({on.sync_milliseconds:.2f} ms to force a block of 8 KiB to it, "
        f"{on.sync_mib_per_second:.0f} MiB/s with a force every 16 MiB), {on.kernel}; everything "
        f"on the same machine, the S3 server too. {versions}. "
        + (f"Contestants: {peers}. " if peers else "")
        + _contested(run.findings)
        + "What is read was read once before. "
        + _code(run)
        + f"Others kept at most {run.busy_cores:.2f} cores busy before any part. "
    )
    if run.was_quiet:
        return text + "The machine was quiet."
    return text + (
        f"**The machine was not quiet** (that is less than {QUIET_CORES} cores): seconds say "
        "little, CPU and memory hold."
    )


def _contested(found: Findings) -> str:
    """What the contestants worked on, and how often: as it was, not as it was asked for."""
    rounds: dict[str, set[int]] = {}
    for each in standings(found.tries):
        rounds.setdefault(f"{amount(each)} through {each.store}", set()).add(each.rounds)
    said = [f"{what}: {_counts(counts)}" for what, counts in rounds.items()]
    return f"Rounds, in which the contestants take turns: {'; '.join(said)}. " if said else ""


def _counts(counts: set[int]) -> str:
    return str(max(counts)) if len(counts) == 1 else f"{min(counts)} to {max(counts)}"


def _code(run: Run) -> str:
    """Which state of kb_dr and of the bench it was; said where it was not always the same."""
    ours = _states(run.codes, "Code of kb_dr", "**Not all of it is of the same code of kb_dr**")
    return ours + _states(run.benches, "Code of the bench", "Not all of it is of the same bench")


def _states(found: Mapping[tuple[str, ...], Sequence[str]], one: str, several: str) -> str:
    if not found:
        return ""
    (first, *_), *others = found
    if not others and len(next(iter(found))) == 1:
        return f"{one}: `{first}` (digest of its files). "
    said = "; ".join(
        f"{', changed to '.join(f'`{each}`' for each in states)}: {' + '.join(names)}"
        for states, names in found.items()
    )
    return f"{several} (digests of its files): {said}. "


def _not_measured(run: Run) -> list[str]:
    """Parts that are missing beside those there are, and tables that nothing was found for."""
    missing = list(unmeasured(run.parts))
    kinds = {name.split(", ")[0] for name in missing}
    empty = [
        sheet.title for sheet in report.sheets(run.findings)[2:]
        if not sheet.rows and not (set(_PARTS_OF.get(sheet.title, ())) & kinds)
    ]  # fmt: skip
    return [*missing, *empty]


_PARTS_OF = {
    "Limits: what binds": ("limits",),
    "Limits: each stage alone, and the command": ("limits",),
    "Peak memory against the limit": ("limits",),
    "WAL: one call": ("calls",),
    "Doing nothing": ("idle",),
    "Waiting": ("idle",),
    "Growth": ("growth",),
    "Dumps: loading through several connections": ("dumps",),
    "Dumps: who compresses the archive": ("dumps",),
    "fsync on restore": ("fsync",),
}
"""Tables that are empty because a part is missing; it is enough to name the part."""


def _behind(run: Run) -> list[str]:
    found = run.findings
    lost, missed = report.sheet_behind(found), report.sheet_missed(found)
    if lost.rows:
        note = (
            "Every peer that took fewer seconds or less CPU for the same work, worst first. Where "
            "rounds overlap, chance may have told who is faster."
        )
        parts = [_markdown(Sheet(lost.title, lost.columns, lost.rows, note))]
    elif duels(standings(found.tries)):
        parts = [f"## {lost.title}\n\nNowhere: no peer took fewer seconds or less CPU."]
    else:
        parts = [f"## {lost.title}\n\nNot known: no peer was measured in this run."]
    if missed.rows:
        parts.append(_markdown(missed))
    elif report.sheet_goals(found).rows:
        parts.append(f"## {missed.title}\n\nNone of those that were measured.")
    return parts


def _markdown(sheet: Sheet) -> str:
    lines = [f"## {sheet.title}", ""]
    if sheet.note:
        lines += [sheet.note, ""]
    lines += [line(sheet.columns), line(["---"] * len(sheet.columns))]
    return "\n".join([*lines, *(line(row) for row in sheet.rows)])


_HEAD = """\
# Performance

Written by `make bench`, by the commands at its end; nothing here is typed by hand. Ratios first: \
they hold on other machines, seconds do not. The same as [JSON](performance.json)."""

_HOW = """\
## How it is measured

- *Contest*: the contestants take turns in every round, on the same cluster, with the same ruler, and with the same level of compression where the table above says no other: one program started, waited for, its process tree watched. One contestant does all its works, and what is left of it is gone before the next begins.
- *Check of what is stored*: every stored byte is read, nothing restored. *Proof by restore*: to a scratch server; pg_amcheck, or amcheck by kb_dr, reads each table and B-tree (no index of another kind, no free space map), each row of the tables recorded is counted, and pg_checksums reads every page of the stopped cluster, where checksums are on.
- *Requests* are counted in a round of their own, up to 500 MiB.
- *S3*: rclone's server, which remembers ETags by its hasher, for all contestants alike: by itself it reads and hashes each object anew whenever it is listed or looked at, as no store does that is made for it.
- *Server read, hashed*: a base backup of the same cluster over the product's own connection, with the digest of its plain bytes, to nowhere.
- *Compress*, *encrypt*, *decrypt*, *decompress*, *digest*: the libraries and programs the product uses, with its settings, from a file in the page cache to nowhere.
- *Upload*, *fetch*: the product's own writer and reader with its digests, checks and number of transfers, on the same repository.
- *Unpack*: `tar x` of the same tar, with the product's record size.
- *Pipeline*: the phase "base backup", or "fetch and unpack", of the real command.
- CPU is that of all processes that took part: the server's backend, the S3 server, the command and its children.
- Peak memory is looked at ten times a second: the high-water mark of the command's own process, and the share (PSS) of its children.

## How to repeat it

```text
COMMANDS
```

- `make bench` alone takes 200 and 2,000 MiB. Each part is kept as soon as it has ended: `--resume` goes on after an interruption, `--from FILE` only writes the page.
- `--only PART` measures parts of that kind, with the sizes, rounds and stores it is given, and writes the page anew: what was measured of the same size through the same store is replaced, all else stays. `--anew` begins with an empty page.
- `--quick` takes tiny sizes, and writes nothing without `--out`: it shows that the bench works. `--help` names the rest."""  # noqa: E501 - one line of the page each
