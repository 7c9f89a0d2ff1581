"""What users may add to pods only if the administrator allows it: names through which rights, devices or data come. Pure.

Who may create a TrainingJob may have pods made, and most of a pod template is no more than any user may do who creates pods
under the restricted Pod Security Standard. What goes beyond is judged here, by lists in the settings. `*` in a list stands for
any text, but never for a name that grants privileges: such a name must be written out.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase

from oarlock_api.findings import Finding
from oarlock_api.v1alpha1.pod_template import ExtraVolume, PodTemplate
from oarlock_operator.policy.image_sources import is_image_allowed
from oarlock_operator.settings import Settings

_SHOWN = 80

_IDENTITY_LABELS = ("azure.workload.identity/use", "aadpodidbinding")
"""Labels by which a cloud gives a pod an identity."""
_DEVICE_VARIABLES = (
    *("NVIDIA_VISIBLE_DEVICES", "NVIDIA_MIG_CONFIG_DEVICES", "NVIDIA_MIG_MONITOR_DEVICES", "NVIDIA_IMEX_CHANNELS"),
    *("NVIDIA_GDS", "NVIDIA_GDRCOPY", "NVIDIA_MOFED", "NVIDIA_NVSWITCH", "NVIDIA_DISABLE_REQUIRE"),
    *("AMD_VISIBLE_DEVICES", "HABANA_VISIBLE_DEVICES", "ASCEND_VISIBLE_DEVICES", "MTHREADS_VISIBLE_DEVICES"),
)
"""Variables by which container runtimes hand a pod devices of the node that it did not ask the scheduler for."""
_SYSTEM_CLASS = "system-"
"""Priority classes of the cluster itself: pods that have one evict everybody else's."""


@dataclass(frozen=True, kw_only=True, slots=True)
class _Allowance:
    """One list of the administrator's, and what of a pod template it decides about."""

    setting: str
    """Field of the settings."""
    value: str
    """The same in the chart's values."""
    asked: Callable[[PodTemplate], Iterable[tuple[str, str]]]
    """Path below the template and name of each thing that must be allowed."""
    is_privileged: Callable[[str], bool] = lambda _name: False
    """Whether a name must be written out to be allowed."""
    is_free: Callable[[str], bool] = lambda _name: False
    """Whether a name needs nobody's permission."""
    matches: Callable[[str, str], bool] = fnmatchcase
    """Whether a name is meant by an entry of the list."""


def find_refused_overlay(template: PodTemplate | None, *, path: str, settings: Settings) -> Iterator[Finding]:
    """Yield a finding for each thing in a pod template that the administrator does not allow."""
    for allowance in _ALLOWANCES if template else ():
        entries = split_names(getattr(settings, allowance.setting))
        for where, name in allowance.asked(template or PodTemplate()):
            if not _is_allowed(name, entries, allowance):
                yield Finding(
                    path=f"{path}.{where}",
                    rule="must be allowed by the administrator",
                    found=repr(name[:_SHOWN]),
                    remedy=f"{_describe_choice(entries)}, or have the administrator add it to podOverlays.{allowance.value}"
                    " of the chart",
                )


def split_names(text: str) -> tuple[str, ...]:
    """Return the names in a list that is written with commas."""
    return tuple(name for part in text.split(",") if (name := part.strip()))


def _is_allowed(name: str, entries: tuple[str, ...], allowance: _Allowance) -> bool:
    if allowance.is_privileged(name):
        return name in entries
    return allowance.is_free(name) or any(allowance.matches(name, entry) for entry in entries)


def _describe_choice(entries: tuple[str, ...]) -> str:
    named = ", ".join(entry for entry in entries if entry != "*")[:_SHOWN]
    return f"leave it out, use what is allowed ({named})" if named else "leave it out"


def _given(field: str, name: str | None) -> Iterator[tuple[str, str]]:
    if name is not None:
        yield field, name


def _keys(field: str, entries: Iterable[str] | None) -> Iterator[tuple[str, str]]:
    return ((f"{field}.{key[:_SHOWN]}", key) for key in entries or ())


def _volume_kinds(template: PodTemplate) -> Iterator[tuple[str, str]]:
    for index, volume in enumerate(template.volumes or ()):
        yield f"volumes[{index}]", _kind_of(volume)


def _kind_of(volume: ExtraVolume) -> str:
    kinds = {"claim": volume.claim, "configMap": volume.config_map, "secret": volume.secret}
    return next((kind for kind, name in kinds.items() if name is not None), "emptyDir")


def _device_variables(template: PodTemplate) -> Iterator[tuple[str, str]]:
    for index, variable in enumerate(template.env or ()):
        if variable.name.upper() in _DEVICE_VARIABLES:
            yield f"env[{index}]", variable.name


_ALLOWANCES = (
    _Allowance(
        setting="allowed_service_accounts",
        value="serviceAccounts",
        asked=lambda template: _given("serviceAccountName", template.service_account_name),
    ),
    _Allowance(
        setting="allowed_runtime_classes",
        value="runtimeClasses",
        asked=lambda template: _given("runtimeClassName", template.runtime_class_name),
    ),
    _Allowance(
        setting="allowed_priority_classes",
        value="priorityClasses",
        asked=lambda template: _given("priorityClassName", template.priority_class_name),
        is_privileged=lambda name: name.startswith(_SYSTEM_CLASS),
    ),
    _Allowance(
        setting="allowed_images",
        value="images",
        asked=lambda template: _given("image", template.image),
        matches=is_image_allowed,
    ),
    _Allowance(setting="allowed_volume_kinds", value="volumeKinds", asked=_volume_kinds),
    _Allowance(
        setting="allowed_annotations",
        value="annotations",
        asked=lambda template: _keys("annotations", template.annotations),
        # Runtimes, networks, injectors and clouds all read annotations with a prefix of their own.
        is_free=lambda key: "/" not in key,
    ),
    _Allowance(
        setting="allowed_labels",
        value="labels",
        asked=lambda template: _keys("labels", template.labels),
        is_privileged=lambda key: key in _IDENTITY_LABELS,
    ),
    _Allowance(
        setting="allowed_device_variables",
        value="deviceVariables",
        asked=_device_variables,
        is_privileged=lambda _name: True,
    ),
)
