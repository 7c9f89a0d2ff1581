"""A timeline that cannot be had is told; nothing else comes of it."""

from pathlib import Path

import pytest
import torch

from oarlock_api.v1alpha1.timeline import Trace
from oarlock_trainer.tracing import TraceError, Tracer

CPU = torch.device("cpu")


def make_tracer(run_dir: Path) -> Tracer:
    return Tracer(Trace(first_step=3, steps=2), run_dir=run_dir, device=CPU)


def test_steps_to_trace_are_the_ones_that_were_asked_for(tmp_path: Path) -> None:
    tracer = make_tracer(tmp_path)

    assert [step for step in range(9) if tracer.begins_after(step)] == [2]
    assert not any(tracer.ends_after(step) for step in range(9)), "nothing has begun"


def test_a_volume_that_refuses_the_timeline_leaves_no_part_of_it(tmp_path: Path) -> None:
    tracer = make_tracer(tmp_path)
    (tmp_path / "traces/step-000000003.json.gz").mkdir(parents=True)
    tracer.begin(2)

    with pytest.raises(TraceError, match=r"there is no timeline of steps 3 to 4: .*Is a directory"):
        tracer.end(4)
    assert not tracer.is_tracing
    assert [path.name for path in (tmp_path / "traces").iterdir()] == ["step-000000003.json.gz"]


@pytest.mark.parametrize("content", ["", '{"traceEvents": [{"name": "aten::mm", "ts":'])
def test_no_timeline_is_kept_when_torch_could_write_but_a_part_of_it(
    content: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As onto a full disk: torch says nothing then."""
    monkeypatch.setattr(torch.profiler.profile, "export_chrome_trace", lambda _, path: Path(path).write_text(content))
    tracer = make_tracer(tmp_path)
    tracer.begin(2)

    with pytest.raises(TraceError, match="there is no timeline of steps 3 to 4: "):
        tracer.end(4)
    assert not (tmp_path / "traces").exists()


def test_a_volume_that_does_not_answer_is_no_reason_to_end_a_run(tmp_path: Path) -> None:
    out_of_reach = make_tracer(tmp_path / ("x" * 300))  # any error of the volume does

    assert out_of_reach.describe_miss(3, is_over=False).startswith("there is no timeline: ")


def test_it_is_said_why_a_run_has_no_timeline_until_it_has_one(tmp_path: Path) -> None:
    tracer = make_tracer(tmp_path)
    said = "there is no timeline: recipe.trace.firstStep is 3, and the run "

    assert [tracer.describe_miss(step, is_over=False) for step in (2, 3)] == ["", said + "goes on after step 3"]
    assert [tracer.describe_miss(step, is_over=True) for step in (2, 3)] == [said + "ended after step 2", ""]
    tracer.begin(2)
    assert tracer.end(3) == "the timeline of step 3 is in traces/step-000000003.json.gz; open it in ui.perfetto.dev"
    assert (tracer.describe_miss(3, is_over=False), len(list((tmp_path / "traces").iterdir()))) == ("", 1)
