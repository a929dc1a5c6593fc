"""Logged runs become a run of ours: an arm per model, the logged rewards as scores, the judge's verdicts beside it.

Nothing is called and nothing is judged again. What a file does not say is missing: tokens of ``env`` files, and with
them the dollars, and the judge's tokens. Times were not logged; they stand as 0.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from atlas.benchmarks.excytin import data
from atlas.benchmarks.excytin.actions import Submit, parse
from atlas.benchmarks.excytin.env import INSTRUCTIONS, MAX_STEPS
from atlas.benchmarks.excytin.judge import SUCCESS
from atlas.benchmarks.excytin.logged.files import LoggedFile, LoggedRun, LoggedStep
from atlas.errors import DataError
from atlas.evaluators import success
from atlas.evaluators.verdict import Verdict
from atlas.models import price_of
from atlas.records import (
    STUDENT,
    Decision,
    Episode,
    Failure,
    Message,
    Observation,
    Price,
    Prompt,
    Record,
    Spend,
    Step,
    Stop,
    Task,
    Usage,
    by_actor,
    content_hash,
)
from atlas.traces.reader import Run
from atlas.traces.verdicts import VerdictLine, append_verdict, read_verdicts
from atlas.traces.writer import MANIFEST, RunWriter

JUDGE = "gpt-4o"
"""Who judged the published runs, by the benchmark's README."""
JUDGE_CONFIG: dict[str, object] = {"judge": "excytin-recorded", "model": JUDGE}
_SPLITS = ("test", "train")


class LeftOut(Record):
    """A logged run that another one stands for."""

    file: str
    nodes: str
    why: str


@dataclass(frozen=True)
class Chosen:
    """The runs to import, one per (model, incident, question, trial), and those they stand for."""

    runs: tuple[LoggedRun, ...]
    left_out: tuple[LeftOut, ...]


@dataclass
class Imported:
    """What came of an import."""

    episodes: int = 0
    new: int = 0
    unpriced: int = 0
    left_out: tuple[LeftOut, ...] = ()
    prices: dict[str, Price | None] = field(default_factory=dict)


def choose(files: Sequence[LoggedFile]) -> Chosen:
    """One run for each question: a benchmark that was started again appends the question once more.

    The last entry of a file counts, which is the one the benchmark itself finished with; an ``agent`` file goes before
    an ``env`` file of the same model and incident, for it says more.
    """
    kept: dict[tuple[str, int, str, int], tuple[LoggedRun, str]] = {}
    left_out: list[LeftOut] = []
    for file in sorted(files, key=lambda f: (f.form != "env", f.name)):
        seen: set[tuple[str, int, str, int]] = set()
        for run in file.runs:
            key = (run.model, run.incident, run.key, run.trial)
            if key in kept:
                why = "run again later in the same file" if key in seen else f"also in {file.name}"
                left_out.append(LeftOut(file=kept[key][1], nodes=run.nodes, why=why))
            seen.add(key)
            kept[key] = (run, file.name)
    return Chosen(runs=tuple(run for run, _ in kept.values()), left_out=tuple(left_out))


def import_runs(files: Sequence[LoggedFile], folder: Path, questions: Path | None = None) -> Imported:
    """Write ``files`` as the run ``folder``. The same files again add nothing, and complete what was cut off.

    Args:
        files: as :func:`atlas.benchmarks.excytin.logged.files.read_file` reads them.
        folder: of the run; made where it is not there.
        questions: folder of the benchmark's questions, by which tasks get the ids that they have in a bench; None looks
            where :func:`atlas.benchmarks.excytin.data.folder` looks, and does without where there is none.

    Raises:
        ConfigError: the folder holds a run of other files.
        DataError: no file holds a run.
        StoreError: the folder cannot be written.
    """
    chosen = choose(files)
    if not chosen.runs:
        raise DataError("the files hold no logged run: name agent_incident_N.json or env_incident_N.json files of runs")
    numbers = _numbers({run.incident for run in chosen.runs}, questions)
    prices = {tokens.model: price_of(tokens.model) for run in chosen.runs for tokens in run.tokens}
    config = content_hash(JUDGE_CONFIG)
    done: set[str] = set()
    judged: set[str] = set()
    imported = Imported(left_out=chosen.left_out, prices=prices)
    with RunWriter(folder, _settings(files, prices, matched=bool(numbers)), _about(files, chosen)) as writer:
        if (folder / MANIFEST).is_file():
            done = {episode.id for episode in Run(folder).results()}
            judged = {line.episode for line in read_verdicts(folder, config)}
        for run in chosen.runs:
            episode, steps = _episode(run, writer.name, numbers.get((run.incident, run.key)), prices)
            imported.episodes += 1
            imported.unpriced += any(spend.usage.dollars is None for spend in episode.spend)
            if episode.id in done:
                continue
            imported.new += 1
            writer.start(episode.id, episode.arm, episode.task, episode.seed, episode.config)
            for step in steps:
                writer.step(episode.id, step)
            # Before the end: an episode that has ended is not looked at again.
            if episode.id not in judged and (line := _verdict(run, episode, config)):
                append_verdict(folder, line)
            writer.end(episode)
    return imported


def _numbers(incidents: Iterable[int], folder: Path | None) -> dict[tuple[int, str], tuple[str, int]]:
    """(incident, question's key) -> its split and number, as far as the questions are at hand."""
    numbers: dict[tuple[int, str], tuple[str, int]] = {}
    try:
        place = data.folder(folder)
    except DataError:
        if folder is not None:
            raise
        return {}
    for incident in incidents:
        for split in _SPLITS:
            if not any((place / "questions" / split).glob(f"incident_{incident}_*.json")):
                continue
            for q in data.questions(incident, split, place):
                key = content_hash([q.context, q.question, q.answer])
                numbers.setdefault((incident, key), (split, q.number))
    return numbers


def _settings(files: Sequence[LoggedFile], prices: dict[str, Price | None], *, matched: bool) -> dict[str, object]:
    return {
        "imported": "excytin",
        "version": 1,
        "files": [
            {"name": f.name, "sha256": f.sha256, "entries": f.entries} for f in sorted(files, key=lambda f: f.name)
        ],
        "prices": {model: price.setting() if price else None for model, price in sorted(prices.items())},
        "questions": "numbered as in the benchmark" if matched else "not at hand: named by content",
        "judge": JUDGE_CONFIG,
    }


def _about(files: Sequence[LoggedFile], chosen: Chosen) -> dict[str, object]:
    without = sorted(f.name for f in files if not any(run.tokens for run in f.runs))
    notes = [
        "logged runs of the benchmark's Baseline agent against the full database; nothing was called to import them",
        f"rewards and verdicts are those of its judge ({JUDGE}), as logged; the judge's tokens were not logged",
        "dollars are the logged tokens at the list prices in the settings; times were not logged and stand as 0",
    ]
    if without:
        notes.append(f"no tokens were logged in {', '.join(without)}: they are unpriced, their tokens unknown")
    if chosen.left_out:
        notes.append(
            f"{len(chosen.left_out)} logged runs are left out: another run of the same question stands for them"
        )
    return {
        "title": "ExCyTIn-Bench: logged runs of real models",
        "notes": notes,
        "left_out": [row.model_dump() for row in chosen.left_out],
    }


def _episode(
    run: LoggedRun, name: str, place: tuple[str, int] | None, prices: dict[str, Price | None]
) -> tuple[Episode, list[Step]]:
    split, number = place or ("", 0)
    task = Task(
        id=f"incident_{run.incident}/{split}/{number}" if place else f"incident_{run.incident}/{run.key}",
        goal=run.text,
        family=f"incident_{run.incident}",
        split=split,
        instructions=run.system or INSTRUCTIONS,
    )
    stop, failure = _stop(run)
    episode = Episode(
        # The same for the same log, whatever else is imported with it.
        id=content_hash([run.model_dump(mode="json")], 12),
        run=name,
        arm=run.model,
        task=task,
        seed=run.trial,
        config=content_hash({"agent": "excytin-baseline", "model": run.model, "form": run.form}),
        stop=stop,
        score=run.reward,
        success=success(run.reward, at_least=SUCCESS),
        steps=len(run.steps),
        teacher_steps=0,
        spend=_spend(run, prices),
        seconds=0.0,
        started=0.0,
        failure=failure,
    )
    return episode, _steps(run)


def _stop(run: LoggedRun) -> tuple[Stop, Failure | None]:
    if run.submitted is not None or (run.steps and isinstance(parse(run.steps[-1].action), Submit)):
        return Stop.DONE, None
    if run.complete or len(run.steps) >= MAX_STEPS:
        return Stop.MAX_STEPS, None
    message = "the log ends before an answer and before the step limit; the benchmark counts it as 0"
    return Stop.ERROR, Failure(kind="LogEnds", message=message, where="agent")


def _spend(run: LoggedRun, prices: dict[str, Price | None]) -> tuple[Spend, ...]:
    calls = len(run.steps)
    if not run.tokens:
        return (Spend(actor=STUDENT, model=run.model, usage=Usage(calls=calls, dollars=None, unmetered=calls)),)
    rows = []
    for used in run.tokens:
        price = prices[used.model]
        rows.append(
            Spend(
                actor=STUDENT,
                model=used.model,
                usage=Usage(
                    calls=calls,
                    prompt_tokens=used.prompt,
                    cached_tokens=used.cached,
                    completion_tokens=used.completion,
                    dollars=price.dollars(used.prompt, used.completion, used.cached) if price else None,
                ),
            )
        )
    return by_actor(rows)


def _steps(run: LoggedRun) -> list[Step]:
    """The steps; where the conversation was logged, each with the prompt that the model was sent."""
    steps: list[Step] = []
    history: tuple[Message, ...] = ()
    for index, logged in enumerate(run.steps):
        history = (*history, Message(role="user", content=logged.observation))
        last = index == len(run.steps) - 1
        steps.append(
            Step(
                index=index,
                observation=logged.observation,
                decision=_decision(run, logged, history),
                outcome=Observation(text=logged.outcome, score=run.reward if last else 0.0, done=last),
                # Tokens were logged for all steps together.
                spend=(Spend(actor=STUDENT, model=run.model, usage=Usage(calls=1, dollars=None, unmetered=1)),),
                seconds=0.0,
            )
        )
        history = (*history, Message(role="assistant", content=logged.text))
    return steps


def _decision(run: LoggedRun, logged: LoggedStep, history: tuple[Message, ...]) -> Decision:
    return Decision(
        action=logged.action,
        actor=STUDENT,
        reason="logged",
        thought=logged.thought,
        prompt=Prompt(stable=run.system, history=history) if run.form == "agent" else Prompt(),
        text=logged.text,
    )


def _verdict(run: LoggedRun, episode: Episode, config: str) -> VerdictLine | None:
    """The judge's word where it was asked: the reward, with what it said of the answer and of the solution's steps."""
    if run.submitted is None or not run.answer_said:
        return None
    said = [run.answer_said, run.solution_said]
    asked = Usage(calls=run.judge_calls, dollars=None, unmetered=run.judge_calls)
    verdict = Verdict(
        judge="excytin-recorded",
        score=run.reward,
        rationale="\n\n".join(part for part in said if part),
        model=JUDGE,
        spend=(Spend(actor="judge", model=JUDGE, usage=asked),),
        decided_by="excytin-recorded",
    )
    return VerdictLine(
        episode=episode.id, arm=episode.arm, task=episode.task.id, config=config, time=0.0, verdict=verdict
    )
