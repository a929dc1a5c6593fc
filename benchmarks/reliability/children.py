"""Commands as processes that can be killed at any moment, without the second that their imports take.

A child is a fork of this process with everything imported; it does what ``atlas`` does with the same words.
"""

from __future__ import annotations

import importlib
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from atlas.errors import ConfigError

LONGEST = 300.0
"""Seconds after which a command that does not end is given up."""
_PAUSE = 0.002


def command(words: Sequence[str]) -> Callable[[], None]:
    """What ``atlas WORDS`` does."""

    def work() -> None:
        from atlas.cli import main

        main(list(words))

    return work


def load(modules: Sequence[str]) -> None:
    """Import what the children need: here, once."""
    for name in modules:
        importlib.import_module(name)


def warmed(work: Callable[[], None], folder: Path, said: Path, codes: Sequence[int] = (0,)) -> float:
    """:func:`run`, after which everything that it has imported is imported here."""
    names = said.with_suffix(".modules")

    def noting() -> None:
        try:
            work()
        finally:
            names.write_text("\n".join(sys.modules), encoding="utf-8")

    seconds = run(noting, folder, said, codes)
    for name in names.read_text(encoding="utf-8").splitlines():
        if name not in sys.modules:
            with suppress(ImportError):  # some are named so only where others have made them
                importlib.import_module(name)
    return seconds


def begin(work: Callable[[], None], folder: Path, said: Path) -> int:
    """Start ``work`` in a child that stands in ``folder`` and says what it says to the file ``said``; its id."""
    sys.stdout.flush()
    sys.stderr.flush()
    child = os.fork()
    if child:
        return child
    code = 1
    try:
        os.chdir(folder)
        out = os.open(said, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        nothing = os.open(os.devnull, os.O_RDONLY)
        for number, file in enumerate((nothing, out, out)):
            os.dup2(file, number)
        # Whoever runs this may have put something else in their place.
        sys.stdout, sys.stderr = (open(number, "w", encoding="utf-8", closefd=False) for number in (1, 2))  # noqa: SIM115
        work()
        code = 0
    except SystemExit as stop:
        code = stop.code if isinstance(stop.code, int) else int(stop.code is not None)
    except BaseException:
        traceback.print_exc()
    finally:
        try:
            sys.stdout.flush()
            sys.stderr.flush()
        finally:
            os._exit(code)


def ended(child: int, within: float) -> int | None:
    """The exit code of a child, the negative of the signal that ended it; None where it has not ended in so many
    seconds."""
    until = time.monotonic() + within
    while True:
        found, status = os.waitpid(child, os.WNOHANG)
        if found:
            return os.waitstatus_to_exitcode(status)
        left = until - time.monotonic()
        if left <= 0:
            return None
        time.sleep(min(_PAUSE, left))


def kill(child: int) -> int:
    """Kill -9; how it ended, which may have been before."""
    os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status)


def killed(work: Callable[[], None], folder: Path, said: Path, after: float, codes: Sequence[int] = (0,)) -> bool:
    """Whether ``work`` was killed after so many seconds; it may have ended before."""
    child = begin(work, folder, said)
    code = ended(child, after)
    if code is None:
        code = kill(child)
    if code == -signal.SIGKILL:
        return True
    _whole(code, said, codes)
    return False


def run(work: Callable[[], None], folder: Path, said: Path, codes: Sequence[int] = (0,)) -> float:
    """Run ``work`` to its end; the seconds that it took. Raises Failed, with what it said, where it ends with another
    than ``codes``."""
    began = time.perf_counter()
    child = begin(work, folder, said)
    code = ended(child, LONGEST)
    if code is None:
        kill(child)
    _whole(code, said, codes)
    return time.perf_counter() - began


class Failed(ConfigError):
    """A command did not do what it was told; ``code`` is how it ended, None where it did not."""

    code: int | None = None


def _whole(code: int | None, said: Path, codes: Sequence[int]) -> None:
    if code not in codes:
        words = said.read_text(encoding="utf-8", errors="replace").strip().splitlines()[-1:] or ["nothing"]
        how = f"did not end in {LONGEST:g} s" if code is None else f"ended with {code}"
        failed = Failed(f"a command that is measured {how}, saying {words[0][:300]!r}: try it by hand")
        failed.code = code
        raise failed
