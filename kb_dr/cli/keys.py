"""`kb-dr keys`: whether what is stored can still be opened."""

import click

from kb_dr.cli.opened import from_option, installation, json_option, parse_backup_id, progress
from kb_dr.cli.output import print_json, print_table
from kb_dr.domain.key_check import KeyCheck
from kb_dr.errors import KeyMissing, NoUsableBackup, VerificationError


@click.group("keys")
def command() -> None:
    """The age keys that backups and WAL are encrypted to."""


@command.command("check")
@from_option(None)
@click.option("--every-file", is_flag=True, help="Try each WAL file, not the ends of ranges.")
@json_option
def check(copy: str | None, every_file: bool, as_json: bool) -> None:
    """Try the header of everything retained with the identities held here.

    Of each copy, or one. Exits 18 when something opens with none of them: with the key that was
    lost, those backups are lost. 60 when something cannot be tried because it is damaged. It says
    nothing of what lies behind the headers: only a proof does.
    """
    opened = installation()
    found = opened.check_keys((copy,) if copy else opened.copies, every_file=every_file)
    recipients = opened.codec.recipients
    if as_json:
        print_json({"passed": found.passed, "check": found, "recipients": recipients})
    else:
        _print(found, recipients)
    _require(found)


@command.command("re-encrypt")
@click.argument("backup_id", metavar="ID")
@click.option("--yes", is_flag=True, help="Do it; without, only say what would be done.")
@json_option
def re_encrypt(backup_id: str, yes: bool, as_json: bool) -> None:
    """Store a retained full backup, or dump, anew, encrypted to the recipients configured now.

    It gets an id of its own, a second after the old one's, in every copy; the old one stays until
    retention lets go of it, once the new one is proven. The WAL the backup needs is encrypted
    anew in its place: each old file goes when the new one stands and was read back.
    """
    opened = installation()
    backup = parse_backup_id(backup_id)
    opened.check_reencryptable(backup)
    if not yes and as_json:
        print_json(
            {"would": str(backup), "copies": opened.copies, "recipients": opened.codec.recipients}
        )
        return
    if not yes:
        click.echo(
            f"would encrypt {backup} and the WAL it needs anew, in {', '.join(opened.copies)}, to "
            f"{', '.join(opened.codec.recipients)}; --yes does it"
        )
        return
    done, elsewhere = opened.reencrypt(backup, progress())
    wal = (done.wal, *elsewhere)
    new = done.stored.manifest.id
    if as_json:
        print_json({"old": done.old, "new": new, "digest": done.stored.digest, "wal": wal})
        return
    print_table(
        f"{done.old} is {new} now" + (", as an earlier run left it" if done.already else ""),
        ("copy", "WAL files", "encrypted anew"),
        ((each.copy, each.files, each.anew) for each in wal),
        caption=f"Prove it: kb-dr verify {new}",
    )


def _print(found: KeyCheck, recipients: tuple[str, ...]) -> None:
    print_table(
        "What was tried",
        ("copy", "what", "objects", "not opened"),
        (
            (copy, subject, objects, bad or "-")
            for (copy, subject), (objects, bad) in sorted(found.by_subject.items())
        ),
        caption="" if found.looked else "nothing is stored yet",
    )
    print_table(
        "Keys",
        ("public key", "held here", "new backups", "opens", "opens alone"),
        (
            (
                name,
                "yes" if name in found.identities else "NO",
                "yes" if name in recipients else "no",
                found.opens.get(name, 0),
                found.alone.get(name, 0),
            )
            for name in dict.fromkeys((*found.identities, *recipients))
        ),
        caption="Lose a key that opens something alone, and that is lost with it.",
    )
    if found.bad:
        print_table(
            "Not opened",
            ("copy", "what", "object", "why"),
            (
                (each.copy, each.subject, each.key, each.problem or "no identity here opens it")
                for each in found.bad
            ),
            caption=f"{found.closed - len(found.bad)} more are not named"
            if found.closed > len(found.bad)
            else "",
        )


def _require(found: KeyCheck) -> None:
    if not found.looked:
        raise NoUsableBackup("check keys: nothing is stored in any copy")
    foreign = [each for each in found.bad if not each.problem]
    if foreign:
        raise KeyMissing(
            f"check keys: {len(foreign)} of {found.looked} headers open with no identity here, "
            f"the first: {foreign[0].key} in {foreign[0].copy}",
            hint="Find the identity for one of the recipients `kb-dr show ID` names, and add it to "
            "the file of KB_DR_AGE_IDENTITY_FILE; else take new backups now: these are lost.",
        )
    if found.bad:
        raise VerificationError(
            f"check keys: {found.closed} of {found.looked} could not be tried: "
            f"{found.bad[0].key} in {found.bad[0].copy}: {found.bad[0].problem}",
            hint="Treat that copy as damaged: `kb-dr copy --repair` mends it from another.",
        )
