"""Several processes that train one network, through torch.distributed; or one alone.

A process reads its place from the environment, as `torchrun` writes it: RANK, LOCAL_RANK,
WORLD_SIZE, MASTER_ADDR, MASTER_PORT. All processes must see the same files.

Guarantees:

- What `all_reduce` sums is the same bits in every process, so that processes that started alike
  stay alike.
- Where one process fails, the others do not wait for it for ever.
- Nothing that is sent between processes is unpickled.
"""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta

import torch
from torch import Tensor, distributed

from streamstop.errors import StreamstopError, UsageError

PATIENCE = timedelta(minutes=30)
"""How long a process waits for another: reading data takes time."""

MAX_TEXT_BYTES = 1 << 16
"""Longest text that one process can send to the others."""


class ProcessGroup:
    """A process and the others that train the same network.

    rank : its number, from 0.  count : how many there are.
    device : where the tensors are that `all_reduce` gets.
    """

    def __init__(self, rank: int = 0, count: int = 1, device: torch.device | None = None) -> None:
        self.rank = rank
        self.count = count
        self.device = device or torch.device("cpu")

    @property
    def is_main(self) -> bool:
        """Whether this is the process that writes files and prints."""
        return self.rank == 0

    def shard(self, samples: int) -> tuple[int, int]:
        """First and end of this process's part of so many samples; parts differ by one at most.

        >>> [ProcessGroup(rank, 3).shard(4) for rank in range(3)]
        [(0, 1), (1, 2), (2, 4)]
        """
        return samples * self.rank // self.count, samples * (self.rank + 1) // self.count

    def all_reduce(self, tensors: Sequence[Tensor]) -> None:
        """Replace tensors, of one type and on one device, by their sums over all processes.

        Raises StreamstopError where another process is gone.
        """
        if self.count == 1 or not tensors:
            return
        joined = torch.cat([one.reshape(-1) for one in tensors])
        with _others_may_be_gone():
            distributed.all_reduce(joined)
        sums = joined.split([one.numel() for one in tensors])
        for one, total in zip(tensors, sums, strict=True):
            one.copy_(total.view(one.shape))

    def all_reduce_number(self, number: int) -> int:
        """The sum over all processes of a whole number."""
        sums = torch.tensor([number], dtype=torch.int64, device=self.device)
        self.all_reduce([sums])
        return int(sums)

    def broadcast_text(self, text: str) -> str:
        """The text of process 0; that of the others is ignored."""
        if self.count == 1:
            return text
        line = torch.zeros(MAX_TEXT_BYTES, dtype=torch.uint8, device=self.device)
        if self.is_main:
            encoded = os.fsencode(text)
            line[: len(encoded)] = torch.frombuffer(bytearray(encoded), dtype=torch.uint8)
        with _others_may_be_gone():
            distributed.broadcast(line, 0)
        return os.fsdecode(bytes(line.cpu().tolist()).rstrip(b"\0"))


def select_device(name: str) -> torch.device:
    """What "auto", "cpu" or "cuda" stands for; each process of a machine takes a GPU of its own.

    Raises UsageError where there is no such device.
    """
    there = torch.cuda.is_available()
    if name == "cpu" or (name == "auto" and not there):
        return torch.device("cpu")
    if not there:
        raise UsageError('train.device = "cuda", but torch sees no GPU; "auto" takes the CPU then')
    local, gpus = _placed("LOCAL_RANK", 0), torch.cuda.device_count()
    if local >= gpus:
        raise UsageError(
            f"process {local} of this machine finds {gpus} GPUs; start as many processes as there "
            'are, or set train.device = "cpu"'
        )
    return torch.device("cuda", local)


@contextmanager
def join_process_group(device: torch.device) -> Iterator[ProcessGroup]:
    """Join the group that the environment describes; a single process where it describes none.

    Raises UsageError where the environment makes no sense, StreamstopError where the others cannot
    be reached.
    """
    count, rank = _placed("WORLD_SIZE", 1), _placed("RANK", 0)
    if count == 1:
        yield ProcessGroup(device=device)
        return
    if rank >= count or not os.environ.get("MASTER_ADDR") or not os.environ.get("MASTER_PORT"):
        raise UsageError(
            f"RANK = {rank} of WORLD_SIZE = {count}, MASTER_ADDR = "
            f"{os.environ.get('MASTER_ADDR')!r}: start several processes with torchrun "
            "--nproc-per-node N -m streamstop train RECIPE"
        )
    if os.environ["MASTER_ADDR"] in ("127.0.0.1", "localhost") and sys.platform == "linux":
        # All on this machine: no port of theirs has to be open to others.
        os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    if device.type == "cuda":
        torch.cuda.set_device(device)
    backend = "nccl" if device.type == "cuda" else "gloo"
    with _others_may_be_gone():
        distributed.init_process_group(backend, rank=rank, world_size=count, timeout=PATIENCE)
    made = ProcessGroup(rank, count, device)
    try:
        yield made
        made.all_reduce_number(0)  # none leaves while another is still at work
    except BaseException:
        # NCCL's would wait for the others, who may be in the midst of a sum.
        if backend == "gloo":
            _leave()
        raise
    _leave()


def _leave() -> None:
    """End the group now: gloo's threads abort a process whose interpreter ends before them."""
    distributed.destroy_process_group()
    gc.collect()


@contextmanager
def _others_may_be_gone() -> Iterator[None]:
    try:
        yield
    except (RuntimeError, ValueError) as error:
        first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise StreamstopError(
            f"another process of this training is gone, and this one stops too ({first}); its own "
            "message is the cause; finished epochs are kept"
        ) from error


def _placed(name: str, otherwise: int) -> int:
    text = os.environ.get(name, "")
    if not text:
        return otherwise
    if not text.isdigit():
        raise UsageError(f"the environment variable {name} = {text!r} is not a number")
    return int(text)
