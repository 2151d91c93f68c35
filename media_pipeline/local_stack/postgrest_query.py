"""Requests to SQL: the subset of PostgREST's query language that the stand-in answers.

Every name is checked against the catalogue and quoted by psycopg; values are parameters.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from psycopg import sql

from media_pipeline.local_stack.postgrest_errors import ApiError, unsupported

_COMPARISONS = {"eq": "=", "neq": "<>", "gt": ">", "gte": ">=", "lt": "<", "lte": "<="}
_IS = {"null": "null", "true": "true", "false": "false", "not_null": "not null"}
_RESERVED = {"select", "order", "limit", "offset", "on_conflict", "columns"}


@dataclass(frozen=True, slots=True)
class Table:
    """A table or view and the types of its columns."""

    schema: str
    name: str
    columns: Mapping[str, str]

    @property
    def identifier(self) -> sql.Composed:
        return sql.SQL("{}.{}").format(sql.Identifier(self.schema), sql.Identifier(self.name))

    def column(self, name: str) -> sql.Identifier:
        if name not in self.columns:
            raise ApiError(
                400, "PGRST204" if name else "PGRST100",
                f"Could not find the '{name}' column of '{self.name}' in the schema cache",
            )  # fmt: skip
        return sql.Identifier(name)


Parts = Iterable[tuple[str, str]]


def select_sql(table: Table, parts: Parts) -> tuple[sql.Composed, list[Any]]:
    """`select ... from table where ... order ... limit`, with its parameters."""
    parts = list(parts)
    options = {name: value for name, value in parts if name in _RESERVED}
    where, values = where_sql(table, parts)
    statement = sql.SQL("select {} from {}{}{}").format(
        _columns(table, options.get("select")),
        table.identifier,
        where,
        _order(table, options.get("order")),
    )
    for word in ("limit", "offset"):
        if word in options:
            statement += sql.SQL(f" {word} {_number(options[word], word)}")
    return statement, values


def count_sql(table: Table, parts: Parts) -> tuple[sql.Composed, list[Any]]:
    """How many rows the filters leave, whatever the limit."""
    where, values = where_sql(table, list(parts))
    return sql.SQL("select count(*) from {}{}").format(table.identifier, where), values


def where_sql(table: Table, parts: Sequence[tuple[str, str]]) -> tuple[sql.Composable, list[Any]]:
    """Filters joined by `and`; empty when there is none."""
    conditions: list[sql.Composable] = []
    values: list[Any] = []
    for name, text in parts:
        if name in _RESERVED:
            continue
        if name in ("or", "and", "not.or", "not.and") or "." in name or "->" in name:
            raise unsupported(f"the filter {name!r}")
        condition, more = _condition(table, name, text)
        conditions.append(condition)
        values += more
    if not conditions:
        return sql.SQL(""), []
    return sql.SQL(" where ") + sql.SQL(" and ").join(conditions), values


def _condition(table: Table, name: str, text: str) -> tuple[sql.Composable, list[Any]]:
    column = table.column(name)
    operator, dot, operand = text.partition(".")
    if not dot:
        raise ApiError(400, "PGRST100", f'failed to parse filter ({text}) for "{name}"')
    typed = sql.SQL("%s::" + _type(table, name))
    if operator in _COMPARISONS:
        comparison = sql.SQL(f" {_COMPARISONS[operator]} ")
        return sql.Composed([column, comparison, typed]), [operand]
    if operator == "is" and operand in _IS:
        return sql.Composed([column, sql.SQL(f" is {_IS[operand]}")]), []
    if operator == "like":
        return sql.Composed([column, sql.SQL(" like %s")]), [operand.replace("*", "%")]
    if operator == "in" and operand.startswith("(") and operand.endswith(")"):
        items = next(csv.reader([operand[1:-1]], escapechar="\\", doublequote=False), [])
        array = sql.SQL(" = any(%s::" + _type(table, name) + "[])")
        return sql.Composed([column, array]), [items]
    raise unsupported(f"the operator {operator!r}")


def _type(table: Table, name: str) -> str:
    # From the catalogue (format_type), never from the request.
    return table.columns[name]


def _columns(table: Table, text: str | None) -> sql.Composable:
    if text is None or text == "*":
        return sql.SQL("*")
    if "(" in text or ":" in text or "->" in text:
        raise unsupported("embedding, aliases and JSON paths in select")
    return sql.SQL(", ").join(table.column(name.strip()) for name in text.split(","))


def _order(table: Table, text: str | None) -> sql.Composable:
    if not text:
        return sql.SQL("")
    terms = []
    for term in text.split(","):
        name, *modifiers = term.split(".")
        if not set(modifiers) <= {"asc", "desc", "nullsfirst", "nullslast"}:
            raise ApiError(400, "PGRST100", f"failed to parse order ({text})")
        words = " ".join(word.replace("nulls", "nulls ") for word in modifiers)
        terms.append(table.column(name) + sql.SQL(f" {words}"))
    return sql.SQL(" order by ") + sql.SQL(", ").join(terms)


def _number(text: str, word: str) -> int:
    if not text.isdigit():
        raise ApiError(400, "PGRST100", f"failed to parse {word} ({text})")
    return int(text)


def insert_sql(
    table: Table, columns: Sequence[str], *, on_conflict: str | None, resolution: str | None
) -> sql.Composed:
    """Bulk insert or upsert of the rows in one JSON array parameter."""
    names = [table.column(name) for name in columns]
    listed = sql.SQL(", ").join(names)
    record = sql.SQL("jsonb_populate_record(null::{}, item)").format(table.identifier)
    statement = sql.SQL(
        "insert into {} ({}) select {} from jsonb_array_elements(%s::jsonb) as item, {} as r"
    ).format(
        table.identifier,
        listed,
        sql.SQL(", ").join(sql.SQL("r.") + name for name in names),
        record,
    )
    if resolution is None:
        return statement
    target = (
        sql.SQL(" ({})").format(
            sql.SQL(", ").join(table.column(name) for name in on_conflict.split(","))
        )
        if on_conflict
        else sql.SQL("")
    )
    statement += sql.SQL(" on conflict") + target
    if resolution == "ignore-duplicates":
        return statement + sql.SQL(" do nothing")
    assignments = sql.SQL(", ").join(
        sql.SQL("{} = excluded.{}").format(name, name) for name in names
    )
    return statement + sql.SQL(" do update set ") + assignments


def update_sql(
    table: Table, columns: Sequence[str], parts: Sequence[tuple[str, str]]
) -> tuple[sql.Composed, list[Any]]:
    """PATCH: every filtered row gets the values of one JSON object parameter (the first)."""
    where, values = where_sql(table, parts)
    assignments = sql.SQL(", ").join(
        sql.SQL("{} = r.{}").format(table.column(name), table.column(name)) for name in columns
    )
    source = sql.SQL("jsonb_populate_record(null::{}, %s::jsonb)").format(table.identifier)
    statement = sql.SQL("update {} set {} from {} as r{}").format(
        table.identifier, assignments, source, _qualified(table, where)
    )
    return statement, values


def _qualified(table: Table, where: sql.Composable) -> sql.Composable:
    """Names in the filter must mean the table, not the record `r` beside it."""
    if not isinstance(where, sql.Composed):
        return where
    return sql.Composed(
        [
            sql.SQL("{}.{}").format(table.identifier, part)
            if isinstance(part, sql.Identifier)
            else _qualified(table, part)
            if isinstance(part, sql.Composed)
            else part
            for part in where
        ]
    )
