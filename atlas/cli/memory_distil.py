"""``atlas memory distil``: what stored episodes teach, into a memory."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import click

from atlas.cli.memory_common import MEMORY, counted, memory_at
from atlas.cli.progress import following
from atlas.cli.stopping import goes_on

if TYPE_CHECKING:
    from atlas.evaluators.verdict import Verdict
    from atlas.memory.distil import Distiller
    from atlas.traces import Run


@click.command("distil")
@click.argument("run", type=str)
@click.option("--into", help=f"The memory. [default: {MEMORY} in the run's folder; made if new]")
@click.option(
    "--distiller", default="scripted", show_default=True, help="A language model (one call per episode), or scripted."
)
@click.option("--price", help="Dollars per million tokens of that model: PROMPT/COMPLETION[/CACHED].")
@click.option("--arm", help="Only this arm.")
@click.option("--judge", help="Hash of a judge's verdicts beside the run. [default: the environment's score]")
@click.option(
    "--step-judge",
    type=click.Path(path_type=Path),
    help="Folder that 'atlas train judge' wrote: scripted learns no answers from steps at which its chance fell.",
)
@click.option("--embedder", default="minilm", show_default=True, help="minilm, hash, or sentence-transformers/NAME.")
@click.option("--cap", default=1_000, type=click.IntRange(min=1), show_default=True, help="Entries kept at most.")
@click.option("--concurrency", default=8, type=click.IntRange(1, 256), show_default=True, help="Episodes at once.")
@click.option("--retry", is_flag=True, help="Ask again where a paid call came to nothing.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object instead of sentences.")
def distil(
    run: str,
    into: str | None,
    distiller: str,
    price: str | None,
    arm: str | None,
    judge: str | None,
    step_judge: Path | None,
    embedder: str,
    cap: int,
    concurrency: int,
    retry: bool,
    as_json: bool,
) -> None:
    """Learn entries from the judged episodes of RUN: each once, also when the command is killed and called again."""
    from atlas.distil import distil_run, distiller_hash, paid, read_lessons
    from atlas.errors import ConfigError
    from atlas.memory.pamphlets import PamphletStore
    from atlas.records import total
    from atlas.regrade import finished
    from atlas.tables import console, money, plain
    from atlas.traces.reader import find_run

    found = find_run(run)
    writer = _distiller(distiller, price, step_judge)
    episodes = finished(found, arm)
    verdicts = _verdicts(found, judge)
    if not episodes:
        raise ConfigError(
            f"the run {found.name} has no finished episode{f' of the arm {arm!r}' if arm else ''} to distil"
        )
    path = memory_at(into or found.place.memory("memory"))
    missed: Counter[str] = Counter()
    out = console(stderr=as_json)

    with (
        PamphletStore(path, embedder, cap=cap) as memory,
        goes_on(kept="what was learned is kept"),
        following("episodes") as seen,
    ):
        before = len(memory)
        lessons = asyncio.run(
            distil_run(
                found,
                writer,
                episodes,
                memory,
                verdicts=verdicts,
                batch=concurrency,
                retry=retry,
                seen=seen,
                missed=lambda why: missed.update([why]),
            )
        )
        held, path = len(memory), memory.path
    if not lessons and missed:
        raise ConfigError(f"none of {counted(len(episodes), 'episode')} was distilled: {missed.most_common(1)[0][0]}")
    spend = total(paid(read_lessons(found.place, distiller_hash(writer))))
    written = sum(len(lesson.distilled.entries) for lesson in lessons)
    dropped = [why for lesson in lessons for why in lesson.distilled.dropped]
    if as_json:
        told = {
            "memory": path,
            "episodes": len(episodes),
            "taught": len(lessons),
            "written": written,
            "missed": dict(missed),
            "dropped": dropped,
            "entries": held,
            "new": held - before,
            "calls": spend.calls,
            "dollars": spend.dollars,
        }
        click.echo(json.dumps(told, indent=2))
        return
    cost = f"{spend.calls:,} calls, {money(spend.dollars)}" if spend.calls else "no model asked"
    out.print(
        plain(
            f"{len(lessons):,} of {len(episodes):,} episodes taught something: {counted(written, 'entry')} written, "
            f"{len(dropped)} dropped; {path} holds {counted(held, 'entry')}, {held - before:+d} ({cost})"
        )
    )
    for why, count in missed.most_common(5):
        out.print(plain(f"  not distilled {count}: {why}", "dim"))
    for why, count in Counter(dropped).most_common(5):
        out.print(plain(f"  dropped {count}: {why}", "dim"))


def _distiller(name: str, price: str | None, step_judge: Path | None) -> Distiller:
    if name == "scripted":
        from atlas.cli.trust_judge import load_critic
        from atlas.memory.distil_scripted import ScriptedDistiller

        return ScriptedDistiller(critic=load_critic(step_judge) if step_judge else None)
    if step_judge is not None:
        from atlas.errors import ConfigError

        raise ConfigError(f"the distiller {name} asks no judge of steps: leave --step-judge out, or distil by scripted")
    from atlas.memory.distil_model import ModelDistiller
    from atlas.models import load

    return ModelDistiller(load(name, price=price))


def _verdicts(run: Run, judge: str | None) -> dict[str, Verdict] | None:
    """The newest verdicts of a judge, by episode. ConfigError where it gave none."""
    from atlas.errors import ConfigError
    from atlas.traces.verdicts import newest, read_verdicts

    if judge is None:
        return None
    lines = [line for line in read_verdicts(run.place) if line.config.startswith(judge)]
    if not lines:
        raise ConfigError(
            f"no verdict beside {run.path} is of a judge {judge!r}: 'atlas regrade --json' tells it as config"
        )
    return {episode: line.verdict for episode, line in newest(lines).items()}
