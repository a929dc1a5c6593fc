"""What is served, or run: an agent from the command line, or one of yours by name."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from types import NoneType
from typing import Any, TypeVar

import click

from atlas.cli.number import Number
from atlas.errors import ConfigError

EXPECTED = 0.5
F = TypeVar("F", bound=Callable[..., Any])

_NUMBER = ((int, float), "number")
_WANTED: dict[str, tuple[tuple[type, ...], str]] = {
    "samples": ((int,), "whole number"),
    "success_score": _NUMBER,
    "expect": ((int, float, NoneType), "number, or null for none"),
    "audit": _NUMBER,
    "episode_tokens": ((int,), "whole number"),
    "episode_dollars": _NUMBER,
    "run_tokens": ((int,), "whole number"),
    "run_dollars": _NUMBER,
    "distil": ((bool,), "yes or no"),
    "otlp_content": ((bool,), "yes or no"),
}
"""What a file may give for those that are not text."""


@dataclass(frozen=True)
class AgentOptions:
    """The settings of an agent that a command line, or a tenant's entry in a file, can have."""

    agent: str | None = None
    student: str | None = None
    teacher: str | None = None
    student_price: str | None = None
    teacher_price: str | None = None
    memory: str | None = None
    embedder: str | None = None
    index: str | None = None
    run: str | None = None
    samples: int = 3
    success_score: float = 1.0
    expect: float | None = EXPECTED
    audit: float | None = None
    distil: bool = True
    episode_tokens: int | None = None
    episode_dollars: float | None = None
    run_tokens: int | None = None
    run_dollars: float | None = None
    otlp: str | None = None
    otlp_content: bool = False

    @classmethod
    def read(cls, given: Mapping[str, Any], where: str) -> AgentOptions:
        """From a file's entry. Raises ConfigError for what is no setting of an agent."""
        known = {field.name for field in fields(cls)}
        if unknown := sorted(set(given) - known):
            raise ConfigError(f"{where} has {', '.join(unknown)}, which is none of {', '.join(sorted(known))}")
        for name, value in given.items():
            wanted, words = _WANTED.get(name, ((str,), "text"))
            if not isinstance(value, wanted) or (isinstance(value, bool) and bool not in wanted):
                raise ConfigError(f"{where} has {name}: {value!r}, which is no {words}")
            if not isinstance(value, int | float):
                continue
            if not math.isfinite(value):
                raise ConfigError(f"{where} has {name}: {value!r}, which is no finite number")
            if name.endswith(("dollars", "tokens")) and value <= 0:
                raise ConfigError(f"{where} has {name}: {value!r}, and a budget is above 0: leave it out for none")
        return cls(**given)

    def make(self, tenant: str = "") -> Any:
        """The agent. One of your own is made by its function, which is given the tenant's name where it takes one."""
        from atlas.budget import Budget
        from atlas.own import load_own
        from atlas.trust.given import trust_for
        from atlas.wrap import Agent

        if self.agent is not None:
            if self != AgentOptions(agent=self.agent):
                raise ConfigError(f"{self.agent} says who acts, remembers and records: leave out the other settings")
            found = load_own(self.agent)
            made = found if isinstance(found, Agent) else _called(found, tenant, self.agent)
            if not isinstance(made, Agent):
                raise ConfigError(f"{self.agent} makes no atlas.Agent: name one, or a function that returns one")
            return made
        for name, price in (("student", self.student_price), ("teacher", self.teacher_price)):
            if price is not None and not getattr(self, name):
                raise ConfigError(f"--{name}-price is the price of --{name}: give that too")
        if not self.student and not self.teacher:
            raise ConfigError("there is nobody who acts: give --student, --teacher, or --agent FILE.py:NAME")
        limits = [
            None if tokens is None and dollars is None else Budget(tokens=tokens, dollars=dollars)
            for tokens, dollars in (
                (self.episode_tokens, self.episode_dollars),
                (self.run_tokens, self.run_dollars),
            )
        ]
        return Agent(
            _priced(self.student, self.student_price),
            _priced(self.teacher, self.teacher_price),
            memory=self.memory,
            embedder=self.embedder,
            index=self.index,
            run=self.run,
            samples=self.samples,
            # A priced student is no name any more, and is trusted as its name was promoted to all the same.
            trust=trust_for(self.student) if self.student and self.teacher and self.student_price else None,
            success_score=self.success_score,
            expect=self.expect,
            audit=self.audit,
            distil=self.distil,
            budget=limits[0],
            run_budget=limits[1],
            otlp=self.otlp,
            otlp_content=self.otlp_content,
        )


def _priced(name: str | None, price: str | None) -> Any:
    """The model of that name at that price; its name alone where none is stated."""
    from atlas.models import load

    return name if name is None or price is None else load(name, price=price)


def _expected(context: click.Context, option: click.Parameter, given: str) -> float | None:
    """A share of episodes, or ``none``."""
    try:
        share = None if given == "none" else float(given)
    except ValueError:
        share = math.nan
    if share is not None and not 0.0 <= share < 1.0:
        raise click.BadParameter(f"{given!r} is no share from 0 to less than 1, and not 'none'")
    return share


def agent_options(command: F) -> F:
    """The options of an agent, for a command that takes them together as ``settings``."""
    options = (
        click.option("--agent", help="FILE.py:NAME of an atlas.Agent, or of a function that makes one."),
        click.option("--student", help="MODEL that acts where its samples agree."),
        click.option("--teacher", help="MODEL that acts elsewhere; alone, it acts always."),
        click.option("--student-price", help="Dollars per million tokens: PROMPT/COMPLETION[/CACHED]."),
        click.option("--teacher-price", help="The same for the teacher."),
        click.option("--memory", type=str, help="FILE or URL of a memory: what worked is kept there and shown again."),
        click.option("--embedder", help="By which the memory finds things.  [default: minilm]"),
        click.option("--index", help="What it is searched by: auto, exact, faiss, chroma, or chroma://HOST:PORT."),
        click.option("--run", type=str, help="FOLDER to record episodes in."),
        click.option(
            "--samples", type=click.IntRange(1, 1000), default=3, show_default=True, help="Votes of the student."
        ),
        click.option(
            "--success-score", type=Number(), default=1.0, show_default=True, help="From which one succeeded."
        ),
        click.option(
            "--expect",
            metavar="SHARE",
            callback=_expected,
            default=str(EXPECTED),
            show_default=True,
            help="That is to succeed: below it the teacher takes over. 0: what was shown before; none: never.",
        ),
        click.option(
            "--audit",
            type=Number(0, 1),
            help="SHARE of the student's steps on which the teacher is asked too.  [default: 0.02 with both models]",
        ),
        click.option(
            "--distil/--no-distil",
            default=True,
            show_default=True,
            help="Whether the teacher writes entries into the memory, in the background, from what it had a part in.",
        ),
        click.option("--episode-tokens", type=click.IntRange(1), help="Budget of an episode."),
        click.option("--episode-dollars", type=Number(0, min_open=True), help="Budget of an episode."),
        click.option("--run-tokens", type=click.IntRange(1), help="Budget of the whole run."),
        click.option("--run-dollars", type=Number(0, min_open=True), help="Budget of the whole run."),
        click.option("--otlp", help="URL of an OpenTelemetry collector: spans are sent there as they happen."),
        click.option("--otlp-content", is_flag=True, help="Prompts, replies and tools' results in those spans too."),
    )
    for option in reversed(options):
        command = option(command)
    return command


def _called(found: Any, tenant: str, name: str) -> Any:
    if not callable(found):
        return found
    import inspect

    return found(tenant) if inspect.signature(found).parameters else found()


def shared(paths: Mapping[str, AgentOptions]) -> None:
    """Raises ConfigError where two tenants have the same memory or run."""
    from atlas.memory.backend import is_url, told

    seen: dict[str, str] = {}
    for tenant, options in paths.items():
        for place in (options.memory, options.run):
            if place is None or place == ":memory:":
                continue
            path = told(place) if is_url(place) else str(Path(place).expanduser().resolve())
            if seen.setdefault(path, tenant) != tenant:
                raise ConfigError(f"tenants {seen[path]} and {tenant} share {told(place)}: give each its own")
