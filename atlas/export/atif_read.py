"""ATIF trajectories as episodes: those of other agents, and our own exports, which come back as they were."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from atlas.actions import ChatActions
from atlas.errors import DataError
from atlas.evaluators import success
from atlas.export.atif import OWN, conversation, messages_of, stable_of, tool_calls_of
from atlas.export.atif_schema import Trajectory, Turn, text_of
from atlas.export.folder import MANIFEST
from atlas.export.rows import PARTS
from atlas.records import (
    TEACHER,
    Decision,
    Episode,
    Message,
    Observation,
    Prompt,
    Reply,
    Spend,
    Step,
    Stop,
    Task,
    Usage,
    View,
    by_actor,
    content_hash,
)
from atlas.traces.reader import Run
from atlas.traces.writer import RunWriter

SETTINGS = {"kind": "imported", "format": "atif"}
_ANY = View(task=Task(id="", goal=""), opening="")


def trajectories(paths: Sequence[Path]) -> Iterator[tuple[str, Trajectory]]:
    """(where it is from, trajectory) for all files; a folder stands for the ``*.json`` in it and below it.

    Subagents' trajectories come after the one they are part of. Raises DataError for what is no trajectory.
    """
    for path in paths:
        files = sorted(p for p in path.rglob("*.json") if p.name != MANIFEST) if path.is_dir() else [path]
        if not files:
            raise DataError(f"{path} holds no trajectories (*.json): name the files or the folder they are in")
        for file in files:
            yield from _with_parts(file.stem, _parse(file))


def _parse(file: Path) -> Trajectory:
    try:
        return Trajectory.model_validate(json.loads(file.read_text(encoding="utf-8")))
    except OSError as error:
        raise DataError(f"{file} cannot be read ({error.strerror}): name a file with an ATIF trajectory") from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "the document"
        raise DataError(
            f"{file} is no ATIF trajectory of version 1 ({where}: {first['msg']}): export it again"
        ) from error
    except (ValueError, RecursionError) as error:
        raise DataError(f"{file} is no JSON document ({str(error)[:80]}): export the trajectory again") from error


def _with_parts(name: str, found: Trajectory) -> Iterator[tuple[str, Trajectory]]:
    yield found.trajectory_id or name, found
    for number, part in enumerate(found.subagent_trajectories or (), 1):
        yield from _with_parts(f"{name}.{number}", part)


def import_into(
    folder: str | Path, paths: Sequence[Path], *, actor: str = TEACHER, scores: Mapping[str, float] | None = None
) -> tuple[int, int]:
    """Write trajectories to the run ``folder``; how many were written, and how many were in it already.

    ``actor`` is who acted in those of other agents, ``scores`` what they were worth, by trajectory id or file name.
    Our own exports have both. All files are read before anything is written.
    """
    found = [episode_of(name, trajectory, actor, scores or {}) for name, trajectory in trajectories(paths)]
    written = 0
    with RunWriter(folder, SETTINGS) as writer:
        there = {result.id for result in Run(folder).results()}
        for episode, steps in found:
            if episode.id in there:
                continue
            there.add(episode.id)
            written += 1
            writer.start(episode.id, episode.arm, episode.task, episode.seed, episode.config)
            for step in steps:
                writer.step(episode.id, step)
            writer.end(episode.model_copy(update={"run": writer.name}))
    return written, len(found) - written


def episode_of(
    name: str, trajectory: Trajectory, actor: str = TEACHER, scores: Mapping[str, float] | None = None
) -> tuple[Episode, list[Step]]:
    """The episode and the steps that a trajectory holds."""
    own = (trajectory.extra or {}).get(OWN)
    if isinstance(own, dict) and "episode" in own:
        try:
            return Episode.model_validate(own["episode"]), list(_own_steps(trajectory))
        except (ValidationError, KeyError, TypeError) as error:
            raise DataError(f"the trajectory {name} was changed after atlas exported it: export it again") from error
    steps = list(_steps(trajectory, actor))
    return _episode(name, trajectory, steps, (scores or {}).get(name)), steps


def _own_steps(trajectory: Trajectory) -> Iterator[Step]:
    for turn, stable, talk in _agent_turns(trajectory):
        own = (turn.extra or {})[OWN]
        told = own.get("history")
        prompt = Prompt(
            stable=own.get("stable", stable),
            history=tuple(talk) if told is None else tuple(Message.model_validate(m) for m in told),
            tools=tuple(own.get("tools", trajectory.agent.tool_definitions or ())),
            **{field: own["prompt"].get(field, "") for field in PARTS.values()},
        )
        step = own["step"]
        yield Step.model_validate({**step, "decision": {**step["decision"], "prompt": prompt}})


def _agent_turns(trajectory: Trajectory) -> Iterator[tuple[Turn, str, list[Message]]]:
    """The agent's own turns, each with the system message and the conversation before it."""
    stable, talk = stable_of(trajectory.steps), list[Message]()
    for i, turn in enumerate(trajectory.steps):
        if turn.source == "agent" and not turn.is_copied_context:
            yield turn, stable, list(talk)
        talk.extend(_said(i, turn))


# --- of other agents --------------------------------------------------------------------------------------------------


def _steps(trajectory: Trajectory, actor: str) -> Iterator[Step]:
    turns = list(_agent_turns(trajectory))
    whole = conversation(trajectory.steps)
    for index, (turn, stable, talk) in enumerate(turns):
        model = turn.model_name or trajectory.agent.model_name or trajectory.agent.name
        following = turns[index + 1][2] if index + 1 < len(turns) else whole
        calls = tool_calls_of(turn)
        text = text_of(turn.message)
        parsed = ChatActions().parse(Reply(text=text, tool_calls=calls), _ANY)
        last = index + 1 == len(turns)
        yield Step(
            index=index,
            observation=_seen(talk),
            decision=Decision(
                action=parsed.action or "",
                actor=actor,
                reason="imported" if parsed.action else "no-action",
                thought=turn.reasoning_content or "",
                text=text,
                tool_calls=calls,
                prompt=Prompt(stable=stable, history=tuple(talk), tools=trajectory.agent.tool_definitions or ()),
            ),
            outcome=Observation(text=_texts(following[len(talk) + 1 :]), done=last),
            spend=(Spend(actor=actor, model=model, usage=_usage(turn)),),
            seconds=_seconds(turn, None if last else turns[index + 1][0]),
        )


def _said(index: int, turn: Turn) -> list[Message]:
    """What a turn adds to the conversation; the system message at the beginning is no part of it."""
    return [] if index == 0 and turn.source == "system" else messages_of(turn)


def _seen(talk: Sequence[Message]) -> str:
    """What was shown since the agent last spoke."""
    spoke = max((i for i, message in enumerate(talk) if message.role == "assistant"), default=-1)
    return _texts(talk[spoke + 1 :])


def _texts(messages: Sequence[Message]) -> str:
    return "\n".join(m.content for m in messages if m.role != "system" and m.content)


def _usage(turn: Turn) -> Usage:
    """What a turn used, as it says; tokens and dollars that it does not tell are unknown."""
    metrics = turn.metrics
    if metrics is None:
        return Usage(calls=1, dollars=None, unmetered=1)
    return Usage(
        calls=1,
        prompt_tokens=metrics.prompt_tokens or 0,
        cached_tokens=metrics.cached_tokens or 0,
        completion_tokens=metrics.completion_tokens or 0,
        dollars=metrics.cost_usd,
        unmetered=int(metrics.prompt_tokens is None or metrics.completion_tokens is None),
    )


def _episode(name: str, trajectory: Trajectory, steps: Sequence[Step], score: float | None) -> Episode:
    users = [turn for turn in trajectory.steps if turn.source == "user"]
    times = [at for at in (_time(turn) for turn in trajectory.steps) if at is not None]
    spend = by_actor(s for step in steps for s in step.spend)
    identity: Any = trajectory.model_dump(mode="json", exclude={"subagent_trajectories"})
    return Episode(
        id=content_hash([name, identity], 12),
        run="",
        arm=trajectory.agent.name,
        task=Task(id=name, goal=text_of(users[0].message) if users else name),
        seed=0,
        config=content_hash(trajectory.agent.model_dump(mode="json")),
        stop=Stop.DONE,
        score=score,
        success=success(score),
        steps=len(steps),
        teacher_steps=sum(step.decision.actor == TEACHER for step in steps),
        spend=spend,
        seconds=max(times) - min(times) if times else 0.0,
        started=min(times) if times else 0.0,
    )


def _seconds(turn: Turn, after: Turn | None) -> float:
    began, ended = _time(turn), _time(after) if after else None
    return max(0.0, ended - began) if began is not None and ended is not None else 0.0


def _time(turn: Turn) -> float | None:
    if turn.timestamp is None:
        return None
    try:
        return datetime.fromisoformat(turn.timestamp.replace("Z", "+00:00")).timestamp()
    except (ValueError, OverflowError):
        return None
