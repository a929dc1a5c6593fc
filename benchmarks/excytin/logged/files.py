"""The benchmark's files of logged runs, ``agent_incident_N.json`` and ``env_incident_N.json``, as records.

An ``agent`` file holds the whole conversation, what was used and the judge's replies, for each trial. An ``env`` file
holds what the environment saw: bare queries, observations, the submitted answer. It has neither thoughts nor tokens.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import lzma
import re
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from atlas.benchmarks.excytin.actions import Submit, action_of, parse
from atlas.errors import DataError
from atlas.jsontext import read_json
from atlas.records import Message, Record, content_hash

_FILE = re.compile(r"(agent|env)_incident_(\d+)\.json(?:\.(?:xz|gz))?")
_RESULTS = re.compile(r"[A-Za-z]*Agent_(?P<model>.+?)_c\d+_")
"""How the benchmark names a folder of results: ``BaselineAgent_gpt-4.1_c1001_alert_level_t0_s25_trial1``."""
_THOUGHT = re.compile(r"^\s*Thought:\s*")


class Tokens(Record):
    """What one model used in one trial, as logged."""

    model: str
    """With its date, as the provider named it."""
    prompt: int
    cached: int
    completion: int


class LoggedStep(Record):
    observation: str
    """What was seen before acting."""
    action: str
    """``execute[...]`` or ``submit[...]`` where the agent kept to the form."""
    outcome: str
    """What was seen after it; empty after a submission."""
    thought: str = ""
    text: str = ""
    """The reply as the model wrote it; empty where only the action was logged."""


class LoggedRun(Record):
    """One trial of one question."""

    model: str
    incident: int
    form: str
    """``agent`` or ``env``: which kind of file it is from."""
    nodes: str
    """The question's alerts, first and last, as the benchmark names it: ``137-136``."""
    context: str
    question: str
    golden: str
    solution: tuple[str, ...]
    trial: int
    reward: float
    system: str = ""
    steps: tuple[LoggedStep, ...]
    submitted: str | None
    """The answer that was judged; None where none was."""
    complete: bool
    """Whether the log shows how it ended: False where the agent's program failed before its next action."""
    tokens: tuple[Tokens, ...]
    """Empty where none were logged: then what it cost is not known."""
    answer_said: str = ""
    """What the judge last said of the answer."""
    solution_said: str = ""
    """What it last said of the steps of the solution, as JSON; empty where it was not asked."""
    judge_calls: int = 0

    @property
    def text(self) -> str:
        return f"{self.context} {self.question}".strip()

    @property
    def key(self) -> str:
        """The same question in any file of its incident."""
        return content_hash([self.context, self.question, self.golden])

    @property
    def messages(self) -> tuple[Message, ...]:
        """The conversation up to the first reply; each step adds its reply and what was seen after it."""
        return (Message(role="user", content=self.steps[0].observation),) if self.steps else ()


class LoggedFile(Record):
    name: str
    """Folder and file, which is how the benchmark tells runs apart."""
    sha256: str
    model: str
    incident: int
    form: str
    entries: int
    runs: tuple[LoggedRun, ...]


def read_file(path: Path) -> LoggedFile:
    """One file of logged runs, also packed with xz or gzip. The folder's name is the model's.

    Raises:
        DataError: it is not there, is not named like one, or is truncated or damaged.
    """
    named = _FILE.fullmatch(path.name)
    if not named:
        raise DataError(f"{path} is not named like a file of logged runs: agent_incident_N.json or env_incident_N.json")
    folder = path.resolve().parent.name
    found = _RESULTS.match(folder)
    model, form, incident = (found["model"] if found else folder), named[1], int(named[2])
    try:
        raw = path.read_bytes()
        entries = read_json(_unpacked(raw, path.suffix))
        read = _agent_runs if form == "agent" else _env_runs
        runs = [run for entry in entries for run in read(entry, model, incident)]
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror or error}): name a file of logged runs") from error
    except (EOFError, lzma.LZMAError, zlib.error, ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(f"{path} is not a whole file of logged runs ({error!r}): get it again") from error
    return LoggedFile(
        name=f"{folder}/{path.name}",
        sha256=hashlib.sha256(raw).hexdigest(),
        model=model,
        incident=incident,
        form=form,
        entries=len(entries),
        runs=tuple(runs),
    )


def _unpacked(raw: bytes, suffix: str) -> bytes:
    if suffix == ".xz":
        return lzma.decompress(raw)
    return gzip.decompress(raw) if suffix == ".gz" else raw


def _agent_runs(entry: Mapping[str, Any], model: str, incident: int) -> Iterator[LoggedRun]:
    for number, trial in entry["trials"].items():
        messages = [Message(role=m["role"], content=m["content"]) for m in trial["messages"]]
        if len(messages) < 2 or messages[0].role not in ("system", "user") or messages[1].role != "user":
            raise ValueError("a conversation that does not begin with the rules and the question")
        info = trial["info"] or {}
        steps = []
        for place in range(2, len(messages), 2):
            seen, reply, *after = messages[place - 1 : place + 2]
            if seen.role != "user" or reply.role != "assistant":
                raise ValueError("a conversation in which replies and observations do not take turns")
            thought, action = _parts(reply.content)
            steps.append(
                LoggedStep(
                    observation=seen.content,
                    action=action,
                    outcome=after[0].content if after else "",
                    thought=thought,
                    text=reply.content,
                )
            )
        yield _run(
            entry["question_dict"],
            info,
            model=model,
            incident=incident,
            form="agent",
            trial=int(number),
            reward=float(trial["reward"]),
            system=messages[0].content,
            steps=tuple(steps),
            complete="submit" in info,
            tokens=_tokens(trial.get("usage_summary")),
        )


def _env_runs(entry: Mapping[str, Any], model: str, incident: int) -> Iterator[LoggedRun]:
    question = entry["question"]
    seen = f"{question['context']} {question['question']}".strip()
    steps: list[LoggedStep] = []
    info: dict[str, Any] = {}
    for step in entry["trajectory"]:
        info = step.get("info") or {}
        action = f"submit[{step['action']}]" if info.get("submit") else f"execute[{step['action']}]"
        steps.append(LoggedStep(observation=seen, action=action, outcome=step["observation"]))
        seen = step["observation"]
    yield _run(
        question,
        info,
        model=model,
        incident=incident,
        form="env",
        trial=0,
        reward=float(entry["reward"]),
        steps=tuple(steps),
        complete=bool(steps),
        tokens=(),
    )


def _run(question: Mapping[str, Any], info: Mapping[str, Any], **rest: Any) -> LoggedRun:
    solution_said = info.get("check_sol_reflection")
    return LoggedRun(
        nodes=f"{question['start_alert']}-{question['end_alert']}",
        context=str(question["context"]),
        question=str(question["question"]),
        golden=str(question["answer"]),
        solution=tuple(map(str, question["solution"])),
        submitted=str(info["submitted_answer"]) if "submitted_answer" in info else None,
        answer_said=info.get("check_ans_reflection", ""),
        solution_said=json.dumps(solution_said, ensure_ascii=False) if isinstance(solution_said, dict) else "",
        judge_calls=sum(name.startswith("check_") for name in info),
        **rest,
    )


def _parts(reply: str) -> tuple[str, str]:
    """Thought and action of a reply, the action in the form ``submit[...]`` or ``execute[...]`` where it has one."""
    action = action_of(reply)
    thought = _THOUGHT.sub("", reply[: reply.find("Action:")]).strip() if "Action:" in reply else ""
    return thought, action


def _tokens(summary: Mapping[str, Any] | None) -> tuple[Tokens, ...]:
    found = []
    for model, used in (summary or {}).items():
        if not used.get("prompt_tokens"):
            continue
        details = used.get("prompt_tokens_details") or {}
        found.append(
            Tokens(
                model=model,
                prompt=used["prompt_tokens"],
                cached=details.get("cached_tokens") or 0,
                completion=used["completion_tokens"],
            )
        )
    return tuple(found)


def answer_of(action: str) -> str | None:
    """The answer that an action submits; None for a query."""
    asked = parse(action)
    return asked.answer if isinstance(asked, Submit) else None
