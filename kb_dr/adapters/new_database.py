"""An empty database of a given shape, and the extensions that go into it first."""

from collections.abc import Mapping

import psycopg
from psycopg import errors, sql

from kb_dr.adapters.postgres_session import Session, what_was_seen
from kb_dr.domain.dump import DatabaseShape
from kb_dr.errors import PostgresError, RecoveryError, TargetLacks

_LONGEST = 63
"""Bytes of a name; PostgreSQL cuts off what is longer."""

_PROVIDERS_SINCE = 15
_BUILTIN_SINCE = 17

_NO_SUCH_SHAPE = (
    errors.FeatureNotSupported,
    errors.InvalidObjectDefinition,
    errors.InvalidParameterValue,
    errors.SyntaxError,
    errors.UndefinedObject,
    errors.WrongObjectType,
)

_BUILT_IN = ("plpgsql",)
"""In every new database."""

_PACKAGES = {"postgis": "postgis-3", "vector": "pgvector"}
"""What an extension is called by Debian and Ubuntu, after ``postgresql-MAJOR-``."""

_VERSIONS = """
select v.name::text, v.version, v.version = e.default_version, v.requires::text[],
       v.schema is not null
from pg_catalog.pg_available_extension_versions v
join pg_catalog.pg_available_extensions e on e.name = v.name
"""


def create_database(asked: Session, name: str, shape: DatabaseShape | None) -> None:
    """As `kb_dr.ports.DatabaseServer.create`."""
    if not name or len(name.encode()) > _LONGEST:
        raise RecoveryError(
            f"create database {name!r}: {len(name.encode())} bytes, expected 1 to {_LONGEST}"
        )
    options = _options(asked.info.server_version // 10000, name, shape) if shape else []
    statement = sql.SQL(" ").join(
        [
            sql.SQL("create database {} template template0").format(sql.Identifier(name)),
            *(
                sql.SQL("{} {}").format(sql.SQL(word), sql.Literal(value))
                for word, value in options
            ),
        ]
    )
    try:
        asked.execute(statement)
    except errors.DuplicateDatabase as error:
        raise RecoveryError(f"create database {name}: there is one already") from error
    except errors.InsufficientPrivilege as error:
        raise PostgresError(
            f"create database {name}: {what_was_seen(error)}",
            hint="Give the role CREATEDB, or connect as another one.",
        ) from error
    except _NO_SUCH_SHAPE as error:
        if shape is None:
            raise
        raise _lacks(name, shape, what_was_seen(error)) from error


def create_extensions(
    asked: Session, extensions: Mapping[str, str], schemas: Mapping[str, str]
) -> tuple[str, ...]:
    """As `kb_dr.ports.DatabaseServer.create_extensions`."""
    rows = asked.execute(_VERSIONS).fetchall()
    versions = {(name, version): requires or [] for name, version, _, requires, _ in rows}
    usual = {name: version for name, version, default, _, _ in rows if default}
    # Those have it in their control file, and make it themselves where it is not there.
    settled = {(name, version) for name, version, _, _, fixed in rows if fixed}
    wanted = {name: each for name, each in extensions.items() if name not in _BUILT_IN}
    known = {name for name, _ in versions}
    lacking = sorted(set(wanted) - known)
    if lacking:
        raise _not_available(asked, lacking)
    notes = []
    chosen: dict[str, str] = {}
    for name, version in wanted.items():
        if (name, version) in versions:
            chosen[name] = version
        elif name in usual:
            chosen[name] = usual[name]
            notes.append(f"extension {name}: version {usual[name]}, was {version}")
        else:
            raise TargetLacks(
                f"create extension {name}: the server has neither version {version} nor a default"
            )
    for name in _ordered(chosen, versions):
        fixed = (name, chosen[name]) in settled
        _create(asked, name, chosen[name], None if fixed else schemas.get(name))
    return tuple(notes)


def _options(major: int, name: str, shape: DatabaseShape) -> list[tuple[str, str]]:
    options = [
        ("encoding", shape.encoding),
        ("lc_collate", shape.collate),
        ("lc_ctype", shape.ctype),
    ]
    if major < _PROVIDERS_SINCE:
        if shape.provider != "libc":
            raise _lacks(name, shape, f"it has none before version {_PROVIDERS_SINCE}")
        return options
    options.append(("locale_provider", shape.provider))
    if shape.provider == "icu":
        options.append(("icu_locale", shape.locale or ""))
    if shape.provider == "builtin":
        if major < _BUILTIN_SINCE:
            raise _lacks(name, shape, f"it has none before version {_BUILTIN_SINCE}")
        options.append(("builtin_locale", shape.locale or ""))
    return options


def _lacks(name: str, shape: DatabaseShape, seen: str) -> TargetLacks:
    locale = shape.locale or f"{shape.collate}, {shape.ctype}"
    return TargetLacks(
        f"create database {name}: locale {locale} of provider {shape.provider}, "
        f"encoding {shape.encoding}: {seen}",
        hint="Nothing was changed. Install the locale on the server's machine, or restore into "
        "a server that has it.",
    )


def _not_available(asked: Session, lacking: list[str]) -> TargetLacks:
    major = asked.info.server_version // 10000
    packages = [f"postgresql-{major}-{_PACKAGES[each]}" for each in lacking if each in _PACKAGES]
    return TargetLacks(
        f"create extensions: the server does not have {', '.join(lacking)}",
        hint="Nothing was changed. Install them on the server's machine"
        + (f" (of Debian: {' '.join(packages)})" if packages else "")
        + ", then run it again.",
    )


def _ordered(chosen: Mapping[str, str], versions: Mapping[tuple[str, str], list[str]]) -> list[str]:
    """Each after those it requires."""
    done: dict[str, None] = {}
    under_way: set[str] = set()

    def add(name: str) -> None:
        if name in done or name in under_way or name not in chosen:
            return
        under_way.add(name)
        for each in versions[name, chosen[name]]:
            add(each)
        done[name] = None

    for name in chosen:
        add(name)
    return list(done)


def _create(asked: Session, name: str, version: str, schema: str | None) -> None:
    try:
        with asked.transaction():
            where: sql.Composable = sql.SQL("")
            if schema is not None:
                where = sql.SQL("schema {}").format(sql.Identifier(schema))
                _make_schema(asked, schema)
            # One that another requires, and the source did not list, comes by itself.
            asked.execute(
                sql.SQL("create extension if not exists {} {} version {} cascade").format(
                    sql.Identifier(name), where, sql.Literal(version)
                )
            )
    except psycopg.OperationalError:
        raise
    except psycopg.Error as error:
        raise TargetLacks(
            f"create extension {name} {version}: {what_was_seen(error)}",
            hint="Nothing was loaded. Create it as a superuser, or make the server ready for it.",
        ) from error


def _make_schema(asked: Session, schema: str) -> None:
    there = asked.execute(
        "select 1 from pg_catalog.pg_namespace where nspname = %s", [schema]
    ).fetchone()
    if there is None:
        asked.execute(sql.SQL("create schema {}").format(sql.Identifier(schema)))
