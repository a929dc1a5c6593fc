"""A run that several processes play together: each episode is played and paid once, and all of them wait for all."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import cache
from pathlib import Path

from atlas.records import INTERRUPTED, Episode, Price, Spend, Usage, counted
from atlas.runner import Job, Key
from atlas.traces import Run
from atlas.traces.claims import WAIT as WAIT
from atlas.traces.claims import Claims
from atlas.traces.place import Place, place_of
from atlas.traces.reader import Results, StoredEpisode
from atlas.traces.totals import Sums


class Shared:
    """This process's part in the run in ``folder``, and the results of all.

    ``prices`` of the models, by name: what older builds left without dollars is counted by them.
    """

    def __init__(self, folder: Path | Place, prices: Mapping[str, Price | None] | None = None) -> None:
        self._folder = place_of(folder)
        self._prices = prices or {}
        run = Run(self._folder)
        self._all: dict[str, Episode] = {}
        """All results by id, in the order of their ends."""
        self._ends: dict[Key, list[str]] = {}
        """The ids of the results of each key."""
        self.episodes: list[Episode] = []
        """The results so far, without those that were played again after an error."""
        used = cache(lambda: self._used(run))
        self.claims = Claims(self._folder, used)
        self.past = used()
        """What the run had used when this process began."""
        # What was read of it for that is not read again.
        self._results = Results(run)
        self.look()

    def look(self) -> None:
        """Take in what has come since."""
        self.add(self._results.new())

    def add(self, episodes: Iterable[Episode]) -> None:
        """Take in results. One that is known is told anew: it was scored late, or what was learned from it cost
        something."""
        new: dict[str, Episode] = {}
        for e in episodes:
            known = self._all.get(e.id)
            self._all[e.id] = e
            if known is None:
                if e.stop not in INTERRUPTED:
                    self._ends.setdefault((e.arm, e.task.id, e.seed), []).append(e.id)
                new[e.id] = e
            elif e.id in new:
                new[e.id] = e
            elif e != known:
                self._told_anew(e)
        if any(e.retries for e in new.values()):
            self.episodes = counted(self._all.values())
        else:
            self.episodes += new.values()

    def _told_anew(self, episode: Episode) -> None:
        # Most are told anew soon.
        for place in range(len(self.episodes) - 1, -1, -1):
            if self.episodes[place].id == episode.id:
                self.episodes[place] = episode
                return

    def stored(self, keys: Collection[Key], known: Collection[str]) -> list[StoredEpisode]:
        """The episodes of these keys that have a result, with their steps, but for those that are ``known``."""
        ids = {e.id for e in self._all.values() if (e.arm, e.task.id, e.seed) in keys and e.id not in known}
        return Run(self._folder).episodes(among=ids.__contains__) if ids else []

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
        while not self.claims.claim(what):
            waiting()
            await asyncio.sleep(WAIT)
        try:
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

    def _used(self, run: Run) -> Usage:
        sums = run.sums()
        if all(not one.odd and (not one.unpriced or self._prices.get(one.model) is None) for one in sums.rows()):
            return sums.total
        priced, gone = Sums(), run.pruned()
        for spends in (*(e.spend for e in run.episodes()), gone.spend if gone is not None else ()):
            priced.add(map(self._priced, spends))
        return priced.total

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
