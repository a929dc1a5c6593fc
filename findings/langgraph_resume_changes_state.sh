#!/usr/bin/env bash
# A thread that LangGraph resumes from a checkpoint goes on with another state than one that was not interrupted: the checkpoint's
# serializer gives back values of another type, or without a part of what they held, and raises nothing (its warning is of types
# that it does not know, not of what is lost). Nodes before the interrupt see the values as they were made, those behind it what
# was read back, with InMemorySaver already.
# Seen with langgraph==1.2.24, langgraph-checkpoint==4.3.2, pydantic==2.14.4 (before -> after the interrupt):
#   deque(maxlen=2)                                       -> a deque without a bound: a window of recent turns grows for good
#   a pydantic model with aliases                         -> one made without validation, whose inner model is a dict
#   a pydantic model in a field that names its base       -> the base class; what the subclass added is gone
#   a field with exclude=True, or a private attribute     -> its default
#   tuple, defaultdict, Counter                           -> list, dict, dict
# A numpy.float32 (numpy==2.4.6) is refused as soon as a checkpoint is written (TypeError), and works without a checkpointer.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q langgraph==1.2.24 langgraph-checkpoint==4.3.2 pydantic==2.14.4 numpy==2.4.6
cat >"$folder/seen.py" <<'PY'
from collections import Counter, defaultdict, deque
from typing import Any

import numpy as np
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import END, START, StateGraph
from langgraph.types import Command, interrupt
from pydantic import BaseModel, Field, PrivateAttr
from typing_extensions import TypedDict


class Place(BaseModel):
    name: str


class Order(BaseModel):
    place: Place = Field(alias="shipTo")


class Action(BaseModel):
    pass


class Search(Action):
    query: str


class Step(BaseModel):
    action: Action


class Session(BaseModel):
    turns: int = 0
    secret: str = Field("none", exclude=True)
    _tries: int = PrivateAttr(0)


class State(TypedDict):
    values: dict[str, Any]


def fill(state):
    session = Session(secret="kept")
    session._tries = 3
    return {"values": {
        "window": deque(["a", "b"], maxlen=2),
        "order": Order(shipTo=Place(name="Rome")),
        "step": Step(action=Search(query="cats")),
        "session": session,
        "pair": (1, 2),
        "votes": Counter("aab"),
        "by_key": defaultdict(list),
    }}


def looked_at(values):
    values["window"].append("c")
    return {
        "window": list(values["window"]),
        "place": type(values["order"].place).__name__,
        "action": type(values["step"].action).__name__,
        "session": (values["session"].secret, values["session"]._tries),
        "types": [type(values[name]).__name__ for name in ("pair", "votes", "by_key")],
    }


def use(wait):
    def node(state):
        if wait:
            interrupt("ask")
        seen.append(looked_at(state["values"]))
        return {}
    return node


def graph(wait):
    builder = StateGraph(State)
    builder.add_node("fill", fill)
    builder.add_node("use", use(wait))
    builder.add_edge(START, "fill")
    builder.add_edge("fill", "use")
    builder.add_edge("use", END)
    return builder.compile(checkpointer=InMemorySaver())


seen = []
graph(False).invoke({"values": {}}, {"configurable": {"thread_id": "1"}})
waiting, thread = graph(True), {"configurable": {"thread_id": "1"}}
waiting.invoke({"values": {}}, thread)
waiting.invoke(Command(resume="yes"), thread)
straight, resumed = seen
for name in straight:
    print(f"{name}: {straight[name]} -> {resumed[name]}")
assert straight == {
    "window": ["b", "c"], "place": "Place", "action": "Search", "session": ("kept", 3),
    "types": ["tuple", "Counter", "defaultdict"],
}
assert resumed == {
    "window": ["a", "b", "c"], "place": "dict", "action": "Action", "session": ("none", 0), "types": ["list", "dict", "dict"],
}


def score(state):
    return {"values": {"score": np.float32(0.5)}}


def scored(saver):
    builder = StateGraph(State)
    builder.add_node("score", score)
    builder.add_edge(START, "score")
    builder.add_edge("score", END)
    try:
        builder.compile(checkpointer=saver).invoke({"values": {}}, {"configurable": {"thread_id": "1"}})
    except TypeError as error:
        return str(error)
    return "taken"


print("numpy.float32:", scored(None), "|", scored(InMemorySaver()))
assert scored(None) == "taken" and "not msgpack serializable" in scored(InMemorySaver())
PY
"$folder/venv/bin/python" "$folder/seen.py"
