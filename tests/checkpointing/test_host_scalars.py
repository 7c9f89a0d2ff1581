"""NAdam's product of its momenta comes back where it was and as it was, not as torch would load it."""

from pathlib import Path

import pytest
import torch
from checkpointing.scaled_states import find_differences, make_state, optimizer_of, take_step

from oarlock_trainer.checkpoints.entries import collect_entries, restore_entries


@pytest.mark.parametrize("kind", ["training", "program"])
def test_run_is_bitwise_the_undisturbed_one_when_its_parameters_are_not_float32(kind: str, tmp_path: Path) -> None:
    assert find_differences(kind, tmp_path, device="cpu") == []


@pytest.mark.filterwarnings("ignore:.*meta parameter")
@pytest.mark.parametrize(("kind", "capturable"), [("training", False), ("training", True), ("program", False)])
def test_scalars_of_the_host_stay_there_when_parameters_are_on_a_device(kind: str, capturable: bool) -> None:  # noqa: FBT001
    """The device `meta` stands for a GPU, as far as torch's rules for loading go."""
    saved = make_state(kind)
    take_step(saved)
    entries = collect_entries(saved, rng={}, rank=0)
    state = make_state(kind, device="meta", capturable=capturable)
    restore_entries(entries, state, rank=0, device=torch.device("cpu"))

    for values in optimizer_of(state).state.values():
        assert values["exp_avg"].device.type == "meta"
        assert values["mu_product"].device.type == ("meta" if capturable else "cpu")
        assert values["mu_product"].dtype == torch.float32
