"""A Dataset as planning sees it: what is observed, told apart by attempt and owner. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass

from oarlock_api.contract import WorkerStatus
from oarlock_api.findings import Finding
from oarlock_api.run import content_hash
from oarlock_api.v1alpha1.dataset import DatasetSpec
from oarlock_api.v1alpha1.status import DatasetStatus
from oarlock_api.validation import validate_dataset
from oarlock_operator import names
from oarlock_operator.manifests.importer import format_import_run
from oarlock_operator.manifests.metadata import Owner
from oarlock_operator.manifests.sizes import find_oversized_variable
from oarlock_operator.policy.overlays import find_refused_overlay
from oarlock_operator.reconcile.observed import ObservedClaim, ObservedImport, ObservedPod
from oarlock_operator.settings import Settings

_HOW_NOT_WHAT = frozenset({"podTemplate", "resources", "backoffLimit"})
"""Fields that say how the import is run; they may change at any time."""


@dataclass(frozen=True, kw_only=True, slots=True)
class DatasetView:
    """What the planning of one Dataset reasons about."""

    observed: ObservedImport
    now: float
    settings: Settings
    owner: Owner
    spec: DatasetSpec | None
    """The spec as it is now; None if it is invalid."""
    findings: tuple[Finding, ...]
    spec_hash: str
    """Hash of what is to be imported; empty if the spec is invalid."""
    pod: ObservedPod | None
    """The pod of the attempt."""
    old_pods: tuple[ObservedPod, ...]
    strangers: Mapping[str, ObservedPod]

    @property
    def status(self) -> DatasetStatus:
        return self.observed.status

    @property
    def is_changed(self) -> bool:
        """Whether the spec asks for other data than what was, or is being, imported."""
        return bool(self.status.spec_hash and self.spec_hash and self.status.spec_hash != self.spec_hash)

    @property
    def is_held(self) -> bool:
        """Whether unfinished jobs need the data to stay: before there is any, they only wait for it."""
        return bool(self.observed.holders and self.status.version)

    @property
    def claim_name(self) -> str:
        """Name of the claim that receives the data."""
        named = self.spec.storage.claim if self.spec else None
        return self.status.claim or named or names.data_claim_name(self.owner.name)

    @property
    def creates_claim(self) -> bool:
        return self.spec is not None and self.spec.storage.claim is None

    @property
    def claim(self) -> ObservedClaim | None:
        return self.observed.claims.get(self.claim_name)

    @property
    def pod_name(self) -> str:
        return names.import_pod_name(self.owner.name, self.owner.uid, attempt=self.status.attempt)

    @property
    def report(self) -> WorkerStatus | None:
        """What the import said last, if it is of this attempt."""
        status = self.observed.report.status if self.observed.report else None
        return status if status is not None and status.attempt == self.status.attempt else None


def view_dataset(observed: ObservedImport, *, now: float, settings: Settings) -> DatasetView:
    """Sort what is observed of a Dataset."""
    checked = validate_dataset(observed.object.spec, name=observed.object.name)
    spec, findings = checked.model, checked.findings
    if spec:
        findings = (
            *find_oversized_variable(format_import_run(observed.object.name, spec, settings=settings)),
            *find_refused_overlay(spec.pod_template, path="spec.podTemplate", settings=settings),
        )
        spec = None if findings else spec
    own = [pod for pod in observed.pods if pod.owner_uid == observed.object.uid]
    current = next((pod for pod in own if pod.attempt == observed.status.attempt), None)
    return DatasetView(
        observed=observed,
        now=now,
        settings=settings,
        owner=Owner(
            kind="Dataset", name=observed.object.name, namespace=observed.object.namespace, uid=observed.object.uid
        ),
        spec=spec,
        findings=findings,
        spec_hash=hash_dataset_spec(spec) if spec else "",
        pod=current,
        old_pods=tuple(pod for pod in own if pod is not current),
        strangers={pod.name: pod for pod in observed.pods if pod.owner_uid != observed.object.uid},
    )


def hash_dataset_spec(spec: DatasetSpec) -> str:
    """Return a hash of what is to be imported.

    Defaults are left out, so that an operator that knows one more field does not take every Dataset for a changed one.
    """
    wire = spec.model_dump(mode="json", by_alias=True, exclude_defaults=True)
    return content_hash({key: value for key, value in wire.items() if key not in _HOW_NOT_WHAT})
