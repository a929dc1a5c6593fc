"""When an episode is getting nowhere, the teacher acts, this step only."""

from __future__ import annotations

from collections.abc import Sequence

from atlas.actions import Actions, TextActions
from atlas.asking import Desk
from atlas.errors import ConfigError
from atlas.given import check_model, check_policy, has, shown, whole
from atlas.policies.solo import check_asking, decision
from atlas.policies.triggers import DEFAULT, Trigger
from atlas.policies.watching import Watching
from atlas.protocols import Model, Policy
from atlas.records import TEACHER, Decision, View


class Watch:
    """``inner`` decides, unless one of ``triggers`` fires: then ``teacher`` decides, with its name as reason.

    It decides this step, or ``steps`` in a row: a student that undoes one step of its teacher may be left where it can
    go on by itself after several. After that the signs look only at what happened since, so the teacher comes back once
    in as many turns as a sign needs, at most. Where its steps led to nothing new it waits: after ``k`` times in a row
    that did not help, at least ``rest * 2**(k - 1)`` turns. Something new to see (an observation not seen before in the
    episode) ends the waiting.

    All of this follows from the view alone, so one policy serves any number of episodes at once; what it remembers of
    them saves time and changes nothing.
    """

    def __init__(
        self,
        inner: Policy,
        teacher: Model,
        *,
        triggers: Sequence[Trigger] = DEFAULT,
        steps: int = 1,
        rest: int = 4,
        max_tokens: int | None = 256,
        actions: Actions | None = None,
    ) -> None:
        check_policy("what a watch is around", inner)
        check_model("a watch's teacher", teacher)
        if not whole(rest) or rest < 0:
            raise ConfigError(f"the teacher rests for 0 turns or more, not {shown(rest)}")
        if not whole(steps) or steps < 1:
            raise ConfigError(f"the teacher acts for 1 step or more, not {shown(steps)}")
        if not triggers:
            raise ConfigError("a watch without triggers never acts: give one, or leave the watch out")
        if not isinstance(triggers, list | tuple) or not all(has(trigger, "fires") for trigger in triggers):
            raise ConfigError(f"a watch's triggers are a list of signs, not {shown(triggers)}: write [Stall(4)], say")
        check_asking(0.0, max_tokens, actions)
        self.inner = inner
        self.teacher = teacher
        self.triggers = tuple(triggers)
        self.steps = steps
        self.rest = rest
        self.max_tokens = max_tokens
        self.actions = actions or TextActions()
        self._watching = Watching(self.triggers, steps=steps, rest=rest)

    async def decide(self, view: View, desk: Desk) -> Decision:
        sign = self.sign(view)
        if sign is None:
            return await self.inner.decide(view, desk)
        answer = await desk.ask(
            self.teacher,
            view.replace(retrieved=()),
            actor=TEACHER,
            actions=self.actions,
            max_tokens=self.max_tokens,
        )
        return decision(answer, reason=sign)

    def sign(self, view: View) -> str | None:
        """The name of the trigger that fires at this step; None where the inner policy decides.

        Which of the past steps were the teacher's follows from the turns before them.
        """
        return self._watching.sign(view)

    def config(self) -> dict[str, object]:
        return {
            "policy": "watch",
            "teacher": self.teacher.name,
            "triggers": [trigger.config() for trigger in self.triggers],
            "steps": self.steps,
            "rest": self.rest,
            "max_tokens": self.max_tokens,
            "inner": self.inner.config(),
        }
