"""What an import wrote, for the status: in words, and within bounds. Pure."""

from oarlock_api.v1alpha1.status import MAX_STATUS_BYTES, DatasetStatus
from oarlock_operator.policy.bounds import clip, wire_size


def describe_dataset(status: DatasetStatus) -> str:
    """Say what is Ready: `4750 samples in 10 classes (train 3750, validation 1000), 3 files rejected`."""
    splits = ", ".join(f"{split} {count}" for split, count in sorted(status.counts.items()))
    classes = f" in {status.class_count} classes" if status.class_count else ""
    message = f"{status.samples} samples{classes} ({splits})"
    if status.rejected:
        first = f", for example {status.first_rejects[0]}" if status.first_rejects else ""
        message += f"; {status.rejected} files rejected{first}. dataset.json on the claim names them all"
    return f"{message}; {status.warnings[0]}" if status.warnings else message


def fit_dataset_status(status: DatasetStatus) -> DatasetStatus:
    """Return the status within `MAX_STATUS_BYTES`: what is longest and least needed is shortened first."""
    for shorten in (_shorten_names, _drop_class_counts, _shorten_failures, _drop_names):
        if wire_size(status.to_wire()) <= MAX_STATUS_BYTES:
            return status
        status = shorten(status)
    return status


def _shorten_names(status: DatasetStatus) -> DatasetStatus:
    return status.model_copy(
        update={
            "classes": [clip(name, 64) for name in status.classes[:50]],
            "first_rejects": [clip(reject, 200) for reject in status.first_rejects[:3]],
            "warnings": [clip(warning, 300) for warning in status.warnings[:3]],
            "holders": status.holders[:10],
        }
    )


def _drop_class_counts(status: DatasetStatus) -> DatasetStatus:
    return status.model_copy(update={"class_counts": {}})


def _shorten_failures(status: DatasetStatus) -> DatasetStatus:
    short = [failure.model_copy(update={"detail": ""}) for failure in status.failures]
    return status.model_copy(update={"failures": short})


def _drop_names(status: DatasetStatus) -> DatasetStatus:
    return status.model_copy(
        update={"classes": [], "first_rejects": [], "warnings": [], "counts": dict(list(status.counts.items())[:8])}
    )
