"""What an administrator decides about the operator: read once from the environment that the chart sets."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Self

from oarlock_api.contract import DEFAULT_STATUS_PORT
from oarlock_api.run import DEFAULT_POD_USER

_PREFIX = "OARLOCK_OPERATOR_"


@dataclass(frozen=True, kw_only=True, slots=True)
class Settings:
    """Settings of the operator; each field is read from `OARLOCK_OPERATOR_<FIELD>`."""

    trainer_image: str = "oarlock-trainer:0.1.0"
    """Image of worker and import pods whose manifest names none."""
    site: str = "cluster"
    """Where pods run, which messages speak of: cluster; or machine, as in local runs, where nobody edits what was applied."""
    namespace: str = ""
    """Namespace to serve; empty: all of them."""
    default_gpus_per_node: int = 0
    """GPUs of a worker pod whose job does not say."""
    default_storage_class: str = ""
    """StorageClass of claims whose manifest names none; empty: the cluster's default class."""
    status_port: int = DEFAULT_STATUS_PORT
    """Port of the agents."""
    metrics_port: int = 8080
    """Port of the operator's own metrics; 0: none."""
    probe_port: int = 8081
    """Port of the operator's liveness and readiness probes; 0: none."""
    lease_namespace: str = ""
    """Namespace of the Lease that decides which of several operators writes; empty: this is the only one."""
    lease_name: str = "oarlock-operator"
    """Name of that Lease: operators that serve the same objects share it, and others have another one."""
    resync_seconds: float = 300.0
    """Seconds between two full comparisons of what is stored with what is there."""
    progress_min_seconds: float = 5.0
    """Seconds between two questions to a trainer that makes progress; grows to the next field while nothing changes."""
    progress_max_seconds: float = 60.0
    """Most seconds between two questions to a trainer."""
    progress_write_seconds: float = 30.0
    """Least seconds between two status writes for a job that differ in progress only."""
    status_writes_per_second: float = 50.0
    """Progress-only status writes per second, over all jobs."""
    retry_delay_seconds: float = 5.0
    """Seconds before the first new attempt after a failure; doubles with each further one, to ten minutes."""
    elastic_placement_seconds: float = 30.0
    """Seconds for which pods of an elastic job must find no room before it goes on with fewer."""
    elastic_growth_seconds: float = 300.0
    """Seconds for which an elastic job must have trained before it looks for room for more nodes."""
    queueing: str = "auto"
    """Whether jobs wait for room before they get pods: auto, on, off. Auto: on where nodes can be seen or a budget is given."""
    queue_budget: str = ""
    """What all jobs together may have, as in nvidia.com/gpu=16,cpu=64; empty: what the nodes have, of GPUs."""
    pod_groups: str = ""
    """Scheduler to which whole gangs are handed over, each as a PodGroup: coscheduling, volcano; empty: none."""
    pod_group_scheduler: str = ""
    """Name of that scheduler in pods; empty: scheduler-plugins-scheduler or volcano, as their own charts call them."""
    import_workers: int = 2
    """Processes of an import pod, and its CPU cores, where the Dataset does not say."""

    pod_user: int = DEFAULT_POD_USER
    """User and group of all pods; 0: none is fixed, for platforms that assign one, as OpenShift does. Never root."""
    allowed_service_accounts: str = ""
    """Service accounts that pod templates may name, with commas between them; in this list and the next ones, `*` is any text."""
    allowed_runtime_classes: str = ""
    """Runtime classes that pod templates may name."""
    allowed_priority_classes: str = "*"
    """Priority classes that pod templates may name; those of the system must be written out."""
    allowed_images: str = "*"
    """Registries, folders of registries and repositories from which pod templates may name an image."""
    allowed_volume_kinds: str = "claim,configMap,secret,emptyDir"
    """Kinds of volumes that pod templates may add."""
    allowed_annotations: str = ""
    """Annotations with a prefix that pod templates may add; those without one are free."""
    allowed_labels: str = "*"
    """Labels that pod templates may add; those that give a cloud's identity must be written out."""
    allowed_device_variables: str = ""
    """Variables that hand devices of the node to a container, and that pod templates may set nevertheless."""

    @property
    def is_local(self) -> bool:
        """Whether pods are processes of the user's own machine."""
        return self.site == "machine"

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> Self:
        """Read the settings.

        Raises:
            ValueError: if a variable does not hold what its field needs; names the variable and its value.
        """
        values: dict[str, object] = {}
        for field in fields(cls):
            variable = _PREFIX + field.name.upper()
            if variable in environment:
                values[field.name] = _convert(variable, environment[variable], like=field.default)
        return cls(**values)  # type: ignore[arg-type]  # converted to the type of each default


def _convert(variable: str, text: str, *, like: object) -> object:
    try:
        return type(like)(text)  # type: ignore[call-arg]  # str, int or float
    except ValueError:
        raise ValueError(f"{variable} must be of type {type(like).__name__}, got {text!r}") from None
