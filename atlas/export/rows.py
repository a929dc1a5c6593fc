"""A training row per step: all that the trace knows of a decision, its prompt in parts.

This is what every other export is made from, and what ``atlas train`` reads (``--format rows``, one JSON object a
line). A row can be rendered with or without the parts that a later student shall do without.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from pydantic import Field, ValidationError

from atlas.errors import DataError
from atlas.export.permitted import Permissions, permissions
from atlas.jsontext import read_json
from atlas.prompts import REPLY_FORMAT
from atlas.records import (
    INTERRUPTED,
    STUDENT,
    TEACHER,
    Citation,
    Episode,
    Hit,
    Message,
    Prompt,
    Record,
    Review,
    Spend,
    Step,
    Vote,
    reply_text,
    total,
)
from atlas.traces.reader import Run, StoredEpisode

PARTS = {"demonstrations": "retrieved", "pamphlets": "guidance", "advice": "advice", "actions": "ask"}
"""What a prompt can be rendered without, and the field of :class:`atlas.records.Prompt` that holds it."""

DISPATCHED, UNTOLD = "dispatched", "untold"
"""Reasons of imported steps that nobody can learn from."""
CONTEXT_ONLY = {
    DISPATCHED: "chosen by a program and no model",
    UNTOLD: "the imported trajectory does not tell all that its prompt held",
}
"""Reason of a step -> why it is no example of what to do at its prompt."""

_LISTED = "Possible actions: "


class Row(Record):
    """One step as training sees it. Texts are as the trace holds them."""

    id: str
    """``run/episode/index``."""
    run: str
    episode: str
    arm: str
    seed: int
    task: str
    goal: str
    family: str = ""
    split: str = ""
    """The benchmark's own split."""
    group: str = ""
    """What must not be torn apart: the task's id, or its family (an incident)."""
    part: str = "train"
    """``train`` or ``holdout``."""
    index: int
    """Of the step within its episode."""
    attempt: int = 0
    last_attempt: bool = True
    """False for steps of an attempt that was reviewed and retried: the episode's score is not theirs."""
    observation: str
    """What was seen before acting."""
    outcome: str = ""
    """What was seen after it."""
    prompt: Prompt
    """What the student was asked, in parts; the teacher's prompt where it acted alone."""
    admissible: tuple[str, ...] = ()
    """The actions possible, where the trace has them."""
    admissible_count: int = 0
    completion: Message
    """The reply that was acted on, in the form that the prompt asks for."""
    action: str
    thought: str = ""
    actor: str
    model: str
    """Whose reply it is; empty where the trace does not tell."""
    reason: str
    """Why this actor: ``solo``, ``agreed``, ``split``, ``routed``..."""
    votes: tuple[Vote, ...] = ()
    """All samples at this state, the student's and the teacher's."""
    agreement: float | None = None
    """Share of the student's samples on their most common action; None where it gave none."""
    escalated: bool = False
    """Whether the student was asked and the teacher acted."""
    retrieved: tuple[Hit, ...] = ()
    guidance: tuple[Citation, ...] = ()
    lane: str = ""
    step_score: float | None = None
    """The environment's score after this step, in its own unit; None where it gives none."""
    score: float | None = None
    """Of the episode: the environment's, or the chosen judge's."""
    success: bool | None = None
    """Of the episode, as its environment says."""
    scored_by: str = "environment"
    steps: int = 0
    """Steps of the whole episode."""
    reviews: tuple[Review, ...] = ()
    """What a reviewer said of the attempt that the step belongs to."""
    spend: tuple[Spend, ...] = ()
    dollars: float | None = None
    """Of this step; None where a price is not known, or the step does not tell what it used."""
    context: str = ""
    """Why the row is there as context only, so that its episode has no gaps; empty where it may be trained on."""
    permitted: dict[str, str] = Field(default_factory=dict)
    """Model -> why its outputs may be trained on. A model of this row that is absent may not."""

    @property
    def trainable(self) -> bool:
        """Whether the completion may be trained on."""
        return self.model in self.permitted and not self.context

    def messages(self, without: Collection[str] = ()) -> list[Message]:
        """The prompt as chat messages, without some of :data:`PARTS`."""
        return stripped(self.prompt, without).messages()


def stripped(prompt: Prompt, without: Collection[str]) -> Prompt:
    """``prompt`` without the named :data:`PARTS`."""
    return prompt.model_copy(update={PARTS[name]: "" for name in without})


def run_rows(run: Run, *, permitted: Sequence[str] = ()) -> Iterator[Row]:
    """The rows of all finished episodes of ``run``, episode by episode, without those that were played again after an
    error. ``permitted`` are model names or patterns."""
    rules = permissions(run.about, permitted)
    for episode in run.episodes():
        if episode.result is not None and episode.result.stop not in INTERRUPTED and not episode.retried:
            # A copy, so that its steps are let go with it: those of thousands of episodes do not fit in memory.
            yield from episode_rows(run.name, replace(episode), episode.result, rules)


def episode_rows(run: str, episode: StoredEpisode, result: Episode, rules: Permissions) -> Iterator[Row]:
    """The rows of one episode, in order. Raises StoreError for a damaged trace."""
    steps = episode.steps
    last = max((step.attempt for step in steps), default=0)
    for step in steps:
        yield _row(run, episode, result, step, last, rules)


def _row(run: str, episode: StoredEpisode, result: Episode, step: Step, last: int, rules: Permissions) -> Row:
    task, decision = episode.task, step.decision
    model = acting_model(step, result.spend)
    models = dict.fromkeys([model, *(vote.model for vote in decision.votes)])
    spent = step.spend or result.spend
    reasons = {name: rules.why(name, spent) for name in models if name}
    actions = admissible_of(step)
    return Row(
        id=f"{run}/{episode.id}/{step.index}",
        run=run,
        episode=episode.id,
        arm=episode.arm,
        seed=episode.seed,
        task=task.id,
        goal=task.goal,
        family=task.family,
        split=task.split,
        group=task.id,
        index=step.index,
        attempt=step.attempt,
        last_attempt=step.attempt == last,
        observation=step.observation,
        outcome=step.outcome.text,
        prompt=decision.prompt,
        admissible=actions,
        admissible_count=step.admissible,
        completion=completion_of(step),
        action=decision.action,
        thought=decision.thought,
        actor=decision.actor,
        model=model,
        reason=decision.reason,
        votes=decision.votes,
        agreement=agreement_of(decision.votes),
        escalated=decision.actor == TEACHER and any(v.actor == STUDENT for v in decision.votes),
        retrieved=decision.retrieved,
        guidance=decision.guidance,
        lane=result.lane,
        step_score=step.outcome.score,
        score=result.score,
        success=result.success,
        steps=result.steps,
        reviews=tuple(r for r in result.reviews if r.attempt == step.attempt),
        spend=step.spend,
        dollars=total(step.spend).dollars if step.spend else None,
        context=CONTEXT_ONLY.get(decision.reason, ""),
        permitted={name: why for name, why in reasons.items() if why is not None},
    )


def acting_model(step: Step, spent: Sequence[Spend] = ()) -> str:
    """The model whose reply was acted on; empty where neither the step nor what its episode ``spent`` names one."""
    decision = step.decision
    named = [v.model for v in decision.votes if v.actor == decision.actor]
    named += [s.model for s in step.spend if s.actor == decision.actor]
    if named:
        return named[0]
    # Imported runs may know only what a whole episode used.
    models = {s.model for s in spent if s.actor == decision.actor}
    return models.pop() if len(models) == 1 else ""


def agreement_of(votes: Sequence[Vote]) -> float | None:
    """Share of the student's votes on their most common action. A vote without an action agrees with none."""
    actions = [v.action for v in votes if v.actor == STUDENT]
    if not actions:
        return None
    counts = Counter(action for action in actions if action is not None)
    return max(counts.values(), default=0) / len(actions)


def admissible_of(step: Step) -> tuple[str, ...]:
    """The actions that were possible, read from the ask where they were listed there; else none."""
    listed = step.decision.prompt.ask.partition("\n")[0]
    if not listed.startswith(_LISTED):
        return ()
    actions = tuple(listed.removeprefix(_LISTED).split("; "))
    return actions if len(actions) == step.admissible else ()


def asks_for_lines(prompt: Prompt) -> bool:
    """Whether a prompt asks for the two lines ``Thought:`` and ``Action:``, as those of text agents do."""
    return REPLY_FORMAT in prompt.stable


def completion_of(step: Step) -> Message:
    """The reply that was acted on.

    Where the prompt asks for a thought and an action it is written so, as the history of later prompts shows it; else
    as the model wrote it, with its tool calls.
    """
    decision = step.decision
    if decision.tool_calls:
        return Message(role="assistant", content=decision.text, tool_calls=decision.tool_calls)
    if asks_for_lines(decision.prompt) or not decision.text:
        return Message(role="assistant", content=reply_text(decision.action, decision.thought))
    return Message(role="assistant", content=decision.text)


def read_rows(path: str | Path) -> Iterator[Row]:
    """The rows of a file that ``atlas export --format rows`` wrote, or of all such files in a folder.

    Raises DataError naming the file and the line that is none.
    """
    place = Path(path)
    files = sorted(place.glob("*.jsonl")) if place.is_dir() else [place]
    if not files:
        raise DataError(f"{place} holds no rows (*.jsonl): make them with 'atlas export RUN --format rows -o FOLDER'")
    for file in files:
        try:
            with file.open(encoding="utf-8") as lines:
                for number, line in enumerate(lines, 1):
                    yield _parse(line, file, number)
        except (OSError, UnicodeDecodeError) as error:
            raise DataError(f"{file} cannot be read as rows ({error}): export the run again") from error


def _parse(line: str, file: Path, number: int) -> Row:
    try:
        return Row.model_validate(read_json(line))
    except (ValueError, ValidationError) as error:
        raise DataError(
            f"{file}, line {number}, is no training row: make the file with 'atlas export RUN --format rows'"
        ) from error
