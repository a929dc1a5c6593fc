"""Spans of a run to a collector, as it is played."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from atlas.benchmarks.options import BenchOptions
from atlas.errors import ConfigError
from atlas.protocols import Recorder
from atlas.traces import RunWriter


def check_sending(options: BenchOptions) -> None:
    """Raises ConfigError for a collector that is none, MissingExtra where what sends to it is not installed."""
    if options.otlp is None:
        if options.otlp_content:
            raise ConfigError("--otlp-content is for spans that are sent: give the URL of a collector with --otlp")
        return
    from atlas.export.otel_send import endpoint

    endpoint(options.otlp)


@contextmanager
def sending(options: BenchOptions, writer: RunWriter) -> Iterator[Recorder]:
    """What records episodes: ``writer``, and where ``options`` name a collector what sends spans of them as well.

    In an event loop. What waits is sent when the block ends, and when the process is told to end (SIGTERM).
    """
    if options.otlp is None:
        yield writer
        return
    from atlas.export.otel_live import OtelLive

    with OtelLive(options.otlp, writer, run=writer.name, content=options.otlp_content) as live:
        loop = asyncio.get_running_loop()

        def told_to_end() -> None:
            live.close()
            loop.remove_signal_handler(signal.SIGTERM)
            os.kill(os.getpid(), signal.SIGTERM)

        # Only the main thread hears signals, and a handler of others stays.
        if ours := signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
            with suppress(ValueError, RuntimeError):
                loop.add_signal_handler(signal.SIGTERM, told_to_end)
        try:
            yield live
        finally:
            if ours:
                loop.remove_signal_handler(signal.SIGTERM)
