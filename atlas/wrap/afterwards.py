"""What follows an episode of a wrapped agent, behind everybody's back: no answer waits for it.

Episodes are judged and distilled one after the other, in a thread of their own. Until that is done they are due
(:mod:`atlas.wrap.due`).
"""

from __future__ import annotations

import logging
import threading
from collections import OrderedDict, deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future

from atlas.asking import Account
from atlas.background import Background
from atlas.book import Unrecorded
from atlas.budget import Meter
from atlas.errors import AtlasError, ConfigError
from atlas.evaluators.verdict import Judge
from atlas.learning import Learning, informed, worth_telling
from atlas.memory import Memory
from atlas.memory.distil import Distiller
from atlas.memory.distil_model import ModelDistiller
from atlas.protocols import Model, ReadsView, Recorder
from atlas.records import INTERRUPTED, Episode, Step, Stop
from atlas.traces.events import Tells
from atlas.traces.place import Place
from atlas.wrap.compose import model_of

REMEMBERED = 10_000
"""Episodes that a score may come for while, or after, they are learned from."""
log = logging.getLogger("atlas.wrap")

Steps = Sequence[Step]


class Afterwards:
    """Judges and distils the episodes of one agent.

    recorder: is told what was learned, and the episode's end anew where that cost something or gave it a score.
    keep: called with an episode that a judge has scored, as the agent calls it for one that was scored at once.
    over: told the id of each episode that was seen to.
    learn: whether a success may become a demonstration.
    graph: whether the LangGraph graph does it.
    """

    def __init__(
        self,
        learning: Learning,
        arm: str,
        recorder: Recorder,
        meter: Meter,
        keep: Callable[[Episode, Steps], object],
        over: Callable[[str], object],
        *,
        learn: bool,
        graph: bool = False,
    ) -> None:
        self._learning = learning
        self._arm = arm
        self._recorder = recorder
        self._meter = meter
        self._keep = keep
        self._over = over
        self._learn = learn
        self._one = self._by_graph if graph else self._straight
        if graph:
            from atlas.graph import loop_graph

            loop_graph()  # where LangGraph is not installed it is said here, before anything is paid
        self._background = Background()
        self._lock = threading.Lock()
        self._waiting: deque[tuple[Episode, Steps]] = deque()
        self._told: OrderedDict[str, Episode] = OrderedDict()
        """The newest episodes that were recorded anew, as they were."""
        self._working: Future[None] | None = None

    @property
    def judges(self) -> bool:
        """Whether what nobody scored is scored here."""
        return self._learning.judge is not None

    def put(self, episode: Episode, steps: Steps) -> bool:
        """An episode has ended: see to it when there is time. False where there is nothing to do."""
        unjudged = episode.score is None and self._learning.judge is None
        if episode.stop in (*INTERRUPTED, Stop.ERROR) or not steps or unjudged or self._learning.memory.frozen:
            return False
        if episode.score is not None and not self._distils(episode, steps) and self._learning.judge is None:
            return False
        with self._lock:
            self._waiting.append((episode, steps))
            if self._working is None or self._working.done():
                self._working = self._background.start(self._work())
        return True

    def scored(self, episode: Episode) -> Episode:
        """``episode`` got a score when it was over: record it so, with what was used since."""
        with self._lock:
            before = self._told.get(episode.id)
            if before is not None:
                episode = episode.replace(spend=before.spend, after=before.after)
            return self._recorded(episode)

    def end(self, episode: Episode) -> None:
        """Record what was used after an episode's end; a score that somebody gave it meanwhile stays."""
        with self._lock:
            before = self._told.get(episode.id)
            if before is not None and before.score is not None:
                episode = episode.replace(score=before.score, success=before.success, verdict=before.verdict)
            self._recorded(episode)

    def _recorded(self, episode: Episode) -> Episode:
        self._recorder.end(episode)
        self._told[episode.id] = episode
        if len(self._told) > REMEMBERED:
            self._told.popitem(last=False)
        return episode

    def flush(self) -> None:
        """Wait until nothing is left to do."""
        while (working := self._working) is not None:
            working.result()
            with self._lock:
                if self._working is working and not self._waiting:
                    return

    def close(self) -> None:
        """See to what is left, and end the thread."""
        try:
            self.flush()
        finally:
            self._background.close()

    def _distils(self, episode: Episode, steps: Steps) -> bool:
        return self._learning.distiller is not None and (not episode.success or informed(episode, steps))

    async def _work(self) -> None:
        while True:
            with self._lock:
                if not self._waiting:
                    # Whoever puts one from here on begins anew.
                    self._working = None
                    return
                episode, steps = self._waiting.popleft()
            await self._see_to(episode, steps)

    async def _see_to(self, episode: Episode, steps: Steps) -> None:
        try:
            await self._one(episode, steps)
        except AtlasError as error:
            # Nobody waits for this thread: what it cannot do is said, and stays due.
            log.warning("nothing was learned from episode %s: %s", episode.id, error)
            return
        self._over(episode.id)

    async def _straight(self, episode: Episode, steps: Steps) -> None:
        learning, account = self._learning, Account([self._meter])
        verdict = await learning.judged(episode, steps, account)
        lesson = await learning.distilled(learning.rewarded(episode, verdict), steps, account)
        told = learning.told(episode, verdict, lesson)
        if told != episode and isinstance(self._recorder, Tells):
            self.end(told)
        if episode.score is None and told.score is not None:
            self._keep(told, steps)
        lived = learning.remember(told, steps, verdict, lesson, learn=self._may(told, steps))
        if isinstance(self._recorder, Tells) and worth_telling(lived.learned):
            self._recorder.tell(lived.learned)

    async def _by_graph(self, episode: Episode, steps: Steps) -> None:
        from atlas.graph import LoopContext, looped

        context = LoopContext(episode=episode, steps=steps, learning=self._learning, learn=self._may, scored=self._keep)
        context.account = Account([self._meter])
        context.recorder = _Anew(self, self._recorder) if isinstance(self._recorder, Tells) else None
        await looped(context)

    def _may(self, episode: Episode, steps: Steps) -> bool:
        return self._learn and informed(episode, steps)


class _Anew(Unrecorded):
    """Records what follows an episode."""

    def __init__(self, afterwards: Afterwards, tells: Tells) -> None:
        self.end = afterwards.end  # type: ignore[method-assign]
        self.tell = tells.tell


def learning_of(
    memory: object,
    teacher: Model | None,
    distil: bool | Model | str | Distiller,
    judge: Judge | None,
    folder: Place | None,
    run: str,
) -> Learning | None:
    """How an agent learns after its episodes; None where there is nobody to ask, or nowhere to put it.

    Raises ConfigError for what cannot distil, and for what cannot judge.
    """
    distil = model_of(distil) or False if isinstance(distil, str) else distil
    if not isinstance(distil, bool | Model | None) and not callable(getattr(distil, "distil", None)):
        raise ConfigError(f"an agent's distil is True, False, a model or its name, or a distiller, not {distil!r:.80}")
    if judge is not None and not isinstance(judge, Judge):
        raise ConfigError(f"an agent's judge is one of atlas.evaluators, an EnsembleJudge say, not {judge!r:.80}")
    if not isinstance(memory, Memory):
        return None
    distiller: Distiller | None = None
    if isinstance(distil, bool):
        writes = teacher is not None and not isinstance(teacher, ReadsView) and not getattr(teacher, "scripted", False)
        distiller = ModelDistiller(teacher) if distil and writes and teacher is not None else None
    elif isinstance(distil, Model):
        distiller = ModelDistiller(distil)
    else:
        distiller = distil
    if distiller is None and judge is None:
        return None
    return Learning(memory, distiller=distiller, judge=judge, folder=folder, run=run)
