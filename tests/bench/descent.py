"""The loop by which the small networks that sit on a trained head learn."""

from collections.abc import Callable

import torch
from torch import Tensor, nn


def descend(net: nn.Module, loss: Callable[[], Tensor], steps: int, rate: float, decay: float, rise: float) -> None:
    """AdamW over some steps of a loss that draws a batch of its own each time; the rate rises for a share of them, then falls."""
    optimiser = torch.optim.AdamW(net.parameters(), rate, weight_decay=decay)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, rate, steps, pct_start=rise)
    for step in range(steps):
        now = loss()
        optimiser.zero_grad()
        now.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        schedule.step()
        if step % 500 == 0:
            print(f"step {step} of {steps}: loss {now.item():.3f}", flush=True)  # noqa: T201 # benchmarks print
