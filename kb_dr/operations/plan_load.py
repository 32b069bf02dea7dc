"""Work out how a dump is loaded into a database, and refuse what cannot be or must not be."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from kb_dr.domain.database_mark import DatabaseMark
from kb_dr.domain.dump import DatabaseShape, DumpFormat
from kb_dr.domain.dump_target import ServerLook
from kb_dr.domain.load_plan import LoadPlan, LocalDump, Part, StoredDump, What
from kb_dr.domain.space import Space
from kb_dr.domain.wording import moment, size
from kb_dr.errors import (
    ConfigurationError,
    NotEnoughSpace,
    RecoveryError,
    ServiceUnhealthy,
    TargetIsProduction,
    TargetLacks,
)
from kb_dr.operations.select_part import select_part

LONGEST_NAME = 63
"""Bytes of the name of a database."""
_BUILT_IN = "plpgsql"


@dataclass(frozen=True, slots=True)
class Asked:
    """Where a dump is to be loaded."""

    server: str
    """For people: host, port and user."""
    url: Callable[[str], str]
    """The address of a database there, to be typed again."""
    name: str | None
    """The database, as it is to be called; None: one beside that under protection."""
    replace: bool
    is_own_server: bool
    """Whether it is the server the settings name, by its address."""


@dataclass(frozen=True, slots=True)
class Known:
    """What the installation knows of its own."""

    service: str
    database: str
    """The database under protection."""
    system_identifier: int | None
    """Of its server; None when it does not answer."""
    expected_schema: str | None
    migrates: bool
    """Whether a command brings the schema to what is expected."""
    stamp: str


def plan_load(
    what: What,
    part: Part,
    asked: Asked,
    known: Known,
    look: ServerLook,
    marks: dict[str, DatabaseMark],
    space: Space,
) -> LoadPlan:
    """Everything load_dump() would do; nothing is changed.

    Raises TargetLacks (a version, extension or role), RecoveryError (a standby, a name that is
    taken, or not there), NotEnoughSpace, ConfigurationError for words that do not go together,
    ServiceUnhealthy when the schema could not be what the application expects.
    """
    _refuse_words(what, part, asked)
    _refuse_server(look, asked)
    _refuse_older(what, look, asked)
    target = asked.name or known.database
    is_known = target == known.database and is_own_server(asked, known, look)
    stamp = free_stamp(target, look, known.stamp)
    made, replaces, kept = _names(target, asked, look, stamp)
    extensions = _extensions(what)
    _refuse_extensions(extensions, look)
    missing = _missing_roles(what, part, look)
    spooled = what.manifest.plain_bytes if isinstance(what, StoredDump) else 0
    if space.free_bytes < spooled:
        raise NotEnoughSpace(
            f"restore {_named(what)}: {size(space.free_bytes)} free in the scratch directory, "
            f"expected {size(spooled)}",
            hint="Nothing was changed. Make room there, or point KB_DR_SCRATCH_DIR elsewhere.",
        )
    if isinstance(what, LocalDump) and what.contents is not None and not part.is_whole:
        select_part(what.contents, part)
    notes = [*_notes(what, part, asked, known, marks), *_schema(what, part, asked, known)]
    return LoadPlan(
        what=what,
        part=part,
        service=known.service,
        server=asked.server,
        url=asked.url(replaces or made),
        system_identifier=look.system_identifier,
        made=made,
        replaces=replaces,
        kept=kept,
        production=asked.replace and is_known,
        # A file names none: then that of the database it stands for, whatever a new one has here.
        shape=_shape(what) or look.shapes.get(target),
        extensions=extensions,
        make_roles=missing,
        spooled_bytes=spooled,
        expected_schema=known.expected_schema,
        stamp=stamp,
        notes=tuple(notes),
    )


def require_consent(plan: LoadPlan, *, force_production: bool, typed: str | None) -> None:
    """Return when the database may be replaced.

    Raises TargetIsProduction unless production was forced, ConfigurationError unless the name of
    the service was typed.
    """
    if not plan.production:
        return
    if not force_production:
        raise TargetIsProduction(
            f"replace database {plan.replaces}: it is production of service {plan.service} "
            f"(system identifier {plan.system_identifier})",
            hint=f"Nothing was changed. To replace it: --force-production, and type "
            f"{plan.service} when asked, or give --confirm-service {plan.service} --yes.",
        )
    if typed != plan.service:
        raise ConfigurationError(
            f"replace database {plan.replaces}: the service typed is {typed or 'none'!r}, "
            f"expected {plan.service!r}",
            hint=f"Nothing was changed. Give --confirm-service {plan.service}, or type it when "
            "asked.",
        )


def with_contents(plan: LoadPlan, extensions: Sequence[str], look: ServerLook) -> LoadPlan:
    """The plan once the archive itself was read: it may need more than its manifest names."""
    more = {name: "" for name in extensions if name not in (*plan.extensions, _BUILT_IN)}
    _refuse_extensions(more, look)
    # Without a version that is known, the server's own.
    return replace(plan, extensions={**{n: _newest(look, n) for n in more}, **plan.extensions})


def kept_name(name: str, word: str, stamp: str) -> str:
    """What a database is called beside another: ``kb_before_20261120-020000``.

    A long name is cut short, so that the whole is a name PostgreSQL takes.
    """
    ending = f"_{word}_{stamp}"
    room = LONGEST_NAME - len(ending)
    return name.encode()[:room].decode(errors="ignore") + ending


def _refuse_words(what: What, part: Part, asked: Asked) -> None:
    plain = isinstance(what, LocalDump) and what.form is DumpFormat.PLAIN
    if asked.replace and not part.is_whole:
        raise ConfigurationError(
            f"replace database {asked.name or ''}: with --table or --schema the rest of it would "
            "be gone",
            hint="Restore the part beside, without --replace, and copy over what you need.",
        )
    if plain and not part.is_whole:
        raise ConfigurationError(
            f"restore {_named(what)}: no part of a plain file can be restored alone",
            hint="Nothing was changed. Restore all of it beside, without --table and --schema, and "
            "copy over what you need.",
        )
    if plain and not (part.owners and part.grants):
        raise ConfigurationError(
            f"restore {_named(what)}: a plain file sets owners and grants itself",
            hint="Nothing was changed. Create the roles that are missing with --globals instead "
            "of --no-owners and --no-grants.",
        )


def _refuse_server(look: ServerLook, asked: Asked) -> None:
    if look.in_recovery:
        raise RecoveryError(
            f"restore into {asked.server}: it is a standby",
            hint="Nothing was changed. Name its primary.",
        )
    if not look.may_create:
        raise TargetLacks(
            f"restore into {asked.server}: our role may not create databases there",
            hint="Nothing was changed. ALTER ROLE … CREATEDB, or connect as another role: --into "
            "postgresql://USER@HOST:PORT/NAME.",
        )


def _refuse_older(what: What, look: ServerLook, asked: Asked) -> None:
    major = what.manifest.source.major if isinstance(what, StoredDump) else what.major
    if look.major < major:
        raise TargetLacks(
            f"restore into {asked.server}: it is PostgreSQL {look.major}, expected {major} or "
            f"newer, which {_named(what)} was dumped from",
            hint="Nothing was changed. A dump goes into the same major version or a newer one: "
            "what an older one lacks would be lost.",
        )


def is_own_server(asked: Asked, known: Known, look: ServerLook) -> bool:
    """Told by address and by what the server is: one server has many addresses.

    While the service's own cannot be asked what it is, any other may be it.
    """
    return asked.is_own_server or known.system_identifier in (None, look.system_identifier)


def _names(
    target: str, asked: Asked, look: ServerLook, stamp: str
) -> tuple[str, str | None, str | None]:
    """The database that is made, the one it replaces, and what that is called then."""
    if asked.replace:
        if target not in look.databases:
            raise RecoveryError(
                f"replace database {target}: there is none on {asked.server}",
                hint="Nothing was changed. Without --replace, and with --into, it is made.",
            )
        made, kept = kept_name(target, "restored", stamp), kept_name(target, "before", stamp)
        _refuse_taken((made, kept), asked, look)
        return made, target, kept
    made = kept_name(target, "restored", stamp) if asked.name is None else target
    _refuse_taken((made,), asked, look)
    return made, None, None


def free_stamp(target: str, look: ServerLook, stamp: str) -> str:
    """One that no database made before bears: two may be made within a second."""
    number, free = 1, stamp
    while any(each.startswith(target[:20]) and each.endswith(free) for each in look.databases):
        number += 1
        free = f"{stamp}-{number}"
    return free


def _refuse_taken(names: Sequence[str], asked: Asked, look: ServerLook) -> None:
    for name in names:
        if not name or len(name.encode()) > LONGEST_NAME:
            raise ConfigurationError(
                f"restore into {asked.server}: a database cannot be called {name!r}",
                hint=f"Nothing was changed. A name has 1 to {LONGEST_NAME} bytes.",
            )
        if name in look.databases:
            raise RecoveryError(
                f"restore into {asked.server}: there is a database {name} already",
                hint="Nothing was changed. Name another with --into; --replace replaces one.",
            )


def _extensions(what: What) -> dict[str, str]:
    if isinstance(what, StoredDump):
        found = what.manifest.source.extensions
    elif what.head is not None:
        found = what.head.extensions
    else:
        found = dict.fromkeys(what.extensions, "")
    return {name: version for name, version in found.items() if name != _BUILT_IN}


def _refuse_extensions(extensions: dict[str, str], look: ServerLook) -> None:
    lacking = sorted(set(extensions) - set(look.extensions))
    if lacking:
        raise TargetLacks(
            f"restore: the server does not have what extensions are needed: {', '.join(lacking)}",
            hint="Nothing was changed. Install what is named on the server's machine (vector is "
            "postgresql-MAJOR-pgvector, postgis postgresql-MAJOR-postgis-3), then run it again.",
        )


def _newest(look: ServerLook, name: str) -> str:
    return look.extensions[name][-1]


def _missing_roles(what: What, part: Part, look: ServerLook) -> tuple[str, ...]:
    """Those that are missing and wanted: to be created, or else refused."""
    if not part.owners and not part.grants:
        return ()
    if isinstance(what, StoredDump):
        wanted = what.manifest.dump.roles if what.manifest.dump is not None else ()
    elif part.owners:
        wanted = what.roles
    else:
        wanted = ()
    missing = tuple(sorted(set(wanted) - set(look.roles)))
    if missing and not part.make_roles:
        plain = isinstance(what, LocalDump) and what.form is DumpFormat.PLAIN
        raise TargetLacks(
            f"restore {_named(what)}: the server does not have the roles that own something or "
            f"are granted something: {', '.join(missing)}",
            hint="Nothing was changed. --globals creates them without a login"
            + ("." if plain else "; --no-owners --no-grants does without."),
        )
    return missing


def _shape(what: What) -> DatabaseShape | None:
    dump = what.manifest.dump if isinstance(what, StoredDump) else None
    return dump.shape if dump is not None else None


def _schema(what: What, part: Part, asked: Asked, known: Known) -> list[str]:
    """A schema the application does not expect is said beside, and refused in its place."""
    if isinstance(what, StoredDump):
        recorded = what.manifest.source.schema_version
    elif what.head is not None:
        recorded = what.head.schema_version
    else:
        return []
    expected = known.expected_schema
    if expected is None or not part.is_whole or recorded == expected:
        return []
    seen = f"schema version {recorded or 'none'}, the application expects {expected}"
    if not asked.replace:
        return [f"WARNING: {seen}"]
    if not known.migrates:
        raise ServiceUnhealthy(
            f"replace with {_named(what)}: the application cannot work with it: {seen}",
            hint="Nothing was changed. Set KB_DR_MIGRATIONS_COMMAND, which brings it there; or "
            "restore beside, without --replace.",
        )
    return [f"{seen}: KB_DR_MIGRATIONS_COMMAND is run before it takes over"]


def _notes(
    what: What, part: Part, asked: Asked, known: Known, marks: dict[str, DatabaseMark]
) -> list[str]:
    notes = []
    if isinstance(what, StoredDump):
        manifest = what.manifest
        notes += [f"passed over: {each}" for each in what.passed_over]
        notes.append(
            f"the server needs room for about {size(manifest.source.size_bytes)}; how much it has "
            "cannot be told from here"
        )
        taken = moment(manifest.started)
    else:
        notes.append(what.checksum)
        notes.append("how much room the server has cannot be told from here")
        if what.rows is None:
            notes.append("no row counts are recorded in it: there is nothing to compare with")
        taken = "it was taken"
    if asked.replace:
        notes.append(f"what was written since {taken} is only in the database that is kept")
        if known.system_identifier is None:
            notes.append(
                "the server under protection does not answer: any database of its name may be it"
            )
    if part.make_roles:
        notes.append("roles that are missing are created without a login, and stay")
    notes += [
        f"database {name} was left by a restore that is at work, or was killed: if none is, "
        f"DROP DATABASE {quoted(name)}"
        for name, mark in sorted(marks.items())
        if not mark.complete
    ]
    return notes


def quoted(name: str) -> str:
    """A name as SQL takes it."""
    return '"{}"'.format(name.replace('"', '""'))


def _named(what: What) -> str:
    return what.manifest.id if isinstance(what, StoredDump) else str(what.path)
