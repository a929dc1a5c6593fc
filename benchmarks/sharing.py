"""A run that several processes play together: each episode is played and paid once, and all of them wait for all."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from atlas.records import INTERRUPTED, Episode, Price, Spend, Usage, counted, total
from atlas.runner import Job, Key
from atlas.traces import Run
from atlas.traces.claims import WAIT as WAIT
from atlas.traces.claims import Claims
from atlas.traces.place import Place, place_of
from atlas.traces.reader import Results, StoredEpisode


class Shared:
    """This process's part in the run in ``folder``, and the results of all.

    ``prices`` of the models, by name: what older builds left without dollars is counted by them.
    """

    def __init__(self, folder: Path | Place, prices: Mapping[str, Price | None] | None = None) -> None:
        self._folder = place_of(folder)
        self._prices = prices or {}
        self._results = Results(self._folder)
        self._all: list[Episode] = []
        self._ids: set[str] = set()
        self._ends: dict[Key, list[str]] = {}
        """The ids of the results of each key."""
        self._before: list[StoredEpisode] | None = None
        self.episodes: list[Episode] = []
        """The results so far, without those that were played again after an error."""
        self.claims = Claims(self._folder, self._spent)
        self.look()

    @property
    def before(self) -> list[StoredEpisode]:
        """What the trace held when this process began, or when it last waited for others."""
        if self._before is None:
            self._before = Run(self._folder).episodes()
        return self._before

    @property
    def past(self) -> Usage:
        """What :attr:`before` used."""
        gone = Run(self._folder).pruned()
        spends = [*(s for e in self.before for s in e.spend), *(gone.spend if gone else ())]
        return total(map(self._priced, spends))

    def look(self) -> None:
        """Take in what has come since."""
        self.add(self._results.new())

    def add(self, episodes: Iterable[Episode]) -> None:
        new = [e for e in episodes if e.id not in self._ids]
        self._ids.update(e.id for e in new)
        self._all += new
        for e in new:
            if e.stop not in INTERRUPTED:
                self._ends.setdefault((e.arm, e.task.id, e.seed), []).append(e.id)
        if any(e.retries for e in new):
            self.episodes = counted(self._all)
        else:
            self.episodes += new

    def take(self, job: Job) -> bool:
        if not self.claims.claim(job.key):
            return False
        # Whoever had it before has written its end by now.
        self.look()
        if self.over(job):
            self.claims.release(job.key)
            return False
        return True

    def give_back(self, job: Job) -> None:
        self.claims.release(job.key)

    def over(self, job: Job) -> bool:
        """Whether ``job`` has a result: of one that plays an error again, another one than that error."""
        return any(found != job.retries for found in self._since(job))

    def left(self, jobs: Sequence[Job]) -> list[Job]:
        """Those of ``jobs`` that are still to be played, by this process or by others."""
        return [job for job in jobs if not self.over(job)]

    def _since(self, job: Job) -> list[str]:
        """The results of a job's key, from the one that it retries on."""
        found = self._ends.get(job.key, [])
        return found[found.index(job.retries) :] if job.retries in found else found

    @asynccontextmanager
    async def alone(self, what: str, waiting: Callable[[], None] = lambda: None) -> AsyncIterator[None]:
        """One process at a time does ``what``; the others wait until it has, or is gone."""
        waited = False
        while not self.claims.claim(what):
            waiting()
            waited = True
            await asyncio.sleep(WAIT)
        try:
            if waited:
                self._before = None
            self.look()
            yield
        finally:
            self.claims.release(what)

    def close(self) -> None:
        self.claims.close()

    def __enter__(self) -> Shared:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _spent(self) -> Usage:
        self._before = None
        return self.past

    def _priced(self, spend: Spend) -> Spend:
        """``spend`` with dollars at the most where it has none, and nothing that lowers a sum."""
        used = spend.usage
        prompt, completion = max(0, used.prompt_tokens), max(0, used.completion_tokens)
        price = self._prices.get(spend.model)
        if used.at_most is None and price is not None:
            used = used.replace(most=price.dollars(prompt, completion))
        elif used.at_most is not None and used.at_most < 0:
            used = used.replace(most=0.0)
        return spend.replace(usage=used.replace(prompt_tokens=prompt, completion_tokens=completion))
