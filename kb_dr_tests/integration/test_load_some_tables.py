"""Some tables of real archives, of the oldest and of the newest major: with all that is theirs."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from kb_dr.adapters.database_server import PostgresDatabases
from kb_dr.domain.select_entries import select_entries
from kb_dr_tests.made_archives import dump, loader
from kb_dr_tests.postgres_servers import RunningCluster, programs_of, source_settings

_SHOP = (
    'create schema "Other"',
    'create extension hstore schema "Other"',
    "create type mood as enum ('good', 'bad')",
    "create domain small as int constraint positive check (value > 0)",
    "create collation sorted (provider = libc, locale = 'C')",
    "create function noted() returns trigger language plpgsql as $$begin return new; end$$",
    "create function one() returns int language sql immutable as $$select 1$$",
    "create sequence shared start 5",
    "create table other (id int primary key)",
    "insert into other values (1), (2)",
    'create table "Items" (id serial primary key, n bigint generated always as identity,'
    " m mood default 'good', s small, t text collate sorted, h \"Other\".hstore,"
    " k int default nextval('shared'), d int default one(), o int references other)",
    'alter table "Items" add constraint later check (d > 0) not valid',
    'create unique index items_t on "Items" (t)',
    'create statistics items_s on k, d from "Items"',
    'create trigger note before insert on "Items" for each row execute function noted()',
    'create rule nothing as on delete to "Items" do instead nothing',
    'alter table "Items" enable row level security',
    'create policy mine on "Items" using (true)',
    'create policy theirs on "Items" using (exists (select from other))',
    "comment on column \"Items\".t is 'a text'",
    'grant select on "Items" to "ro le; 1"',
    "insert into \"Items\" (t, h, s, o) values ('a', 'a=>1', 3, 1), ('b', null, 4, 2)",
    "create table measured (at int, v text, primary key (at)) partition by range (at)",
    "create index measured_v on measured (v)",
    "create table measured_1 partition of measured for values from (0) to (10)",
    "create table measured_2 partition of measured for values from (10) to (20)",
    "insert into measured values (1, 'x'), (11, 'y')",
    'create view item_view as select * from "Items"',
)
_ABOUT_ITEMS = (
    'select * from "Items" order by id',
    "select nextval('\"Items_id_seq\"'), nextval('shared'), nextval('\"Items_n_seq\"')",
    "select polname from pg_policy order by 1",
    "select tgname from pg_trigger where not tgisinternal",
    "select conname from pg_constraint where conrelid = '\"Items\"'::regclass and contype <> 'n'"
    " order by 1",
    "select indexrelid::regclass::text from pg_index where indrelid = '\"Items\"'::regclass"
    " order by 1",
    "select stxname from pg_statistic_ext",
    "select rulename from pg_rewrite where ev_class = '\"Items\"'::regclass",
    "select relrowsecurity, relacl::text from pg_class where relname = 'Items'",
    "select col_description('\"Items\"'::regclass, 5)",
    "select relname from pg_class where relkind in ('r', 'p', 'v') and relnamespace = "
    "'public'::regnamespace order by 1",
)


@pytest.fixture(scope="module", params=[14, 18])
def shop(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RunningCluster]:
    """Of the oldest and of the newest major, which write their archives differently."""
    directory = tmp_path_factory.mktemp("shop")
    with RunningCluster(programs_of(request.param), directory) as cluster:
        for each in ('create role "ro le; 1"', "create database shop"):
            cluster.query(each)
        for each in _SHOP:
            cluster.query(each, database="shop")
        yield cluster
    shutil.rmtree(directory)


def test_one_table_of_an_archive_comes_back_with_all_that_is_its_own(
    shop: RunningCluster, tmp_path: Path
) -> None:
    made = dump(shop, "shop", tmp_path / "shop.dump")
    program, server = loader(shop), PostgresDatabases(source_settings(shop))
    contents = program.contents(made)
    chosen = select_entries(contents, tables=["Items", "public.MEASURED"])
    server.create("again")
    schemas = contents.extension_schemas
    server.create_extensions("again", {"hstore": "1.8"}, schemas)

    program.load(made, "again", jobs=2, entries=chosen.entries)

    expected = [shop.query(each, database="shop") for each in _ABOUT_ITEMS]
    seen = [shop.query(each, database="again") for each in _ABOUT_ITEMS]
    assert seen[:2] == expected[:2]
    assert seen[2:] == [
        [("mine",)],
        [("note",)],
        [each for each in expected[4] if each != ("Items_o_fkey",)],
        *expected[5:10],
        [("Items",), ("measured",), ("measured_1",), ("measured_2",)],
    ]
    assert shop.query("select * from measured order by 1", database="again") == [
        (1, "x"),
        (11, "y"),
    ]
    assert shop.query("select 1 from pg_index where not indisvalid", database="again") == []
    assert chosen.tables == (
        ("public", "Items"),
        ("public", "measured"),
        ("public", "measured_1"),
        ("public", "measured_2"),
    )
    assert [each.split(" stays out")[0] for each in chosen.notes] == [
        'fk constraint public."Items Items_o_fkey"',
        'policy public."Items theirs"',
        "view public.item_view",
    ]
    server.drop("again")


def test_one_partition_or_a_whole_schema_comes_back_by_itself(
    shop: RunningCluster, tmp_path: Path
) -> None:
    made = dump(shop, "shop", tmp_path / "shop.dump", form="directory")
    program, server = loader(shop), PostgresDatabases(source_settings(shop))
    contents = program.contents(made)
    server.create("again")

    part = select_entries(contents, tables=["public.measured_2"])
    program.load(made, "again", jobs=1, entries=part.entries)

    assert shop.query("select * from measured", database="again") == [(11, "y")]
    server.drop("again")
    server.create("again")
    everything = select_entries(contents, schemas=["public", "Other"])
    program.load(made, "again", jobs=2, entries=everything.entries)
    for each in _ABOUT_ITEMS:
        assert shop.query(each, database="again") == shop.query(each, database="shop"), each
    server.drop("again")
