#!/usr/bin/env bash
# Three things about the semantic search of LangGraph's InMemoryStore (langgraph-checkpoint==4.3.2, langgraph==1.2.22) that an
# agent's memory meets, each on valid input:
#   - A batch in which two texts to be embedded are equal is refused: ValueError, "Number of embeddings (1) does not match number
#     of indices (2)". One `put` of a value that holds the same text twice in an indexed list is such a batch.
#   - An item that is put again with index=False is still found, first, by the text that it had before.
#   - A search without a query honours `offset`; with a query, items that were never embedded are given by `limit` alone, so a
#     later page shows again what an earlier one showed.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q langgraph==1.2.22 langgraph-checkpoint==4.3.2 numpy
cat >"$folder/seen.py" <<'PY'
from langgraph.store.base import PutOp
from langgraph.store.memory import InMemoryStore


def embed(texts):
    """A vector that tells how many of each vowel a text has."""
    return [[float(text.count(vowel)) + 0.01 for vowel in "aeiou"] for text in texts]


def fresh(fields):
    return InMemoryStore(index={"dims": 5, "embed": embed, "fields": fields})


seen = {}

store = fresh(["text"])
try:
    store.batch([PutOp(("notes",), "a", {"text": "same"}), PutOp(("notes",), "b", {"text": "same"})])
    seen["two items with one text"] = "taken"
except ValueError as error:
    seen["two items with one text"] = str(error)
try:
    fresh(["parts[*]"]).put(("notes",), "a", {"parts": ["same", "same"]})
    seen["one item with one text twice"] = "taken"
except ValueError as error:
    seen["one item with one text twice"] = str(error)

store = fresh(["text"])
store.put(("notes",), "a", {"text": "aaaa"})
store.put(("notes",), "b", {"text": "aaee"})
store.put(("notes",), "a", {"text": "iiii"}, index=False)
found = store.search(("notes",), query="aaaa")
seen["put again unindexed"] = [(item.key, item.value["text"], round(item.score, 2)) for item in found if item.score]

store = fresh(["text"])
for number in range(4):
    store.put(("notes",), f"n{number}", {"text": "a"}, index=False)
pages = {query: [[item.key for item in store.search(("notes",), query=query, limit=2, offset=offset)] for offset in (0, 2)]
         for query in (None, "a")}
seen["pages"] = pages

for name, what in seen.items():
    print(name, "->", what)
refused = "Number of embeddings (1) does not match number of indices (2)"
assert seen == {
    "two items with one text": refused,
    "one item with one text twice": refused,
    "put again unindexed": [("a", "iiii", 1.0), ("b", "aaee", 0.71)],
    "pages": {None: [["n0", "n1"], ["n2", "n3"]], "a": [["n0", "n1"], ["n0", "n1"]]},
}
PY
"$folder/venv/bin/python" "$folder/seen.py"
