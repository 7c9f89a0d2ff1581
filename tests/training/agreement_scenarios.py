"""What ranks do in the tests of their agreement; functions of a module, so that forked ranks find them."""

from typing import Any

import numpy as np
import torch
import torch.distributed as dist

from oarlock_trainer.agreement import Agreement, Proposal, Verdict
from oarlock_trainer.step_statistics import StepStatistics


def follow_steps(steps: int, interval: int, stop_at: int, due_at: int) -> dict[str, Any]:
    """Train nothing for some steps; rank 1 is asked to stop at one, rank 0's clock wants to save at another."""
    dist.init_process_group("gloo")
    rank, processes = dist.get_rank(), dist.get_world_size()
    statistics = StepStatistics(columns=2)
    agreement = Agreement(dist.new_group(backend="gloo"), statistics=statistics, step=0)
    seen: list[tuple[int, Verdict]] = []
    for step in range(1, steps + 1):
        statistics.push(step, make_row(rank, step), weight=float(processes))
        proposal = Proposal(
            stop=rank == 1 and step >= stop_at,
            step_seconds=float(rank),
            wait_seconds=0.5 * (rank == 1),
            parts=(0.1 * rank,) * 4,
            save=step >= due_at and rank != 1,  # rank 2's clock has no say
            interval=interval,
        )
        verdict = agreement.exchange(step, proposal) if agreement.is_due(step) else None
        seen += [(step, verdict)] if verdict else []
    final = agreement.settle(steps, proposal)
    seen += [(steps, final)] if final else []
    dist.barrier()
    return summarise(seen)


def make_row(rank: int, step: int) -> torch.Tensor:
    """Return sums that do not add up exactly in 32 bits."""
    return torch.tensor([0.1 * (rank + 1) * step, 1.0 / (rank + step)])


def summarise(seen: list[tuple[int, Verdict]]) -> dict[str, Any]:
    figures = [part for _, verdict in seen for part in verdict.figures]
    means = np.concatenate([part.means for part in figures])
    return {
        "steps": [step for part in figures for step in range(part.first_step, part.first_step + len(part.means))],
        "means": [[value.hex() for value in row] for row in means.tolist()],
        "stops": [step for step, verdict in seen if verdict.stop],
        "saves": [step for step, verdict in seen if verdict.save],
        "slowest": {verdict.step_seconds for _, verdict in seen},
        "times": {(verdict.wait_seconds, verdict.parts) for _, verdict in seen},
    }
