"""Several processes that take connections at one port. Each makes its own agents; what they share is on a server."""

from __future__ import annotations

import logging
import os
import select
import signal
import sys
import time
from collections.abc import Callable

log = logging.getLogger("atlas.serve")

_AGAIN = 1.0
"""Seconds before one that has ended by itself is begun again."""
_STOPS = (signal.SIGTERM, signal.SIGINT)


def in_workers(number: int, work: Callable[[Callable[[], object]], None], ready: Callable[[], object]) -> None:
    """Fork ``number`` processes that do ``work``, which is given what tells that it has begun; ``ready`` is called when
    all have. To be called before there are threads. Returns in each of them when it has done its work, and in the first
    one when that was told to stop and all others have ended.

    The second is begun when the first has begun, so that what is wrong is said once: then SystemExit has the status of
    that one. A process that is killed later is replaced.
    """
    reading, writing = os.pipe()
    pids: set[int] = set()
    before = {signum: signal.getsignal(signum) for signum in _STOPS}
    stopping = False

    def stop(signum: int, frame: object) -> None:
        nonlocal stopping
        stopping = True
        for pid in pids:
            os.kill(pid, signal.SIGTERM)

    def forked() -> bool:
        """Whether this is the process that was forked; then it has done its work."""
        pid = os.fork()
        if pid:
            pids.add(pid)
            return False
        for signum, handler in before.items():
            signal.signal(signum, handler)
        os.close(reading)
        work(lambda: os.write(writing, b"."))
        return True

    if forked():
        return
    for signum in _STOPS:
        signal.signal(signum, stop)
    count = 0
    while pids:
        if count < number and select.select([reading], [], [], 0.05)[0]:
            first = not count
            count += len(os.read(reading, number))
            if first and any(forked() for _ in range(number - 1)):
                return
            if count >= number:
                ready()
        pid, status = os.waitpid(-1, 0 if count >= number else os.WNOHANG)
        pids.discard(pid)
        if not pid or stopping:
            continue
        code = os.waitstatus_to_exitcode(status)
        if count < number:
            stop(signal.SIGTERM, None)
            for other in pids:
                os.waitpid(other, 0)
            sys.exit(code if code > 0 else 1)
        log.warning("a process of the server has ended (%s) and is begun again", code)
        time.sleep(_AGAIN)
        if not stopping and forked():
            return
    for signum, handler in before.items():
        signal.signal(signum, handler)
