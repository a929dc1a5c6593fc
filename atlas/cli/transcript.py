"""One episode as a transcript for a terminal."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from atlas.records import TEACHER, Prompt, Step, Vote, total
from atlas.tables import plain, shorten
from atlas.words import dollars, tokens, why

if TYPE_CHECKING:
    from rich.console import Console

    from atlas.traces.reader import StoredEpisode


HITS = 3
"""Retrieved windows named per step; ``--prompts`` names them all."""


GOAL = 400
"""Characters of a goal that are shown, as of what is seen: some agents are handed a whole document. JSON has it all."""


def print_episode(out: Console, episode: StoredEpisode, *, prompts: bool = False) -> None:
    """Print every step of ``episode``: what was seen, who acted and why, votes, demonstrations, action, cost."""
    result = episode.result
    goal, task = episode.task.goal, shorten(episode.task.id, GOAL)
    out.print(plain(goal if len(goal) <= GOAL else shorten(goal, GOAL), "bold"))
    out.print(plain(f"episode {episode.id} · arm {episode.arm} · task {task} · seed {episode.seed}", "dim"))
    if episode.name:
        out.print(plain(f"its client called it {episode.name}", "dim"))
    if result and result.plan:
        out.print(plain(f"plan: {result.plan}", "dim"))
    for by in episode.resumed:
        out.print(plain(f"went on after its server was stopped, found by its {by}", "dim"))
    for step in episode.steps:
        _print_step(out, step, prompts)
    if episode.steps:
        out.print()
        _line(out, "ends", shorten(episode.steps[-1].outcome.text, 400))
    if episode.lost:
        said = "a step" if episode.lost == 1 else f"{episode.lost} steps"
        out.print(plain(f"\n{said} of it cannot be shown: lines of the trace are lost", "red"))
    if result is None:
        out.print(plain("\nopen: still running, or its process was killed", "yellow"))
        return
    if result.failure:
        out.print(plain(f"\n{result.failure.where}: {result.failure.kind}: {result.failure.message}", "red"))
    usage = total(result.spend)
    score = "no score" if result.score is None else f"score {result.score:g}"
    figures = f"{result.steps} steps, {result.teacher_steps} by the teacher, {tokens(usage)}, {dollars(usage)}"
    out.print(plain(f"\n{result.stop.value}: {score}, {figures}", "bold green" if result.success else "bold yellow"))


def _print_step(out: Console, step: Step, prompts: bool) -> None:
    decision = step.decision
    out.print()
    _line(out, "sees", shorten(step.observation, 400), number=step.index + 1)
    if prompts:
        _print_prompt(out, decision.prompt)
    if decision.plan:
        _line(out, "plan", decision.plan, "italic")
    for text in vote_lines(decision.votes):
        _line(out, "votes", text, "dim")
    if decision.retrieved:
        hits = decision.retrieved if prompts else decision.retrieved[:HITS]
        shown = "  ".join(f"{h.demo_id}[{h.start}:{h.start + h.length}] {h.score:.2f}" for h in hits)
        more = len(decision.retrieved) - len(hits)
        _line(out, "recalls", f"{shown}  and {more} more" if more else shown, "dim")
    if decision.guidance:
        notes = decision.guidance if prompts else decision.guidance[:HITS]
        shown = "  ".join(f"{c.id[:8]} {c.score:.2f}{'' if c.shown else ' withheld'}" for c in notes)
        more = len(decision.guidance) - len(notes)
        _line(out, "notes", f"{shown}  and {more} more" if more else shown, "dim")
    if decision.thought:
        _line(out, "thinks", shorten(decision.thought, 300), "italic")
    colour = "magenta" if decision.actor == TEACHER else "cyan"
    _line(out, decision.actor, decision.action or "(no action)", "bold", label_style=f"bold {colour}")
    _line(out, "", f"{why(decision)} · {_cost(step)}", "dim")


def _line(out: Console, label: str, text: str, style: str = "", *, number: int = 0, label_style: str = "dim") -> None:
    from rich.table import Table

    grid = Table.grid(padding=(0, 1, 0, 0))
    grid.add_column(width=4, justify="right")
    grid.add_column(width=7, no_wrap=True)
    grid.add_column(overflow="fold")
    grid.add_row(plain(str(number) if number else "", "bold"), plain(label, label_style), plain(text, style))
    out.print(grid)


def _cost(step: Step) -> str:
    usage = total(step.spend)
    return f"{tokens(usage)}, {dollars(usage)}"


def vote_lines(votes: tuple[Vote, ...]) -> list[str]:
    """The samples of each actor, equal ones counted: nothing where only one was drawn."""
    lines = []
    if len(votes) > 1:
        for actor in dict.fromkeys(v.actor for v in votes):
            counted = Counter(v.action or "(no action)" for v in votes if v.actor == actor)
            lines.append(f"{actor}: " + ", ".join(f"{n}x {shorten(action, 60)}" for action, n in counted.items()))
    return lines


def _print_prompt(out: Console, prompt: Prompt) -> None:
    from rich.padding import Padding
    from rich.panel import Panel

    history = "\n".join(
        f"{m.role}: {m.content}" + "".join(f"\n{c.name}({c.arguments})" for c in m.tool_calls) for m in prompt.history
    )
    parts = {"stable": prompt.stable, "history": history, "retrieved": prompt.retrieved, "ask": prompt.ask}
    for name, text in parts.items():
        if text:
            out.print(
                Padding(Panel(plain(text, "dim"), title=name, title_align="left", border_style="dim"), (0, 0, 0, 6))
            )
