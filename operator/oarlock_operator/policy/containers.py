"""Why a container whose image is there is not started: what it refers to, or what the image lacks. Pure."""

import re
from collections.abc import Callable
from dataclasses import dataclass

from oarlock_operator.policy.bounds import clip
from oarlock_operator.policy.causes import OperatorCause
from oarlock_operator.policy.wait import MAX_SAID, Wait, blame_webhook, name_container
from oarlock_operator.reconcile.observed import ObservedPod

CONTAINER_REASONS = frozenset(
    {"CreateContainerConfigError", "CreateContainerError", "RunContainerError", "StartError", "PreCreateHookError"}
)
_KINDS = {"secret": "Secret", "configmap": "ConfigMap"}


@dataclass(frozen=True, slots=True)
class _Trouble:
    words: re.Pattern[str]
    reason: Callable[[re.Match[str]], str]
    finding: Callable[[re.Match[str]], str]
    remedy: Callable[[re.Match[str]], str]
    is_ours: bool = False
    """Whether the remedy is about the trainer's own container."""


def _kind(said: re.Match[str]) -> str:
    return _KINDS[said["kind"].lower()]


def _trouble(words: str, reason: str, finding: str, remedy: str, *, is_ours: bool = False) -> _Trouble:
    return _Trouble(re.compile(words, re.IGNORECASE), lambda _: reason, lambda _: finding, lambda _: remedy, is_ours)


_TROUBLES = (
    _Trouble(
        re.compile(r'(?P<kind>secret|configmap)s? "(?P<name>[^"\s]{1,253})" not found', re.IGNORECASE),
        lambda said: f"{_kind(said)}Missing",
        lambda said: f"{_kind(said)} {said['name']} does not exist in this namespace",
        lambda said: f"Create {_kind(said)} {said['name']}: the pod starts then by itself",
    ),
    _Trouble(
        re.compile(
            r"couldn't find key (?P<key>\S{1,253}) in (?P<kind>secret|configmap) (\S+/)?(?P<name>[^\s/,.;]{1,253})",
            re.IGNORECASE,
        ),
        lambda said: f"{_kind(said)}KeyMissing",
        lambda said: f"{_kind(said)} {said['name']} has no key {said['key']}",
        lambda said: f"Add the key {said['key']} to {_kind(said)} {said['name']}: the pod starts then by itself",
    ),
    _Trouble(
        re.compile(r"references non-existent (?P<kind>secret|config) key: (?P<key>\S{1,253})", re.IGNORECASE),
        lambda said: f"{_volume_kind(said)}KeyMissing",
        lambda said: f"a volume needs the key {said['key']}, which its {_volume_kind(said)} does not have",
        lambda said: f"Add the key {said['key']} to the {_volume_kind(said)}: the pod starts then by itself",
    ),
    _trouble(
        r"runAsNonRoot|non-numeric user",
        "RunsAsRoot",
        "the image runs as root, or as a user without a number",
        "Build the image with a USER that is a number, as 65532",
        is_ours=True,
    ),
    _trouble(
        r"nvidia-container-cli|could not select device driver|nvidia.*(hook|runtime)|failed to inject CDI",
        "GpuRuntimeFailed",
        "the node cannot give the container its GPUs",
        "See to the driver and the container toolkit of the node, and cordon it meanwhile",
    ),
    _trouble(
        r"exec format error",
        "ImageWrongPlatform",
        "the image is not built for this node's processor",
        "Build it for this architecture, or choose other nodes with podTemplate.nodeSelector",
        is_ours=True,
    ),
    _trouble(
        r"executable file not found|no such file or directory",
        "ProgramMissing",
        "the image has no python to run the trainer with",
        "Use the trainer image, or one that is built on it",
        is_ours=True,
    ),
    _trouble(
        r"no space left on device",
        "NodeDiskFull",
        "the node's disk is full",
        "Free disk on the node, or cordon it",
    ),
)  # fmt: skip


def _volume_kind(said: re.Match[str]) -> str:
    return "Secret" if said["kind"].lower() == "secret" else "ConfigMap"


def explain_container(pod: ObservedPod) -> Wait | None:
    """Return why the container of a pod cannot be started; None if that is not what holds it up."""
    if pod.waiting_reason not in CONTAINER_REASONS:
        return None
    said = pod.waiting_message or pod.warning
    return explain_words(pod, said) or Wait(
        reason=pod.waiting_reason,
        message=f"{name_container(pod)} cannot be created{_repeat(said)}. {_advise(pod, _CHECK)}",
        cause=OperatorCause.CONTAINER_REFUSED,
    )


def explain_words(pod: ObservedPod, said: str) -> Wait | None:
    """Return what the words of a kubelet or a runtime mean for the container of a pod; None if they are of something else."""
    for trouble in _TROUBLES:
        if match := trouble.words.search(said):
            return Wait(
                reason=trouble.reason(match),
                message=f"{name_container(pod)} cannot start: {trouble.finding(match)}{_repeat(said)}."
                f" {_advise(pod, trouble.remedy(match), is_ours=trouble.is_ours)}",
                cause=OperatorCause.CONTAINER_REFUSED,
            )
    return None


_CHECK = "Check the Secrets, ConfigMaps and volumes that podTemplate names, and the image"


def _advise(pod: ObservedPod, remedy: str, *, is_ours: bool = True) -> str:
    """Return the remedy: what the trainer's image or podTemplate could mend is nothing to a container that a webhook added."""
    return blame_webhook(pod) if pod.holdup and is_ours else remedy


def _repeat(said: str) -> str:
    return f" ({clip(said.rstrip('.'), MAX_SAID)})" if said else ""
