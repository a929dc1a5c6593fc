"""What is known of an open episode beyond its trace, as plain values: the same on a server, where it is a row, and in a
folder, where it is the lines of :mod:`atlas.traces.open_log`. A copy of a run takes it from one to the other.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from atlas.jsontext import read_json
from atlas.records import Decision, Prompt, Spend, total
from atlas.traces.encode import line_of
from atlas.traces.format import pack_prompt, unpack_prompt
from atlas.traces.open_log import OPEN, open_lines

State = dict[str, Any]

TALKS = "talks.jsonl"
"""What is kept of the conversations of open episodes. In a folder its lines are others than on a server."""
OWNER = "default"
"""The tenant whose a server's open episodes are: there a tenant has a run of its own."""
AGENT = "agent/"
"""How the owner begins whose an agent's open episodes are: before its arm, and a name of its process."""
_ABOUT = ("id", "task", "arm", "seed")
"""What of an episode on a server stands in its trace as well."""

_DECIDED = ("messages", "observation", "choices", "spend", "age", "outcome", "seconds", "chosen")


class OpenState(NamedTuple):
    """An open episode."""

    state: State
    """As ``WrappedEpisode.state`` has it, without what stands at its beginning in the trace, and its ``answers`` that
    clients may ask for again, by what was asked."""
    owner: str = OWNER
    name: str = ""
    """As its calls named it; empty where they did not."""
    first: str = ""
    """The key of its first call, where it has no name and that is known."""
    moments: tuple[str, ...] = ()
    """Its conversation as far as it was at some moment, the newest last: digests."""
    calls: tuple[str, ...] = ()
    texts: tuple[str, ...] = ()
    """Ids of its calls, and its long answers, which tell its conversation as well."""

    @classmethod
    def of_row(cls, state: State, **talk: Any) -> OpenState:
        """From what a server keeps."""
        kept = {key: value for key, value in state.items() if key not in (*_ABOUT, "owner")}
        return cls({**kept, "answers": dict(state["answers"])}, state.get("owner", OWNER), **talk)

    def row(self, *, id: str, task: State, arm: str, seed: int) -> State:
        """What a server keeps."""
        whole = {**self.state, "id": id, "task": task, "arm": arm, "seed": seed, "owner": self.owner}
        return {**whole, "answers": list(self.state["answers"].items())}

    def lines(self, id: str) -> Iterator[bytes]:
        """What a folder keeps."""
        count, pending = self.state["count"], self.state["pending"]
        written, new, held = Prompt(), [], []
        texts: set[str] = set()
        for index, decided in enumerate(pending, count):
            prompts, named = [], {}
            for choice in decided["choices"]:
                prompt = Prompt.model_validate(choice["prompt"])
                packed, found = pack_prompt(prompt, written)
                prompts.append(packed)
                named.update({key: text for key, text in found.items() if key not in texts})
                texts.update(found)
                written = prompt
            parts = {part: decided[part] for part in ("messages", "observation", "spend", "age")}
            choices = [{**choice, "prompt": {}} for choice in decided["choices"]]
            new.append({"index": index, "kept": 0, **parts, "choices": choices, "prompts": prompts, "texts": named})
            if decided["outcome"] is not None:
                held.append([index, decided["outcome"], decided["seconds"], decided["chosen"]])
        standing = {key: value for key, value in self.state.items() if key not in ("pending", "answers")}
        line = {"type": "open", "episode": id, "owner": self.owner, "state": standing, "waiting": len(pending)}
        yield line_of({**line, "new": new, "held": held}) + b"\n"
        for key, answer in self.state["answers"].items():
            index = answer.get("index", _place(answer, count, pending))
            if index is not None:
                told = {name: answer[name] for name in ("number", "id", "created", "notes")}
                yield line_of({**line, "new": [], "held": [], "answer": {"key": key, **told, "index": index}}) + b"\n"
                if not answer.get("lost"):
                    yield line_of({"type": "had", "episode": id, "key": key}) + b"\n"


def agent_of(owner: str) -> str:
    """The agent, of all processes, whose an owner's open episodes are; empty where they are a server's."""
    return owner.rpartition("/")[0] if owner.startswith(AGENT) else ""


def read_open(folder: Path) -> dict[str, OpenState]:
    """What the folder of a run has of open episodes, by id. What is damaged is left out."""
    found: dict[str, OpenState] = {}
    talks = _talks(folder / TALKS)
    for id, lines in open_lines(folder / OPEN).items():
        owner = _owner(lines)
        if (state := state_of(lines, owner)) is None:
            continue
        state["pending"] = [{part: decided[part] for part in _DECIDED} for decided in state["pending"]]
        for decided in state["pending"]:
            decided["choices"] = [{**c, "prompt": c["prompt"].model_dump(mode="json")} for c in decided["choices"]]
        for answer in state["answers"].values():
            for choice in (answer["decision"], *answer["others"]):
                if isinstance(choice["prompt"], Prompt):
                    choice["prompt"] = choice["prompt"].model_dump(mode="json")
        name, moments = talks.get((owner, id), ("", []))
        found[id] = OpenState(state, owner, name, moments=tuple(moments))
    return found


def write_open(folder: Path, states: Mapping[str, OpenState]) -> None:
    """Keep that of open episodes, and nothing else. Raises OSError."""
    _whole(folder / OPEN, (line for id, state in states.items() for line in state.lines(id)))
    _whole(folder / TALKS, (line_of(one) + b"\n" for id, state in states.items() for one in _talk(id, state)))


def _talk(id: str, open_: OpenState) -> Iterator[dict[str, Any]]:
    yield {"o": open_.owner, "e": id, "n": open_.name, "t": open_.state["started"]}
    for moment in open_.moments:
        yield {"o": open_.owner, "e": id, "m": moment}


def _talks(path: Path) -> dict[tuple[str, str], tuple[str, list[str]]]:
    """The name and the moments of conversations, by tenant and episode."""
    found: dict[tuple[str, str], tuple[str, list[str]]] = {}
    with suppress(FileNotFoundError), path.open("rb") as file:
        for line in file:
            with suppress(ValueError, KeyError, TypeError):  # a line that a kill cut off
                told = read_json(line)
                key = str(told["o"]), str(told["e"])
                if "t" in told:
                    found[key] = str(told.get("n") or ""), []
                elif told.get("over"):
                    found.pop(key, None)
                elif key in found:
                    found[key][1].append(bytes.fromhex(told["m"]).hex())
    return found


def _whole(path: Path, lines: Iterable[bytes]) -> None:
    """Write a file as a whole or not at all, for nobody else to read; none where there are no lines."""
    content = b"".join(lines)
    if not content:
        path.unlink(missing_ok=True)
        return
    made = path.with_name(f"{path.name}.new")
    with open(os.open(made, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    os.replace(made, path)


def _owner(lines: Sequence[bytes]) -> str:
    for line in reversed(lines):
        with suppress(ValueError, KeyError, TypeError):
            return str(read_json(line)["owner"])
    return OWNER


def _place(answer: State, count: int, pending: Sequence[State]) -> int | None:
    """Which open decision an answer told; None where that is recorded by now."""
    told = _said(answer["decision"])
    places = (place for place in reversed(range(len(pending))) if _said(pending[place]["choices"][0]) == told)
    return next((count + place for place in places), None)


def _said(choice: State) -> tuple[object, ...]:
    said = Decision.model_validate(choice)
    return said.actor, said.text, said.tool_calls


def state_of(lines: Iterable[bytes], owner: str) -> State | None:
    """What the lines of an open episode of ``owner`` say, as ``WrappedEpisode.state`` has it but for what stands at
    its beginning in the trace; and its answers that clients may ask for again, by what was asked. None where it is
    another's, or lines are missing."""
    last: State = {}
    decided: dict[int, State] = {}
    answers: dict[str, State] = {}
    had: set[str] = set()
    before = Prompt()
    messages: list[Any] = []
    texts: dict[str, str] = {}
    try:
        for told in map(read_json, lines):
            if told["type"] == "had":
                had.add(told["key"])
                continue
            if told["owner"] != owner:
                return None
            last = told
            for new in told["new"]:
                texts.update(new["texts"])
                messages = [*_first(messages, new["kept"]), *new["messages"]]
                choices = []
                for choice, packed in zip(new["choices"], new["prompts"], strict=True):
                    before = unpack_prompt(packed, before, texts)
                    choices.append({**choice, "prompt": before})
                decided[new["index"]] = {**new, "choices": choices, "messages": messages, **_OPEN}
            for index, outcome, seconds, chosen in told["held"]:
                decided[index] |= {"outcome": outcome, "seconds": seconds, "chosen": chosen}
            if (answer := told.get("answer")) is not None:
                answers[answer["key"]] = answer
                had.discard(answer["key"])
        count = last["state"]["count"]
        pending = [decided[index] for index in range(count, count + last["waiting"])]
        kept = {
            key: {**_answer(answer, decided[answer["index"]]), "lost": key not in had}
            for key, answer in answers.items()
            if answer["index"] >= count
        }
    except (ValueError, KeyError, TypeError, IndexError):
        return None
    return {**last["state"], "pending": pending, "answers": kept}


_OPEN: State = {"outcome": None, "seconds": 0.0, "chosen": 0}


def _first(messages: Sequence[Any], kept: int) -> Sequence[Any]:
    if kept > len(messages):
        raise ValueError("the line before is missing")
    return messages[:kept]


def _answer(answer: State, decided: State) -> State:
    """As ``atlas.serve.moving.kept_answer`` has it."""
    first, *others = decided["choices"]
    spend = [Spend.model_validate(spent) for spent in decided["spend"]]
    model = next((spent.model for spent in spend if spent.actor == first["actor"]), first["actor"])
    return {
        **answer,
        "decision": first,
        "others": others,
        "usage": total(spend).model_dump(mode="json"),
        "model": model,
    }
