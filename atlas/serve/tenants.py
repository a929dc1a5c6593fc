"""Who may use a server, and with what: each tenant has keys, an agent, a memory and a run of its own."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import time
from collections import deque
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

from atlas.errors import ConfigError
from atlas.redact import scrub
from atlas.serve.episodes import Episodes
from atlas.serve.kept import Kept
from atlas.serve.moving import Moving
from atlas.traces.server import ServerRun
from atlas.traces.server_open import ServerResponses
from atlas.wire.app import Wire
from atlas.wire.kept import LARGEST, MOST
from atlas.wire.refusals import Refused
from atlas.wrap import Agent

WAITING = 8
"""Calls that wait, for each that may be under way."""
PATIENCE = 60.0
"""Seconds that one waits at the most."""


@dataclass(frozen=True)
class Limits:
    """Bounds for each tenant."""

    idle: float = 900.0
    """Seconds without a call after which an episode ends."""
    episodes: int = 1000
    """Open at a time."""
    calls: int = 256
    """Under way at a time; others wait for them."""
    rate: float = 0.0
    """Calls a second, on average over ten seconds; 0 for no bound."""
    body: int = 64 << 20
    """Bytes of a request."""

    def __post_init__(self) -> None:
        for name in ("idle", "episodes", "calls", "body"):
            if getattr(self, name) <= 0:
                raise ConfigError(f"the limit {name} of a server is above 0, not {getattr(self, name)}")
        if self.rate < 0:
            raise ConfigError(f"the limit rate of a server is 0 for none, or above, not {self.rate}")


class Tenant:
    """One user of a server: nothing of it is reached by another's key."""

    def __init__(
        self,
        name: str,
        agent: Agent,
        keys: Iterable[str] = (),
        limits: Limits | None = None,
        *,
        goal: str = "",
        task: str = "",
        lasting: bool = True,
        moves: bool = False,
    ) -> None:
        """
        keys: any of which is asked for; kept as their digests. Without one no key is asked for.
        goal, task: of episodes whose calls name none.
        lasting: whether the episodes that are open when the server stops go on when it is started again.
        moves: whether open episodes are kept in its run, which is on a server, for other processes to go on with.
        """
        limits = limits or Limits()
        self.name = name
        self.agent = agent
        self.limits = limits
        kept = Kept(agent.folder, name) if lasting and agent.folder is not None else None
        moving = Moving(agent) if moves else None
        self.episodes = Episodes(
            agent, idle=limits.idle, most=limits.episodes, goal=goal, task=task, kept=kept, moving=moving
        )
        responses = ServerResponses(agent.place, MOST, LARGEST) if isinstance(agent.place, ServerRun) else None
        self.wire = Wire(self.episodes, largest=limits.body, folder=agent.folder, elsewhere=responses)
        self.under_way = 0
        self._waiting: deque[asyncio.Future[None]] = deque()
        """Calls that are to have a turn, the longest first."""
        self._digests = [_digest(key) for key in keys]
        self._tokens = self._most = 10.0 * limits.rate
        self._then = time.monotonic()

    @property
    def open(self) -> bool:
        """Whether it asks for no key."""
        return not self._digests

    def has(self, digest: bytes) -> bool:
        """Whether one of its keys has that digest. All are looked at, in the same time."""
        return any([hmac.compare_digest(known, digest) for known in self._digests])

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """One more call, while the block lasts. As many as may be under way are, and others wait for their turn, in the
        order in which they came. Raises Refused where that is one too many, or takes too long."""
        self._admit()
        if self.under_way < self.limits.calls and not self._waiting:
            self.under_way += 1
        else:
            await self._wait()
        try:
            yield
        finally:
            self._give()

    def _admit(self) -> None:
        if self.limits.rate:
            now = time.monotonic()
            self._tokens = min(self._most, self._tokens + (now - self._then) * self.limits.rate)
            self._then = now
            if self._tokens < 1.0:
                raise Refused(429, f"more than {self.limits.rate:g} calls a second: ask again later")
            self._tokens -= 1.0

    async def _wait(self) -> None:
        busy = f"{self.limits.calls} calls are under way: wait for one of them"
        if len(self._waiting) >= WAITING * self.limits.calls:
            raise Refused(429, busy)
        mine = asyncio.get_running_loop().create_future()
        self._waiting.append(mine)
        try:
            async with asyncio.timeout(PATIENCE):
                await mine
        except BaseException as error:
            if mine.done() and not mine.cancelled():
                self._give()  # its turn came just now
            else:
                with suppress(ValueError):  # passed over already
                    self._waiting.remove(mine)
            if isinstance(error, TimeoutError):
                raise Refused(429, busy) from None
            raise

    def _give(self) -> None:
        """A turn is over: it is the next one's."""
        while self._waiting:
            following = self._waiting.popleft()
            if not following.done():
                following.set_result(None)
                return
        self.under_way -= 1


class Tenants:
    """All of a server's."""

    def __init__(self, tenants: Iterable[Tenant]) -> None:
        self.all = list(tenants)
        if not self.all:
            raise ConfigError("a server has at least one tenant: give it an agent")
        if len(self.all) > 1 and any(tenant.open for tenant in self.all):
            raise ConfigError("of several tenants each has a key of its own: give every tenant a key")

    @property
    def open(self) -> bool:
        """Whether no key is asked for."""
        return any(tenant.open for tenant in self.all)

    def of(self, headers: Mapping[str, str]) -> Tenant:
        """Whose call it is. Raises Refused for a key that is nobody's."""
        if self.open:
            return self.all[0]
        digest = _digest(key_of(headers))
        found = [tenant for tenant in self.all if tenant.has(digest)]
        if not found:
            raise Refused(
                401, "the key is missing or not known here: send one of this server's", code="invalid_api_key"
            )
        return found[0]


def key_of(headers: Mapping[str, str]) -> str:
    """The key that a call carries, in whichever header its API has for it."""
    scheme, _, bearer = headers.get("authorization", "").partition(" ")
    return bearer.strip() if scheme.lower() == "bearer" else headers.get("x-api-key", "") or headers.get("api-key", "")


def read_keys(names: Iterable[str], environment: Mapping[str, str]) -> list[str]:
    """The keys in these variables of the environment. Keys stand in no file and on no command line."""
    keys = []
    for name in names:
        key = environment.get(name, "").strip()
        if len(key) < 16:
            raise ConfigError(
                f"the environment variable {scrub(name)} holds no key of at least 16 characters: set it, for example "
                "to what 'openssl rand -hex 32' prints"
            )
        keys.append(key)
    return keys


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).digest()
