"""A journal of what models replied, so that work that is done again after a kill is not paid again.

Every reply is written down before it is used. When the same is asked again (the same prompt, for the same task and
seed), the journal answers. At most the calls that were under way at the moment of a kill are paid twice.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from pydantic import ValidationError

from atlas.asking import ACT, Account, Desk, Desks
from atlas.errors import StoreError
from atlas.protocols import Model, ReadsView
from atlas.records import Ask, Completion, Record, Usage, content_hash
from atlas.traces.place import Place, place_of, values

CALLS = "calls.jsonl"
SCHEMA = 1

StepKey = tuple[int, int]
"""(attempt, index of the step within it)."""


class Call(Record):
    """One line: what was asked, by its hash, and what was replied."""

    schema_version: int = SCHEMA
    asked: str
    model: str
    purpose: str
    completion: Completion


class Journal:
    """The replies of the models of one arm of a run, in ``calls.jsonl`` beside its trace.

    A reply that is read back carries what it used, as it is paid once and counted once. That is, unless the trace of
    the attempt that was cut off counts it already: see :meth:`counted`.
    """

    def __init__(self, folder: str | Path | Place, arm: str = "") -> None:
        self._log = place_of(folder).log(CALLS)
        self.path = self._log.path
        self.arm = arm
        self._counted: dict[tuple[str, int], set[StepKey]] = {}
        self._replies: dict[str, Completion] = {}
        for number, value in values(self._log):
            try:
                call = Call.model_validate(value)
            except ValidationError as error:
                raise StoreError(
                    f"{self.path}, line {number}, is no reply that this atlas reads: mend or remove it"
                ) from error
            self._replies[call.asked] = call.completion

    def phase(self) -> Desks:
        """Makes the desks of one phase of an episode, from its beginning: what is asked at them for the first time is
        the first such question."""
        asked: Counter[str] = Counter()
        return lambda account: KeptDesk(account, self, asked)

    def counted(self, task: str, seed: int, steps: Iterable[StepKey]) -> None:
        """The trace holds the spend of these steps, of an attempt at ``task`` that was cut off: replies to them are
        read back as using nothing."""
        self._counted.setdefault((task, seed), set()).update(steps)

    async def complete(self, model: Model, ask: Ask, asked: Counter[str]) -> Completion:
        """The reply that was given before, or the model's. ``asked`` is what was asked before in this phase."""
        said = self._said(model, ask)
        # Whoever asks the same twice wants two samples.
        asked[said] += 1
        key = f"{said}.{asked[said]}"
        known = self._replies.get(key)
        if known is not None:
            moment = (ask.view.attempt, ask.view.index)
            paid = ask.purpose == ACT and moment in self._counted.get((ask.view.task.id, ask.view.seed), ())
            return known.model_copy(update={"usage": Usage()}) if paid else known
        completion = await model.sample(ask)
        call = Call(asked=key, model=model.name, purpose=ask.purpose, completion=completion)
        self._log.append(call.model_dump_json(exclude_defaults=True).encode())
        self._replies[key] = completion
        return completion

    def _said(self, model: Model, ask: Ask) -> str:
        view = ask.view
        return content_hash(
            [
                self.arm,
                model.name,
                [view.task.id, view.seed, view.attempt, view.admissible, view.options],
                [ask.prompt.model_dump(mode="json"), ask.n, ask.first, ask.temperature, ask.max_tokens, ask.purpose],
            ],
            32,
        )


class KeptDesk(Desk):
    """A desk whose replies are kept. Models that only read the view cost nothing and are asked anew."""

    def __init__(self, account: Account, journal: Journal, asked: Counter[str]) -> None:
        super().__init__(account)
        self._journal = journal
        self._asked = asked

    async def _complete(self, model: Model, ask: Ask) -> Completion:
        if isinstance(model, ReadsView):
            return await model.sample(ask)
        return await self._journal.complete(model, ask, self._asked)
