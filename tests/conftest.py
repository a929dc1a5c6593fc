"""What holds for every test: no call leaves this machine, and official data is found or its absence is said."""

from __future__ import annotations

import os
import re
import signal
import socket
import sys
from collections.abc import Generator, Iterator
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, settings

if TYPE_CHECKING:  # what is set here has to be so before numpy is loaded
    from atlas.benchmarks.alfworld.data import GameRef

# Read when litellm is imported; without it, litellm asks the network for prices, three times.
os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")

# Read when numpy is imported, also by programs that tests start. Its threads wait for each other by spinning: where the
# cores have other work too, they take ten times the CPU time of one alone.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

# Tests run in the background of a shell ignore Ctrl-C, and what they start would inherit that: the tests that press it
# would wait without end.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# An example that takes long on a busy machine is no failure. ``--hypothesis-profile=ci`` says so too.
settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")

_LOCAL = ("localhost", "127.", "::1", "0.0.0.0")
_KEY = re.compile(r"_API_KEY$|_API_TOKEN$|^AWS_(ACCESS|SECRET|SESSION)")


_LOADED = ("atlas", "atlas.models", "atlas.benchmarks.forced", "atlas.benchmarks.tuning", "atlas.benchmarks.perf.local")
"""Modules that have ``load``, the first of them not before it is looked at there."""


class Outside(AssertionError):
    """A test reached for another machine. Mark it ``paid`` if it is meant to call a hosted model."""


@pytest.fixture(autouse=True)
def no_hosted_calls(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No test but a ``paid`` one reaches another machine or sees a key, whatever a model's code tries."""
    if request.node.get_closest_marker("paid"):
        yield
        return
    for name in [name for name in os.environ if _KEY.search(name)]:
        monkeypatch.delenv(name)
    resolve, connect = socket.getaddrinfo, socket.socket.connect

    def local_only(host: Any) -> None:
        text = host.decode() if isinstance(host, bytes) else host
        if isinstance(text, str) and not text.startswith(_LOCAL):
            raise Outside(f"a test reached for {text}: use atlas.testing, or mark it 'paid'")

    def getaddrinfo(host: Any, *rest: Any, **named: Any) -> Any:
        local_only(host)
        return resolve(host, *rest, **named)

    def connected(self: socket.socket, address: Any) -> None:
        if self.family in (socket.AF_INET, socket.AF_INET6):
            local_only(address[0])
        connect(self, address)

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    monkeypatch.setattr(socket.socket, "connect", connected)
    yield


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown() -> Generator[None, None, None]:
    """A stand-in that stays where the models are loaded fails the test that left it, and not those that come after."""
    yield
    load = getattr(sys.modules.get("atlas.models.registry"), "load", None)
    for module in filter(None, map(sys.modules.get, _LOADED)):
        assert vars(module).get("load", load) is load, f"the test left a stand-in in {module.__name__}"


@pytest.fixture(scope="session")
def unseen_games() -> list[GameRef]:
    """ALFWorld's official valid_unseen games, where this machine has them."""
    from atlas.benchmarks.alfworld.data import games
    from atlas.errors import DataError

    try:
        return games("valid_unseen")
    except DataError as missing:
        pytest.skip(str(missing))
