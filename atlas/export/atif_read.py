"""ATIF trajectories as episodes: those of other agents, and our own exports, which come back as they were."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

from pydantic import ValidationError

from atlas.actions import ChatActions
from atlas.errors import DataError
from atlas.evaluators import success
from atlas.export.atif import OWN, messages_of, stable_of, tool_calls_of
from atlas.export.atif_files import Found, scored, trajectories
from atlas.export.atif_schema import Trajectory, Turn, text_of
from atlas.export.atif_spend import episode_spend, step_spend
from atlas.export.atif_talk import Own, own_turns
from atlas.export.rows import DISPATCHED, PARTS, UNTOLD
from atlas.records import (
    TEACHER,
    Decision,
    Episode,
    Message,
    Observation,
    Prompt,
    Reply,
    Step,
    Stop,
    Task,
    View,
    content_hash,
)
from atlas.traces.reader import Run
from atlas.traces.writer import RunWriter

SETTINGS = {"kind": "imported", "format": "atif", "reading": 2}
"""``reading`` grows when trajectories are read otherwise than before: a run does not mix two readings."""
_ANY = View(task=Task(id="", goal=""), opening="")


def import_into(
    folder: str | Path,
    paths: Sequence[Path],
    *,
    actor: str = TEACHER,
    scores: Mapping[str, float] | None = None,
    say: Callable[[str], None] = lambda note: None,
) -> tuple[int, int]:
    """Write trajectories to the run ``folder``; how many were written, and how many were in it already.

    ``actor`` is who acted in those of other agents, ``scores`` what they were worth, by trajectory id, task, or file
    name; where they say nothing the result of a trial counts. Our own exports have both. All files are read before
    anything is written; what a reader should know besides is told to ``say``.
    """
    runs = scored(trajectories(paths, say), scores or {})
    found = [(run, *episode_of(run, actor)) for run in runs]
    written = 0
    with RunWriter(folder, SETTINGS) as writer:
        goals = {result.id: result.task for result in Run(folder).results()}
        for run, episode, steps in found:
            if episode.id in goals:
                continue
            if not _ours(run.first):
                episode = episode.model_copy(update={"task": _task(run, episode.id, goals.values())})
            goals[episode.id] = episode.task
            written += 1
            writer.start(episode.id, episode.arm, episode.task, episode.seed, episode.config)
            for step in steps:
                writer.step(episode.id, step)
            writer.end(episode.model_copy(update={"run": writer.name}))
    return written, len(found) - written


def _task(run: Found, episode: str, others: Collection[Task]) -> Task:
    """The task of a run. Tasks with different goals are two, whatever their files are called."""
    goal = run.goal
    taken = {task.id for task in others if task.goal != goal}
    names = (run.name, f"{run.where}/{run.name}", f"{run.where}/{run.name}-{episode}")
    return Task(id=next(name for name in names if name not in taken), goal=goal)


def episode_of(run: Found, actor: str = TEACHER) -> tuple[Episode, list[Step]]:
    """The episode and the steps of a run."""
    if _ours(run.first):
        assert run.first.extra is not None
        try:
            return Episode.model_validate(run.first.extra[OWN]["episode"]), list(_own_steps(run.first))
        except (ValidationError, KeyError, TypeError) as error:
            raise DataError(
                f"the trajectory {run.name} was changed after atlas exported it: export it again"
            ) from error
    turns = own_turns(run.documents)
    return _episode(run, turns, actor), list(_steps(turns, actor))


def _ours(trajectory: Trajectory) -> bool:
    own = (trajectory.extra or {}).get(OWN)
    return isinstance(own, dict) and "episode" in own


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
        # The system message at the beginning is no part of the conversation.
        talk.extend([] if i == 0 and turn.source == "system" else messages_of(turn))


# --- of other agents --------------------------------------------------------------------------------------------------


def _steps(turns: Sequence[Own], actor: str) -> Iterator[Step]:
    for index, own in enumerate(turns):
        turn = own.turn
        calls = tool_calls_of(turn)
        text = text_of(turn.message)
        action = ChatActions().parse(Reply(text=text, tool_calls=calls), _ANY).action
        last = index + 1 == len(turns)
        yield Step(
            index=index,
            observation=own.seen,
            decision=Decision(
                action=action or "",
                actor=actor,
                reason=_reason(own) if action else "no-action",
                thought=turn.reasoning_content or "",
                text=text,
                tool_calls=calls,
                prompt=Prompt(stable=own.stable, history=own.history, tools=own.document.agent.tool_definitions or ()),
            ),
            outcome=Observation(text=own.after, done=last),
            spend=step_spend(own, actor),
            seconds=_seconds(turn, None if last else turns[index + 1].turn),
        )


def _reason(own: Own) -> str:
    calls = own.turn.llm_call_count
    if calls == 0:
        return DISPATCHED
    # Calls that several replies made, one after another, are told as if one reply had made them all.
    several = (calls or 1) > 1 and len(own.turn.tool_calls or ()) > 1
    return "imported" if own.whole and not several else UNTOLD


def _episode(run: Found, turns: Sequence[Own], actor: str) -> Episode:
    said = [turn for document in run.documents for turn in document.steps]
    times = [at for at in map(_time, said) if at is not None]
    # What is unset has no part in the id: fields that are read one day change no id of today.
    identity = [
        document.model_dump(mode="json", exclude={"subagent_trajectories"}, exclude_unset=True)
        for document in run.documents
    ]
    agent = run.first.agent
    return Episode(
        id=content_hash([run.base, *identity], 12),
        run="",
        arm=agent.name,
        task=Task(id=run.name, goal=run.goal),
        seed=0,
        config=content_hash(agent.model_dump(mode="json")),
        stop=Stop.DONE,
        score=run.reward,
        success=success(run.reward),
        steps=len(turns),
        teacher_steps=sum(own.turn.llm_call_count != 0 for own in turns) if actor == TEACHER else 0,
        spend=episode_spend(run.documents, turns, actor),
        seconds=max(times) - min(times) if times else 0.0,
        started=min(times) if times else 0.0,
    )


def _seconds(turn: Turn, after: Turn | None) -> float:
    began, ended = _time(turn), _time(after) if after else None
    return max(0.0, ended - began) if began is not None and ended is not None else 0.0


def _time(turn: Turn) -> float | None:
    """Unix time; one without a zone is UTC, wherever it is read."""
    if turn.timestamp is None:
        return None
    try:
        at = datetime.fromisoformat(turn.timestamp.replace("Z", "+00:00"))
        return (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        return None
