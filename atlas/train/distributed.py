"""Several processes that train one student: ``torchrun --nproc-per-node N -m atlas train ...``.

Every process holds the whole network and sees its own share of each epoch's batches; gradients are averaged before each
step, so that all networks stay the same. Only the first process writes and tells.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from typing import TypeVar

import torch
from torch import distributed

T = TypeVar("T")


def world() -> int:
    """How many processes train together; 1 where nothing was started by torchrun."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def rank() -> int:
    """Which of them this is, from 0."""
    return int(os.environ.get("RANK", "0"))


def first() -> bool:
    """Whether this process is the one that writes and tells."""
    return rank() == 0


def join() -> None:
    """Meet the other processes, once; each takes the GPU of its local rank where there are GPUs."""
    if world() > 1 and not distributed.is_initialized():
        if torch.cuda.is_available():
            torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
        distributed.init_process_group("nccl" if torch.cuda.is_available() else "gloo")


def leave() -> None:
    """Part from the others."""
    if distributed.is_initialized():
        distributed.destroy_process_group()


def share(items: Sequence[T]) -> list[T]:
    """This process' part of the batches: equally many for all, so that none waits for steps that never come."""
    many = world()
    return list(items) if many == 1 else list(items[rank() : len(items) - len(items) % many : many])


def steps(items: Sequence[Sequence[T]]) -> list[list[T]]:
    """What all processes together see at each step."""
    many = world()
    return [[x for item in items[i : i + many] for x in item] for i in range(0, len(items) - len(items) % many, many)]


def agreed(precision: str) -> str:
    """What all processes compute in: each measures for itself what is quickest, and networks that are updated in two
    precisions drift apart. ``float32``, which all of them can, where they differ."""
    if not distributed.is_initialized():
        return precision
    told = [""] * world()
    distributed.all_gather_object(told, precision)
    return precision if len(set(told)) == 1 else "float32"


def average_gradients(parameters: Iterable[torch.nn.Parameter]) -> None:
    """Replace every gradient by its mean over the processes."""
    many = world()
    if many == 1:
        return
    for parameter in parameters:
        if parameter.requires_grad:
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
            distributed.all_reduce(parameter.grad)
            parameter.grad /= many
