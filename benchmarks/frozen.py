"""A memory that is frozen and a run that would write to it: refused before there is a folder of the run."""

from __future__ import annotations

from contextlib import closing

from atlas.benchmarks.options import BenchOptions
from atlas.errors import ConfigError
from atlas.memory.backend import there
from atlas.memory.database import Database


def check_given(options: BenchOptions) -> None:
    """Of the memory that ``options`` name, where there is one. Raises ConfigError."""
    if options.memory and (options.demos or options.trials) and there(str(options.memory)):
        with closing(Database(str(options.memory))) as database:
            check_unfrozen(database, options)


def check_unfrozen(database: Database, options: BenchOptions) -> None:
    """Raise ConfigError where ``database`` is frozen, and what ``options`` ask for is written to it."""
    if database.frozen() and (options.demos or options.trials):
        is_so, mend = "frozen", f"'atlas memory freeze {database.path} --off' first"
        if database.read_only:
            is_so, mend = "read-only", "name one that can be written"
        raise ConfigError(
            f"the memory {database.path} is {is_so}, and new demonstrations and trials would be written to it: "
            f"give --demos 0 and no --trials, or {mend}"
        )
