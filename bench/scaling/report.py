"""The figures of a measurement as tables. Pure, but for printing."""

import os
import statistics
from collections import Counter

from scaling.rounds import Outcome, Result

_NAMES = {"Job": "Job controller", "pair": "oarlock, pairs", "full": "oarlock, full"}
_CLIENTS = {"Job": ("job-controller",), "pair": ("oarlock-operator", "kopf"), "full": ("oarlock-operator", "kopf")}
_SERVERS = ("kube-apiserver", "etcd", "kube-controller-manager", "operator", "bench", "fake node")


def print_report(result: Result, *, load: tuple[float, float, float]) -> float:
    """Print everything; return the ratio of the medians of p99."""
    now = os.getloadavg()[0]
    print(f"\nKubernetes {result.version}, {os.cpu_count()} cores, load {load[0]:.1f} before and {now:.1f} after")
    kinds = [kind for kind in _NAMES if any(outcome.kind == kind for outcome in result.outcomes)]
    print(f"\n{'seconds from creation to last pod':<36}{'p50':>8}{'p99':>8}{'all':>8}")
    for outcome in result.outcomes:
        p50, p99 = _percentile(outcome.seconds, 50), _percentile(outcome.seconds, 99)
        print(f"  {_NAMES[outcome.kind] + f', {outcome.groups}':<34}{p50:>8.2f}{p99:>8.2f}{outcome.spread:>8.2f}")
    p50, p99 = _percentile(result.floor, 50), _percentile(result.floor, 99)
    print(f"  {f'requests of pairs alone, {len(result.floor)}':<34}{p50:>8.2f}{p99:>8.2f}")
    for percent in (50, 99):
        print(f"  {f'ratio of pairs to Jobs, p{percent}':<34}{_ratio(result, percent):>8.2f}")
    for what in ("burst_cpu", "life_cpu"):
        _print_cpu(result, what)
    for kind in kinds:
        _print_calls([outcome for outcome in result.outcomes if outcome.kind == kind], kind)
    _print_operator(result)
    return _ratio(result, 99)


def _percentile(seconds: list[float], percent: int) -> float:
    return seconds[min(len(seconds) - 1, len(seconds) * percent // 100)]


def _ratio(result: Result, percent: int) -> float:
    ours, theirs = (
        statistics.median([_percentile(each.seconds, percent) for each in result.outcomes if each.kind == kind])
        for kind in ("pair", "Job")
    )
    return ours / theirs


def _print_cpu(result: Result, what: str) -> None:
    phase = "of the burst" if what == "burst_cpu" else "of the lives after it"
    print(
        f"\n{f'processor seconds {phase}':<36}" + "".join(f"{name.removeprefix('kube-')[:12]:>13}" for name in _SERVERS)
    )
    for outcome in result.outcomes:
        spent = getattr(outcome, what)
        print(f"  {_NAMES[outcome.kind]:<34}" + "".join(f"{spent.get(name, 0.0):>13.2f}" for name in _SERVERS))


def _print_calls(outcomes: list[Outcome], kind: str) -> None:
    calls: Counter[str] = Counter()
    for outcome in outcomes:
        for client, asked in outcome.calls.items():
            if client.lower() in _CLIENTS[kind]:
                calls.update(asked)
    groups = sum(outcome.groups for outcome in outcomes)
    print(f"\nAPI calls per {'pair' if kind == 'pair' else 'job'} over its life: {_NAMES[kind]}")
    for asked, number in calls.most_common():
        if number / groups >= 0.005:
            print(f"  {asked:<34}{number / groups:>8.2f}")
    print(f"  {'all':<34}{sum(calls.values()) / groups:>8.2f}")


def _print_operator(result: Result) -> None:
    print(f"\n{'operator':<36}{'MB':>8}{'peak MB':>9}{'CPU':>8}")
    print(f"  {'idle, no jobs':<34}{result.idle_memory:>8.0f}{'':>9}{result.idle_cpu:>8.1%}")
    for outcome in result.outcomes:
        if outcome.kind != "Job":
            print(f"  {'after ' + _NAMES[outcome.kind]:<34}{outcome.memory[0]:>8.0f}{outcome.memory[1]:>9.0f}")
    if result.loaded_idle_cpu:
        print(f"  {'all jobs run, nothing happens':<34}{'':>8}{'':>9}{result.loaded_idle_cpu:>8.1%}")
