"""What a hostile trainer, or a careless one, may put where a text, a number or a list is expected."""

from typing import Any

from hypothesis import strategies as st

HOSTILE_TEXTS = [
    *("\x1b[2J\x1b[31mroot", "\x1b]8;;http://evil.example\x07click\x1b]8;;\x07", "\x9b31m", "a\x00b", "\x07" * 100),
    *(
        "<script>alert(1)</script>",
        "<img src=x onerror=alert(1)>",
        "![x](http://evil.example/x.png)",
        "[ok](javascript:1)",
    ),
    *("<http://evil.example|click>", "two\nlines", "column\ttwo", "over\rwritten", "a\u2028b\x85c"),
    *("\u202egnol\u202c", "\u2066a\u2069", "a\u200bb", "\ufeffb", "\U000e0041\U000e0042", "\ud800"),
    *("$(OARLOCK_RUN)", "{{ .Values }}", "%s%n", "' OR 1=1 --", "../../etc/passwd", "x" * 60_000, "🤖" * 5000, ""),
]
texts = st.sampled_from(HOSTILE_TEXTS) | st.text(max_size=50)
numbers = st.sampled_from([-1, 0, 1, 2**31, 2**53, 2**53 + 1, 10**400, -(10**30)]) | st.floats() | st.integers()
values = st.recursive(
    st.none() | st.booleans() | numbers | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=12,
)

_CHECKPOINT = {"step": numbers, "epoch": numbers, "path": texts, "bytes": numbers, "time": numbers, "metric": numbers}
_FAILURE = {"cause": texts, "message": texts, "remedy": texts, "rank": numbers, "phase": texts, "detail": texts}
_RANK = {"rank": numbers, "pid": numbers, "phase": texts, "step": numbers, "since": numbers, "rss": numbers}
_DATASET = {
    "version": texts,
    "path": texts,
    "bytes": numbers,
    "classes": st.lists(texts, max_size=3),
    "classCount": numbers,
    "counts": st.dictionaries(texts, numbers, max_size=2),
    "rejected": numbers,
    "classCounts": st.dictionaries(texts, st.lists(numbers, max_size=2), max_size=2),
    "sampleShape": st.lists(numbers, max_size=5),
    "firstRejects": st.lists(texts, max_size=3),
}


def _objects(fields: dict[str, st.SearchStrategy[Any]]) -> st.SearchStrategy[Any]:
    return st.fixed_dictionaries(fields) | values


reports = st.fixed_dictionaries(
    {},
    optional={
        "phase": texts,
        "phaseSince": numbers,
        "position": numbers,
        "step": numbers,
        "steps": numbers,
        "epoch": numbers,
        "epochs": numbers,
        "etaSeconds": numbers,
        "retries": numbers,
        "metrics": st.dictionaries(texts | st.just("train/loss"), numbers, max_size=3),
        "nonFinite": st.lists(texts, max_size=3),
        "warnings": st.lists(texts, max_size=3),
        "checkpointLatest": _objects(_CHECKPOINT),
        "checkpointBest": _objects(_CHECKPOINT),
        "ranks": st.lists(_objects(_RANK), max_size=3),
        "join": values,
        "stalled": st.lists(values, max_size=2),
        "export": texts,
        "failure": _objects(_FAILURE),
        "dataset": _objects(_DATASET),
        "outcome": st.sampled_from(["Succeeded", "Suspended", "Superseded", "Failed"]) | texts,
    },
)
"""Fields of a status or of a termination record, each with something that is nearly right or altogether wrong."""

_short = st.sampled_from([text[:200] for text in HOSTILE_TEXTS]) | st.text(max_size=50)
_counts = st.integers(min_value=0, max_value=2**53)
_amounts = st.floats(min_value=0, allow_infinity=False) | _counts
_times = st.floats(min_value=0, max_value=2e9)
_paths = st.just("checkpoints/step-1") | _short
_checkpoint = st.fixed_dictionaries(
    {"step": _counts, "epoch": _amounts, "path": _paths, "bytes": _counts, "time": _times},
    optional={"metric": st.floats(allow_nan=False, allow_infinity=False)},
)
_failure = st.fixed_dictionaries(
    {"cause": st.sampled_from(["UserError", "OutOfMemory", "Hung"]) | _short, "message": _short},
    optional={"remedy": _short, "rank": _counts, "phase": _short, "detail": _short, "step": _counts},
)
_dataset = st.fixed_dictionaries(
    {
        "version": st.just("ab12") | _short,
        "path": _paths,
        "bytes": _counts,
        "classCount": _counts,
        "classes": st.lists(_short, max_size=3),
        "firstRejects": st.lists(_short, max_size=3),
        "counts": st.fixed_dictionaries({"train": _counts, "validation": _counts}),
        "classCounts": st.just({}),
        "sampleShape": st.lists(st.integers(1, 100), max_size=4),
        "rejected": _counts,
    }
)
plausible = st.fixed_dictionaries(
    {},
    optional={
        "step": _counts,
        "steps": _counts,
        "position": _counts,
        "epoch": _amounts,
        "epochs": _amounts,
        "phase": st.sampled_from(["Training", "Rendezvous", "Loading"]) | _short,
        "phaseSince": _times,
        "etaSeconds": _amounts,
        "retries": _counts,
        "metrics": st.dictionaries(_short | st.just("train/loss"), _amounts, max_size=3),
        "nonFinite": st.lists(_short, max_size=3),
        "warnings": st.lists(_short, max_size=3),
        "checkpointLatest": _checkpoint,
        "checkpointBest": _checkpoint,
        "failure": _failure,
        "dataset": _dataset,
        "export": st.just("export/model.safetensors") | _paths,
        "outcome": st.sampled_from(["Succeeded", "Suspended", "Superseded", "Failed"]),
    },
)
"""Fields whose types and bounds are right, so that what is hostile in their texts gets as far as it can."""
