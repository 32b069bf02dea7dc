"""docs/performance.md: everything on it is worked out from one run."""

from kb_dr_tests.bench import report
from kb_dr_tests.bench.contest import duels, standings
from kb_dr_tests.bench.goals import size
from kb_dr_tests.bench.kept import Run
from kb_dr_tests.bench.machine_facts import QUIET_CORES
from kb_dr_tests.bench.report import Sheet, line

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
    empty = [sheet.title for sheet in shown if not sheet.rows]
    if empty:
        parts.append("## Not measured in this run\n\n" + "; ".join(empty) + ".")
    parts.append(_HOW.replace("ARGUMENTS", arguments(run)))
    return "\n\n".join(parts) + "\n"


def machine(run: Run) -> str:
    """What it was measured on, in one paragraph."""
    asked, on = run.asked, run.machine
    ended = [part.ended_at for part in run.parts.values()]
    versions = ", ".join(f"{name} {version}" for name, version in on.versions.items())
    peers = ", ".join(f"{each.name} {each.version}" for each in run.findings.facts)
    sizes = ", ".join(f"{mib} MiB" for mib in asked.sizes_mib)
    when = f" from {min(ended):%Y-%m-%d %H:%M} to {max(ended):%H:%M} UTC" if ended else ""
    if ended and min(ended).date() != max(ended).date():
        when = f" from {min(ended):%Y-%m-%d} to {max(ended):%Y-%m-%d}"
    text = (
        f"Measured{when} on {on.cores} cores ({on.processor}), {size(on.memory_bytes)} of "
        f"memory, {on.disk} ({on.sync_milliseconds:.2f} ms to force a block of 8 KiB to it, "
        f"{on.sync_mib_per_second:.0f} MiB/s with a force every 16 MiB), {on.kernel}; everything "
        f"on the same machine, the S3 server too. {versions}. "
        + (f"Contestants: {peers}. " if peers else "")
        + f"Sizes: {sizes or 'none'}; {asked.segments} segments of WAL; rounds: {asked.rounds}, in "
        "which the contestants take turns. What is read was read once before. Load before: "
        f"{run.load_before:.2f}; others kept at most {run.busy_cores:.2f} cores busy before any "
        f"part. "
    )
    if run.was_quiet:
        return text + "The machine was quiet."
    return text + (
        f"**The machine was not quiet** (that is less than {QUIET_CORES} cores): seconds say "
        "little, CPU and memory hold."
    )


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


def arguments(run: Run) -> str:
    """The words that ask for the same run."""
    asked = run.asked
    sizes = ",".join(str(mib) for mib in asked.sizes_mib) or "0"
    return (
        f"--mib {sizes} --rounds {asked.rounds} --segments {asked.segments}"
        f" --dump-mib {asked.dump_mib}" + "".join(f' --store "{store}"' for store in asked.stores)
    )


_HEAD = """\
# Performance

Written by `make bench`; nothing here is typed by hand. Ratios first: they hold on other machines, \
seconds do not. The same as [JSON](performance.json)."""

_HOW = """\
## How it is measured

- *Contest*: the contestants take turns in every round, on the same cluster, with the same ruler, and with the same level of compression where the table above says no other: one program started, waited for, its process tree watched. What is left of one is gone before the next begins.
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
make bench BENCH_ARGS='ARGUMENTS'
```

- `make bench` alone takes 200 and 2,000 MiB. Each part is kept as soon as it has ended: `--resume` goes on after an interruption, `--only PART` measures one part again and writes the page anew, `--from FILE` only writes the page.
- `--quick` takes tiny sizes and writes nothing: it shows that the bench works. `--help` names the rest."""  # noqa: E501 - one line of the page each
