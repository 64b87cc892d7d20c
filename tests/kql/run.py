"""Run KQL on DuckDB: reads cases from standard input, and writes the rows of each. Needs requirements.txt."""

import importlib
import json
import sys
from typing import Any

SCHEMAS = {
    "AppMetrics": "TimeGenerated TIMESTAMP, Name VARCHAR, Sum DOUBLE, Min DOUBLE, Max DOUBLE, ItemCount INTEGER, "
    "Properties JSON",
    "AppTraces": "TimeGenerated TIMESTAMP, Message VARCHAR, SeverityLevel INTEGER, OperationId VARCHAR, "
    "Properties JSON",
}
"""The columns that the queries may use, as the published schema of the tables has them."""


def rows_of(query: str, tables: dict[str, list[list[Any]]]) -> list[dict[str, Any]]:
    """Return the rows that a query finds in a workspace that has these tables and no others."""
    kql = importlib.import_module("duckdb_kql")
    connection = kql.connect()
    for name, rows in tables.items():
        columns = SCHEMAS[name]
        connection.execute(f"CREATE TABLE {name} ({columns})")
        if rows:
            marks = ", ".join("?" * len(rows[0]))
            connection.executemany(f"INSERT INTO {name} VALUES ({marks})", rows)  # noqa: S608  # our own names
    found = kql.query(connection, query)
    return [dict(zip(found.columns, row, strict=True)) for row in found.fetchall()]


if __name__ == "__main__":
    json.dump([rows_of(case["query"], case["tables"]) for case in json.load(sys.stdin)], sys.stdout, default=str)
