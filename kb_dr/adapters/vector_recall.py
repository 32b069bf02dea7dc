"""How well a vector index answers: its ten nearest rows against the exact ten nearest.

The same code measures the source and what was restored, over the same stored vectors. Errors of
psycopg pass through; the adapter that calls translates them.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg import sql

NEIGHBOURS = 10
QUERIES = 100
"""Stored vectors asked about, at least, where the table has so many."""

_INDEXES = """
select pg_catalog.format('%I.%I', tn.nspname, t.relname) as "table", a.attname as "column",
       pg_catalog.format('%I.%I', inx.nspname, c.relname) as "index", am.amname as method,
       oc.opcname as operators, a.atttypmod as dimensions, tn.nspname as schema, t.relname as name,
       i.indisvalid as valid
from pg_catalog.pg_index i
join pg_catalog.pg_class c on c.oid = i.indexrelid and c.relkind = 'i'
join pg_catalog.pg_namespace inx on inx.oid = c.relnamespace
join pg_catalog.pg_am am on am.oid = c.relam and am.amname in ('hnsw', 'ivfflat')
join pg_catalog.pg_class t on t.oid = i.indrelid
join pg_catalog.pg_namespace tn on tn.oid = t.relnamespace
join pg_catalog.pg_attribute a on a.attrelid = i.indrelid and a.attnum = i.indkey[0]
join pg_catalog.pg_opclass oc on oc.oid = i.indclass[0]
where i.indpred is null and t.relpersistence = 'p'
order by 1, 3
"""
