"""A model as a judge: it sees the goal and every step, states its principles, then gives a score per axis."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean

from atlas.asking import Desk
from atlas.errors import ConfigError
from atlas.evaluators.asking import must_read, put_to
from atlas.evaluators.reply import Reading, read_reply
from atlas.evaluators.rubric import AXES, PROMPT_VERSION, Axis, judge_prompt, verdict_form
from atlas.evaluators.verdict import Case, Verdict
from atlas.protocols import Model
from atlas.records import Spend


class ModelJudge:
    """Judges by ``axes`` with one call of ``model``; the overall score is the mean of the axes.

    A call that fails, a reply without a verdict and a verdict that leaves out an axis give a missing verdict, and what
    was used is in its spend all the same.
    """

    def __init__(
        self,
        model: Model,
        *,
        axes: Sequence[Axis] = AXES,
        name: str = "",
        temperature: float = 0.0,
        max_tokens: int = 1_024,
        text_chars: int = 2_000,
        steps_chars: int = 60_000,
    ) -> None:
        must_read(model)
        if not axes or len({axis.name for axis in axes}) < len(axes):
            raise ConfigError("a judge needs at least one axis, and axes of different names")
        self.name = name or model.name
        self._model = model
        self._axes = tuple(axes)
        self._temperature = temperature
        self._max_tokens = max_tokens
        self._text_chars = text_chars
        self._steps_chars = steps_chars

    def config(self) -> dict[str, object]:
        return {
            "judge": "model",
            "name": self.name,
            "model": self._model.name,
            "axes": [axis.model_dump() for axis in self._axes],
            "temperature": self._temperature,
            "max_tokens": self._max_tokens,
            "chars": [self._text_chars, self._steps_chars],
            "prompt": PROMPT_VERSION,
        }

    async def judge(self, case: Case, desk: Desk, opinions: Sequence[Verdict] = ()) -> Verdict:
        prompt = judge_prompt(case, self._axes, opinions, text_chars=self._text_chars, steps_chars=self._steps_chars)
        own = desk.apart()
        said = await put_to(
            own,
            self._model,
            case,
            prompt,
            judge=self.name,
            temperature=self._temperature,
            max_tokens=self._max_tokens,
            schema=verdict_form(self._axes),
        )
        names = [axis.name for axis in self._axes]
        reading = Reading(missing=said.failed) if said.failed else read_reply(said.text, names)
        if reading.scores and _stands_in(case, reading, names):
            reading = Reading(missing="the verdict repeats one that stands in what was judged")
        return self._verdict(reading, own.spent)

    def _verdict(self, reading: Reading, spend: tuple[Spend, ...]) -> Verdict:
        axes = tuple(self._on_axis(axis.name, reading) for axis in self._axes)
        return Verdict(
            judge=self.name,
            model=self._model.name,
            score=None if reading.missing else fmean(reading.scores.values()),
            missing=reading.missing,
            principles=reading.principles,
            uncertainty=reading.uncertainty,
            rationale=reading.reason,
            spend=spend,
            axes=axes,
            decided_by="" if reading.missing else self.name,
        )

    def _on_axis(self, axis: str, reading: Reading) -> Verdict:
        score = reading.scores.get(axis)
        missing = "" if score is not None else reading.missing
        return Verdict(judge=self.name, model=self._model.name, axis=axis, score=score, missing=missing)


def _stands_in(case: Case, reading: Reading, axes: Sequence[str]) -> bool:
    """Whether a text of the episode holds a verdict with the same scores: the judge may have been made to copy it.

    An honest judge may agree with such a text by chance; no verdict is then the safe side.
    """
    texts = [case.task.goal, case.answer]
    for step in case.steps:
        texts += [step.observation, step.outcome.text, step.decision.thought, step.decision.action]
    return any(read_reply(text, axes).scores == reading.scores for text in texts if "scores" in text)
