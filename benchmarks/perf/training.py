"""Training tokens a second: our trainer beside TRL's SFT trainer, on the same batches, in one process.

``python -m atlas.benchmarks.perf.training [--base smollm2-135m] [--steps N] [--batch-tokens N] [--lora RANK]``

Same base, data, sequences, batches, order, optimizer, learning rates, clipping and precision (what is quickest here:
:mod:`atlas.trained.precision`), no gradient checkpointing. Machines are noisy, so there are two rounds, the second in
the other order. TRL runs once more with batches of its own (as many sequences in each, in random order, padded): what
it does when nobody sorts for it.
"""

from __future__ import annotations

import copy
import gc
import json
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from atlas.benchmarks.perf.table import Cell, Table, machine
from atlas.benchmarks.program import Program
from atlas.errors import ConfigError, MissingExtra
from atlas.figures import figure

if TYPE_CHECKING:
    from atlas.train.hf import HFBase
    from atlas.train.trainer import Progress
    from atlas.trained.trajectory import Trajectory
    from atlas.trained.vocabulary import Encoded

SKIPPED = 0.2
"""Share of the steps that come before the clock starts: first steps allocate and choose kernels."""
LR = 3e-5


@dataclass(frozen=True)
class Timed:
    """One training of some steps."""

    tokens_per_second: float
    """Without padding, over the steps that were timed."""
    tokens_per_cpu_second: float
    """The same by the processor's time, of all threads: on a busy machine the one that can be compared."""
    loss: float
    """After all steps, of the first batch, by the same code for all trainers."""
    memory: float | None
    """Gigabytes that were allocated at most; None on a CPU."""


@dataclass
class Clock:
    """Runs from the end of the first skipped steps to the end of the last."""

    first: int
    last: int
    wait: Callable[[], None]
    """Until the device has done what it was given."""
    seconds: float = 0.0
    cpu_seconds: float = 0.0

    def step(self, number: int) -> None:
        """Step ``number``, from 1, has ended."""
        if number in (self.first, self.last):
            self.wait()
            sign = 1 if number == self.last else -1
            self.seconds += sign * time.perf_counter()
            self.cpu_seconds += sign * time.process_time()


def measure(base: HFBase, data: Sequence[Trajectory], *, steps: int = 10, batch_tokens: int = 3072) -> Table:
    """Train copies of ``base`` with both trainers. ConfigError where ``data`` has too few batches."""
    try:
        import trl  # noqa: F401
    except ImportError:
        raise MissingExtra("the comparison with TRL (pip install trl)", "train") from None
    if steps < 2:
        raise ConfigError(f"{steps} steps cannot be timed: give --steps 2 or more")
    groups = _batches(base, data, batch_tokens)
    if len(groups) < steps:
        raise ConfigError(
            f"the data fills {len(groups)} batches of {batch_tokens:,} tokens and {steps} steps were asked for: give "
            "fewer --steps, fewer --batch-tokens or more --data"
        )
    before = _loss(base, groups[0])

    def ours() -> Timed:
        return _ours(_copied(base), data, groups, steps, batch_tokens)

    def theirs() -> Timed:
        return _theirs(_copied(base), groups, steps, same=True)

    one, other = (ours(), theirs()), tuple(reversed((theirs(), ours())))
    own = _theirs(_copied(base), groups, steps, same=False)
    rows = [
        _row("atlas", one[0], other[0]),
        _row("TRL, the same batches", one[1], other[1]),
        _row("TRL, batches of its own", own),
    ]
    ratios = (_ratio(one[0], one[1]), _ratio(other[0], other[1]))
    padded = sum(len(group) * max(map(len, group)) for group in groups[:steps])
    padding = 1 - sum(_tokens(group) for group in groups[:steps]) / padded
    return Table(
        name="training",
        title=f"Training {base.name}, {steps} steps of at most {batch_tokens:,} tokens, on {_device(base)}",
        columns=("trainer", "tokens / s", "round 2", "/ CPU s", f"loss, step {steps}", "GB at most"),
        rows=tuple(rows),
        note=(
            f"atlas over TRL on the same batches: {ratios[0]:.2f} and {ratios[1]:.2f}; a CPU second counts all "
            f"threads, the better round. The loss is that of the first "
            f"batch, {before:.3f} before. Padding of the sorted batches: {figure(padding, 1)} %. Tokens are counted "
            f"without padding, from step {_skipped(steps) + 1}."
        ),
    )


# --- our trainer ------------------------------------------------------------------------------------------------------


class _Enough(Exception):
    """All steps were made."""


def _batches(base: HFBase, data: Sequence[Trajectory], batch_tokens: int) -> list[list[Encoded]]:
    """The batches of the trainer's first epoch. It is asked for them, so that nothing here repeats how it sorts."""
    import torch

    from atlas.train.recipes import SftSuccess
    from atlas.train.trainer import Settings, Trainer

    found: list[list[Encoded]] = []

    class Noting(SftSuccess):
        def loss(self, base: Any, batch: Sequence[Encoded], progress: float) -> Any:
            found.append(list(batch))
            return base.net.weight.sum()

    class Reading:
        """A base that is read with, and learns nothing."""

        net = torch.nn.Linear(1, 1)
        encode, precision = base.encode, base.precision

        def optimizers(self, lr: float) -> list[Any]:
            return []

        def save(self, folder: Path, about: dict[str, Any]) -> None: ...

        def config(self) -> dict[str, Any]:
            return {}

    settings = Settings(epochs=1, batch_tokens=batch_tokens, save_seconds=float("inf"))
    with tempfile.TemporaryDirectory() as folder:
        reading: Any = Reading()
        Trainer(reading, Noting(), data, [], Path(folder) / "none", settings).run()
    return found


def _ours(
    base: HFBase, data: Sequence[Trajectory], groups: Sequence[Sequence[Encoded]], steps: int, batch_tokens: int
) -> Timed:
    from atlas.train.recipes import SftSuccess
    from atlas.train.trainer import Settings, Trainer

    clock = _clock(base, steps)

    def seen(now: Progress) -> None:
        clock.step(now.step)
        if now.step == steps:
            raise _Enough

    settings = Settings(epochs=1, lr=LR, batch_tokens=batch_tokens, save_seconds=float("inf"))
    with tempfile.TemporaryDirectory() as folder:
        trainer = Trainer(base, SftSuccess(), data, [], Path(folder) / "none", settings, seen=seen)
        with suppress(_Enough):
            trainer.run()
    return _timed(base, clock, [_tokens(group) for group in groups[:steps]], groups[0])


# --- theirs -----------------------------------------------------------------------------------------------------------


def _theirs(base: HFBase, groups: Sequence[Sequence[Encoded]], steps: int, *, same: bool) -> Timed:
    """With our batches where ``same``, else with as many sequences in each, drawn by TRL."""
    import torch
    from datasets import Dataset
    from transformers import PrinterCallback, TrainerCallback
    from trl import SFTConfig, SFTTrainer

    from atlas.train.trainer import schedule
    from atlas.trained.precision import quickest

    clock = _clock(base, steps)
    counts: list[int] = []

    class Steps(TrainerCallback):  # type: ignore[misc]
        def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            clock.step(state.global_step)

    class Same(SFTTrainer):  # type: ignore[misc]
        def get_train_dataloader(self) -> Any:
            if not same:
                return super().get_train_dataloader()
            numbers = iter(range(sum(map(len, groups))))
            order = [[next(numbers) for _ in group] for group in groups]
            return torch.utils.data.DataLoader(
                self.train_dataset, batch_sampler=order, collate_fn=self.data_collator, pin_memory=on_gpu
            )

    items = [item for group in groups for item in group]
    rows = [
        {
            "input_ids": item.tokens,
            "labels": [t if w else -100 for t, w in zip(item.tokens, item.weights, strict=True)],
        }
        for item in items
    ]
    on_gpu = base.device.type == "cuda"
    (optimizer,) = base.optimizers(LR)
    rates = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: schedule(step / len(groups), step))
    with tempfile.TemporaryDirectory() as folder:
        config = SFTConfig(
            output_dir=folder, max_steps=steps, per_device_train_batch_size=max(1, round(len(items) / len(groups))),
            bf16=on_gpu or quickest() == "bfloat16", use_cpu=not on_gpu, activation_checkpointing=False,
            max_grad_norm=1.0, max_length=None,
            save_strategy="no", report_to="none", disable_tqdm=True, dataloader_pin_memory=on_gpu, seed=0,
        )  # fmt: skip
        trainer = Same(
            model=base.net, args=config, train_dataset=Dataset.from_list(rows), processing_class=base.tokenizer,
            optimizers=(optimizer, rates), callbacks=[Steps()],
        )  # fmt: skip
        trainer.remove_callback(PrinterCallback)
        collate = trainer.data_collator

        def counted(examples: Sequence[dict[str, Any]]) -> Any:
            counts.append(sum(len(example["input_ids"]) for example in examples))
            return collate(examples)

        trainer.data_collator = counted
        trainer.train()
    return _timed(base, clock, counts[:steps], groups[0])


# --- both -------------------------------------------------------------------------------------------------------------


def _copied(base: HFBase) -> HFBase:
    # A trainer is a ring of references: without this the last one's network would count as memory of this one.
    gc.collect()
    other = copy.copy(base)
    other.net = copy.deepcopy(base.net)
    return other


def _clock(base: HFBase, steps: int) -> Clock:
    import torch

    on_gpu = base.device.type == "cuda"
    if on_gpu:
        torch.cuda.reset_peak_memory_stats()
    return Clock(_skipped(steps), steps, torch.cuda.synchronize if on_gpu else lambda: None)


def _timed(base: HFBase, clock: Clock, counts: Sequence[int], batch: Sequence[Encoded]) -> Timed:
    import torch

    memory = torch.cuda.max_memory_allocated() / 1e9 if base.device.type == "cuda" else None
    tokens = sum(counts[clock.first :])
    return Timed(tokens / clock.seconds, tokens / clock.cpu_seconds, _loss(base, batch), memory)


def _loss(base: HFBase, batch: Sequence[Encoded]) -> float:
    import torch

    from atlas.train.losses import nll

    with torch.no_grad():
        scores = base.scores(batch)
        return float(nll(scores.logits, scores.targets, scores.weights))


def _skipped(steps: int) -> int:
    return max(1, round(SKIPPED * steps))


def _tokens(group: Sequence[Encoded]) -> int:
    return sum(len(item.tokens) for item in group)


def _ratio(ours: Timed, theirs: Timed) -> float:
    return ours.tokens_per_second / theirs.tokens_per_second


def _row(what: str, *rounds: Timed) -> tuple[Cell, ...]:
    wall = [round(timed.tokens_per_second) for timed in rounds]
    memory = None if rounds[0].memory is None else round(rounds[0].memory, 2)
    cpu = max(round(timed.tokens_per_cpu_second) for timed in rounds)
    return (what, wall[0], wall[1] if len(wall) > 1 else None, cpu, round(rounds[0].loss, 3), memory)


def _device(base: HFBase) -> str:
    import torch

    return torch.cuda.get_device_name(base.device) if base.device.type == "cuda" else "the processor"


@click.command(cls=Program)
@click.option("--base", "spec", default="toy", show_default=True, help="toy, smollm2-135m, hf:PATH_OR_NAME, gguf:PATH.")
@click.option("--data", multiple=True, type=click.Path(path_type=Path), help="Traces. [default: made-up episodes]")
@click.option("--steps", default=10, type=click.IntRange(min=2), show_default=True, help="Of each training.")
@click.option("--batch-tokens", default=3072, type=click.IntRange(min=64), show_default=True, help="With padding.")
@click.option("--lora", type=click.IntRange(min=1), help="Train adapters of this rank, not all weights.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object instead of a table.")
def main(spec: str, data: tuple[Path, ...], steps: int, batch_tokens: int, lora: int | None, as_json: bool) -> None:
    """Training tokens a second: atlas beside TRL's SFT trainer, on the same batches."""
    from atlas.trained.student import need_torch

    need_torch()
    from atlas.benchmarks.perf.__main__ import show
    from atlas.benchmarks.perf.training_data import episodes, toy
    from atlas.train.bases import base_of
    from atlas.train.hf import HFBase
    from atlas.train.recipes import SftSuccess
    from atlas.train.trajectories import read

    where = machine()
    base = toy(lora) if spec == "toy" else base_of(spec, [], lora=lora)
    if not isinstance(base, HFBase):
        raise ConfigError(f"TRL trains language models, and {spec} is none: give smollm2-135m or hf:PATH")
    known = SftSuccess().prepare(read(data)) if data else episodes(base, steps * batch_tokens)
    table = measure(base, known, steps=steps, batch_tokens=batch_tokens)
    if as_json:
        click.echo(json.dumps({"machine": where, "tables": [table.model_dump()]}, indent=2))
    else:
        show(table)
        click.echo(f"Measured on {where}.")


if __name__ == "__main__":
    main()
