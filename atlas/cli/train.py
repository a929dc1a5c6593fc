"""``atlas train``: a local student from traces."""

from __future__ import annotations

import json
import math
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

import click

from atlas.cli.number import Number
from atlas.cli.progress import to_go
from atlas.cli.stopping import Stopped, goes_on, typed_command
from atlas.cli.train_reads import beside, reads_of
from atlas.errors import ConfigError

if TYPE_CHECKING:
    from atlas.train.recipes import SftSuccess
    from atlas.train.trainer import Measured, Progress
    from atlas.trained.trajectory import Trajectory

RECIPES = (
    "sft-success", "escalations", "rationale", "redi", "kd-whitebox", "internalise", "on-policy", "judge",
)  # fmt: skip


@click.command(help="Train a local student from traces.")
@click.argument("recipe", type=click.Choice(RECIPES))
@click.option(
    "--data",
    multiple=True,
    required=True,
    type=click.Path(path_type=Path),
    help="A run's folder, or rows that 'atlas export --format rows' wrote; may be given several times.",
)
@click.option(
    "--base",
    default="scratch",
    show_default=True,
    help="scratch, scratch:SIZE, hf:PATH_OR_NAME, gguf:PATH, smollm2-135m, or the folder of a trained student.",
)
@click.option("-o", "--out", required=True, type=click.Path(path_type=Path), help="Folder of the student.")
@click.option("--games", type=click.IntRange(min=1), help="Train on N episodes only, drawn by a fixed order.")
@click.option("--epochs", type=click.IntRange(min=1), help="Passes over the data. [default: 8]")
@click.option(
    "--tokens",
    type=click.IntRange(min=1),
    help="End the schedule after so many tokens, whatever the recipe and the data: equal compute. Not with --epochs.",
)
@click.option("--lr", type=Number(min=0, min_open=True), help="Learning rate. [default: by the base]")
@click.option("--lora", type=click.IntRange(min=1), help="Train adapters of this rank, not all weights.")
@click.option("--recompute", is_flag=True, help="Language models: less memory, about a third more time.")
@click.option("--form", type=click.Choice(["bare", "transcript"]), help="Language models: as what they read prompts.")
@click.option(
    "--with-demos",
    metavar="MEMORY",
    type=click.Path(path_type=Path),
    help="Prompts with demonstrations of this memory, looked up once an episode: for a student that is to read them.",
)
@click.option("--k", type=click.IntRange(1, 1000), help="Demonstrations shown with --with-demos. [default: 1]")
@click.option(
    "--embedder",
    help="By which --with-demos finds them, as it will be where the student plays: minilm, hash, or "
    "sentence-transformers/NAME. [default: minilm]",
)
@click.option("--with-entries", is_flag=True, help="Prompts with the entries of pamphlets that the traces hold.")
@click.option(
    "--drop",
    type=Number(0, 1),
    help="Share of readings without the demonstrations, and without the entries. [default: 0.3]",
)
@click.option(
    "--rename",
    type=Number(0, 1),
    help="Share of readings with --with-demos in which made-up words stand for words of goals and actions, so that "
    "what they ask for is read in the demonstration. [default: 0]",
)
@click.option(
    "--compress",
    metavar="COMPRESSOR",
    help="What cuts the demonstrations of --with-demos, for a student that is to read cut ones: as 'atlas bench' takes "
    "it, 'actions' or a file.",
)
@click.option(
    "--compress-to",
    type=Number(0, 1, min_open=True),
    metavar="SHARE",
    help="With --compress: each reading has a share of their tokens between this and all. [default: a third]",
)
@click.option("--seed", default=0, show_default=True, help="Of the weights and of the order of the data.")
@click.option("--batch-tokens", default=3072, type=click.IntRange(min=64), show_default=True, help="With padding.")
@click.option("--max-minutes", type=Number(min=0, min_open=True), help="End the schedule by the clock.")
@click.option("--reward", help="Success in an environment while it trains: alfworld:SPLIT:N.")
@click.option("--teacher", type=click.Path(path_type=Path), help="kd-whitebox: the folder of the student to copy.")
@click.option("--alpha", type=Number(), help="Of rationale, redi and internalise. [default: 0.5, 0.8, 0.5]")
@click.option("--joint", is_flag=True, help="internalise: from what --base itself played with pamphlets, won and lost.")
@click.option("--select", type=click.Choice(["family", "uncertain"]), help="Draw what an epoch is made of.")
@click.option(
    "--permitted", default="", help="Models whose terms allow training on their words: MODEL,... or PROVIDER/*."
)
@click.option("--threads", type=click.IntRange(min=1), help="Threads of the processor. [default: torch's]")
@click.option("--resume", is_flag=True, help="Go on with a training that was killed.")
@click.option("--json", "as_json", is_flag=True, help="The result as JSON on standard output.")
def command(recipe: str, **options: Any) -> None:
    """RECIPE: one of those listed; docs/guides/training.md says when which is worth its time."""
    from atlas.trained.student import check_place, need_torch

    need_torch()
    import torch

    from atlas.benchmarks.reward import playing
    from atlas.train import distributed
    from atlas.train.bases import base_of, default_lr
    from atlas.train.checkpoint import place_of
    from atlas.train.critic import TASKS, marks
    from atlas.train.select import Select
    from atlas.train.split import split
    from atlas.train.trainer import Settings, Trainer
    from atlas.train.trajectories import read

    distributed.join()
    out: Path = options["out"]
    check_place(out)
    if options["select"] and options["epochs"] == 1 and options["base"].partition(":")[0] == "scratch":
        raise ConfigError(
            "--select takes what a trained student finds hard, and the first of --epochs trains it: give 2 or more "
            "epochs, or as --base a student"
        )
    if options["epochs"] and options["tokens"]:
        raise ConfigError("--epochs and --tokens both say when to end: leave one of them out")
    if place_of(out).exists() and not options["resume"]:
        raise ConfigError(
            f"{place_of(out)} is left from a training that did not end: add --resume to go on, or remove "
            "it to begin anew"
        )
    if options["threads"]:
        torch.set_num_threads(options["threads"])
    learnt = _recipe(recipe, options)
    if options["reward"] and recipe == "judge":
        raise ConfigError("a judge does not act, so it earns no reward: leave --reward out")
    reward = playing(options["reward"]) if options["reward"] else None
    prepared = learnt.prepare(read(options["data"], permitted=tuple(filter(None, options["permitted"].split(",")))))
    train, held_out = split(prepared)
    if options["games"]:
        train = _some(train, options["games"])
    if options["with_demos"]:
        train, held_out = beside(options["with_demos"], options["embedder"], options["k"] or 1, train, held_out)
    base = base_of(
        options["base"],
        train,
        thoughts=learnt.thoughts,
        seed=options["seed"],
        lora=options["lora"],
        recompute=options["recompute"],
        form=options["form"],
    )
    settings = Settings(
        epochs=options["epochs"] or Settings.epochs,
        tokens=options["tokens"],
        lr=options["lr"] or default_lr(options["base"], options["lora"]),
        batch_tokens=options["batch_tokens"],
        seed=options["seed"],
        max_minutes=options["max_minutes"],
    )
    about: dict[str, Any] = {"command": typed_command(), "reward": options["reward"]}
    if recipe == "judge":
        about[TASKS] = marks(train)
    trainer = Trainer(
        base=base,
        recipe=learnt,
        train=train,
        held_out=held_out,
        out=out,
        settings=settings,
        reward=reward,
        select=Select(options["select"]) if options["select"] else None,
        untrained=options["base"].partition(":")[0] == "scratch",
        about=about,
        seen=_lines() if distributed.first() else lambda now: None,
    )
    _check_other(out, trainer.config())
    if distributed.first():
        click.echo(
            f"{recipe}: {len(train):,} episodes, {len(held_out):,} held out; "
            f"{base.config()['parameters']:,} parameters",
            err=True,
        )
    with _interrupted(out) as trainer.stops:
        history = trainer.run(resume=options["resume"])
    if distributed.first():
        _told(history, out, as_json=options["as_json"])
    distributed.leave()


@contextmanager
def _interrupted(out: Path) -> Iterator[Callable[[], bool]]:
    """Ctrl-C is told with the command that goes on from the checkpoint, or begins anew where there is none yet."""
    from atlas.train.checkpoint import place_of

    try:
        with goes_on(lambda: ("--resume",), kept=f"{place_of(out)} is kept"), _pressed() as pressed:
            yield pressed
    except Stopped:
        if place_of(out).exists():
            raise
        raise click.Abort from None


@contextmanager
def _pressed() -> Iterator[Callable[[], bool]]:
    """Whether Ctrl-C was pressed, which lets the present step end; pressed again it ends all at once, as ever.

    Not where several processes train: each of them would stop at a step of its own, and wait there for the others.
    """
    from atlas.train import distributed

    before, asked = signal.getsignal(signal.SIGINT), False
    # Who ignores it, or has a way of its own, keeps that.
    ours = before is signal.default_int_handler and threading.current_thread() is threading.main_thread()

    def press(number: int, frame: FrameType | None) -> None:
        nonlocal asked
        asked = True
        signal.signal(signal.SIGINT, before)
        # Not click.echo: what it interrupts may be writing there.
        os.write(2, b"\nA checkpoint is written after this step. Ctrl-C again ends the training at once.\n")

    if not ours or distributed.world() > 1:
        yield lambda: False
        return
    signal.signal(signal.SIGINT, press)
    try:
        yield lambda: asked
    finally:
        signal.signal(signal.SIGINT, before)


def _check_other(out: Path, config: dict[str, Any]) -> None:
    """Raises ConfigError where the student in ``out`` is another: of other data, another recipe or another base. One
    that is only trained longer, or at another rate, is the same trained again, and takes its place."""
    from dataclasses import fields

    from atlas.train.trainer import Settings
    from atlas.trained.student import ABOUT, about

    if not (out / ABOUT).exists():
        return
    there = about(out).get("training") or {}
    schedule = {field.name for field in fields(Settings)} | {"processes"}
    # As it was read from JSON: what is a tuple here was a list there.
    config = json.loads(json.dumps(config))
    if other := sorted(k for k in {*config, *there} - schedule if config.get(k) != there.get(k)):
        raise ConfigError(
            f"{out} holds a student of a training with another {', '.join(other)}: choose another folder with -o, or "
            "move it away"
        )


def _recipe(name: str, options: dict[str, Any]) -> SftSuccess:
    from atlas.train import critic, guided, recipes
    from atlas.train.scratch import ScratchBase

    reads = reads_of(name, options)
    alpha = {} if options["alpha"] is None else {"alpha": options["alpha"]}
    if alpha and name not in ("rationale", "redi", "internalise"):
        raise ConfigError(f"{name} has no alpha: leave --alpha out")
    if options["joint"] and name != "internalise":
        raise ConfigError(f"--joint belongs to internalise, not to {name}: leave it out")
    if (options["teacher"] is None) == (name == "kd-whitebox"):
        raise ConfigError("--teacher FOLDER belongs to kd-whitebox, and kd-whitebox needs it")
    match name:
        case "escalations":
            return recipes.Escalations(reads)
        case "rationale":
            return recipes.Rationale(**alpha)
        case "redi":
            return recipes.Redi(**alpha)
        case "kd-whitebox":
            return recipes.KdWhitebox(ScratchBase.load(options["teacher"]))
        case "internalise" if options["joint"]:
            return guided.Joint(**alpha, player=_player(options["base"]))
        case "internalise":
            return guided.Internalise(**alpha)
        case "on-policy":
            return guided.OnPolicy()
        case "judge":
            return critic.StepOutcomes()
    return recipes.SftSuccess(reads)


def _player(base: str) -> str:
    """The name under which traces know the model that is trained further."""
    kind, _, rest = base.partition(":")
    if kind == "scratch":
        raise ConfigError(
            f"--joint goes on from the student that played the traces, and --base {base} begins from nothing: give the "
            "folder of that student as --base"
        )
    if kind in ("hf", "gguf"):
        return Path(rest).stem
    folder = Path(base).expanduser().resolve()
    if not folder.is_dir():
        return base
    from atlas.trained.student import about

    return folder.name if about(folder).get("base") == "scratch" else folder.stem


def _some(trajectories: Sequence[Trajectory], count: int) -> list[Trajectory]:
    import random

    drawn = list(trajectories)
    random.Random(0).shuffle(drawn)
    return drawn[:count]


def _lines() -> Callable[[Progress], None]:
    """A line on standard error for each measurement, and every ten seconds between; with the time to go where somebody
    may be waiting for it."""
    last, waiting = -math.inf, sys.stderr.isatty()

    def seen(now: Progress) -> None:
        nonlocal last
        if now.measured is None and now.seconds - last < 10:
            return
        last = now.seconds
        told = f"epoch {now.epoch}, step {now.step:,}{f' of about {now.steps:,}' if now.steps else ''}: "
        told += f"loss {now.loss:.3f}, {now.tokens_per_second:,.0f} tokens/s"
        if waiting and now.left and math.isfinite(now.left):
            told += f", {to_go(now.left)}"
        if now.measured is not None:
            told += f" | {_measured(now.measured)}"
        click.echo(told, err=True)

    return seen


def _measured(measured: Measured) -> str:
    parts = []
    if measured.held_out is not None:
        parts.append(f"held-out loss {measured.held_out:.3f}")
    if measured.reward is not None:
        parts.append(f"reward {measured.reward:.2f}")
    return ", ".join(parts) or "nothing held out"


def _told(history: Sequence[Measured], out: Path, *, as_json: bool) -> None:
    from atlas.train.trainer import goodness

    # Of equals the trainer keeps the first, as max does.
    kept = max(history, key=goodness)
    compared = kept.held_out is not None or kept.reward is not None
    if as_json:
        content = {
            "student": str(out),
            "kept": kept.model_dump() if compared else None,
            "measured": [m.model_dump() for m in history],
        }
        click.echo(json.dumps(content, indent=2))
        return
    from atlas.trained.student import about

    told = about(out)
    kind = "hf" if told.get("base") == "hf" else "scratch"
    use = f"As a model, a student is named {kind}:{out}"
    if told["training"]["recipe"] == "judge":
        use = f"How good it is says 'atlas trust judge RUN --judge {out}'; 'atlas bench ... --step-judge {out}' uses it"
    when = f" after epoch {kept.epoch}, the best of {len(history)} measured" if compared else ""
    click.echo(f"It is in {out} ({_measured(kept)}{when}). {use}")
