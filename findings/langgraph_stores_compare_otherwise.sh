#!/usr/bin/env bash
# One filter, three of LangGraph's own stores, three answers. With $gt, $gte, $lt and $lte InMemoryStore and SqliteStore compare
# numbers as numbers; PostgresStore compares their texts, in which 10 comes before 9. An agent whose memory was tried on one of
# the first two finds other memories in production, without an error.
# Seen with langgraph-checkpoint==4.3.2, langgraph-checkpoint-sqlite==3.1.2, langgraph-checkpoint-postgres==3.2.0 (on PGlite
# 0.5.14, which is PostgreSQL compiled to WASM; needs node and npm), and items whose scores are 9, 10, 100:
#   {"score": {"$gt": 9}}         in memory and SQLite: 10, 100    PostgreSQL: none
#   {"score": {"$lt": 50}}        in memory and SQLite: 9, 10      PostgreSQL: 10, 100
#   {"score": {"$gte": 10}}       in memory and SQLite: 10, 100    PostgreSQL: all three
#   {"day": {"$gt": "2026-01"}}   in memory: ValueError            SQLite and PostgreSQL: those from then on
#   {"who": {"name": "ann"}}      in memory: hers                  SQLite and PostgreSQL: ValueError, "Unsupported operator: name"
set -euo pipefail
folder=$(mktemp -d)
server=
trap '[ -z "$server" ] || kill "$server" || true; rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q langgraph-checkpoint==4.3.2 langgraph-checkpoint-sqlite==3.1.2 \
    langgraph-checkpoint-postgres==3.2.0 'psycopg[binary]==3.3.9'
(cd "$folder" && npm init -y >/dev/null && npm install --silent --no-audit --no-fund @electric-sql/pglite@0.5.14 \
    @electric-sql/pglite-socket@0.2.17)
port=$(python3 -c 'import socket; s = socket.create_server(("127.0.0.1", 0)); print(s.getsockname()[1])')
node "$folder/node_modules/.bin/pglite-server" --db=memory:// --host=127.0.0.1 --port="$port" >"$folder/log" 2>&1 &
server=$!
cat >"$folder/seen.py" <<'PY'
import sqlite3
import sys
import time

import psycopg
from langgraph.store.memory import InMemoryStore
from langgraph.store.postgres import PostgresStore
from langgraph.store.sqlite import SqliteStore
from psycopg.rows import dict_row

address = f"postgresql://postgres@127.0.0.1:{sys.argv[1]}/postgres?sslmode=disable"
for attempt in range(240):
    try:
        connection = psycopg.connect(address, autocommit=True, prepare_threshold=None, row_factory=dict_row)
        break
    except psycopg.OperationalError:
        time.sleep(0.5)
else:
    raise SystemExit("PGlite did not start")
stores = {
    "memory": InMemoryStore(),
    "sqlite": SqliteStore(sqlite3.connect(":memory:", check_same_thread=False, isolation_level=None)),
    "postgres": PostgresStore(connection),
}
FILTERS = [
    {"score": {"$gt": 9}}, {"score": {"$lt": 50}}, {"score": {"$gte": 10}}, {"day": {"$gt": "2026-01"}}, {"who": {"name": "ann"}},
]


def found(store, wanted):
    try:
        return sorted(item.value["score"] for item in store.search(("notes",), filter=wanted))
    except ValueError as error:
        return str(error)


seen = {}
for name, store in stores.items():
    if name != "memory":
        store.setup()
    store.put(("notes",), "a", {"score": 9, "day": "2025-12-30", "who": {"name": "bob"}})
    store.put(("notes",), "b", {"score": 10, "day": "2026-01-02", "who": {"name": "ann"}})
    store.put(("notes",), "c", {"score": 100, "day": "2026-02-03", "who": {"name": "bob"}})
    seen[name] = [found(store, wanted) for wanted in FILTERS]
for row in zip(FILTERS, *seen.values()):
    print(*row, sep="  |  ")
no_operator = "Unsupported operator: name"
assert seen["memory"][:3] == seen["sqlite"][:3] == [[10, 100], [9, 10], [10, 100]]
assert seen["postgres"][:3] == [[], [10, 100], [9, 10, 100]]
assert "could not convert string to float" in seen["memory"][3] and seen["memory"][4] == [10]
assert seen["sqlite"][3:] == seen["postgres"][3:] == [[10, 100], no_operator]
PY
"$folder/venv/bin/python" "$folder/seen.py" "$port"
