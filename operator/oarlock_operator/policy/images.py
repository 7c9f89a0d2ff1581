"""Why an image cannot be pulled: a wrong name, missing credentials, or a registry in trouble. Pure.

Runtimes put it into words, each its own; the words here are those of containerd, CRI-O and docker.
"""

import re
from dataclasses import dataclass

from oarlock_operator.policy.bounds import clip
from oarlock_operator.policy.causes import OperatorCause
from oarlock_operator.policy.wait import MAX_SAID, Wait, blame_webhook, call_holdup, locate
from oarlock_operator.reconcile.observed import ObservedPod

IMAGE_REASONS = frozenset(
    {"ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull", "RegistryUnavailable",
     "ImageInspectError"}
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Trouble:
    reason: str
    words: re.Pattern[str]
    finding: str
    remedy: str
    cause: OperatorCause = OperatorCause.IMAGE_UNAVAILABLE
    is_ours: bool = False
    """Whether the remedy is about the trainer's own image."""


def _words(*alternatives: str) -> re.Pattern[str]:
    return re.compile("|".join(alternatives), re.IGNORECASE)


_TROUBLES = (
    _Trouble(
        "ImageNameInvalid",
        _words("InvalidImageName", "couldn't parse image", "invalid reference format"),
        "that is no image's name",
        "Correct the image in podTemplate: REGISTRY/NAME:TAG",
        is_ours=True,
    ),
    _Trouble(
        "ImageAbsent",
        _words("ErrImageNeverPull", "is not present with pull policy of Never"),
        "it is not on the node, and imagePullPolicy is Never",
        "Load the image on the node, or set podTemplate.imagePullPolicy to IfNotPresent",
        is_ours=True,
    ),
    _Trouble(
        "ImageWrongPlatform",
        _words("no match for platform", "does not match the specified platform", "exec format error"),
        "it is not built for this node's processor",
        "Build it for this architecture, or choose other nodes with podTemplate.nodeSelector",
        is_ours=True,
    ),
    _Trouble(
        "RegistryRateLimited",
        _words("429", "too ?many ?requests", "rate limit"),
        "the registry limits how often it is asked",
        "It is tried again by itself. Log in with podTemplate.imagePullSecrets, or use a mirror",
        OperatorCause.STARTUP_DEADLINE_EXCEEDED,
    ),
    _Trouble(
        "ImageUnauthorized",
        _words("401", "403", "unauthorized", "access denied", "requested access", "authorization failed",
               "authentication required", "no basic auth", "insufficient_scope", "forbidden"),
        "the registry does not let the node read it",
        "Name a Secret with credentials in podTemplate.imagePullSecrets, or correct the image's name",
    ),
    _Trouble(
        "ImageNotFound",
        _words("not ?found", "manifest unknown", "name unknown", "does not exist", "404"),
        "the registry has no such image",
        "Push it, or correct the image in podTemplate",
        is_ours=True,
    ),
    _Trouble(
        "NodeDiskFull",
        _words("no space left on device"),
        "the node's disk is full",
        "Free disk on the node, or cordon it",
        OperatorCause.STARTUP_DEADLINE_EXCEEDED,
    ),
    _Trouble(
        "RegistryUnreachable",
        _words("no such host", "timeout", "timed out", "connection refused", "connection reset", "no route to host",
               "x509", "HTTP response to HTTPS client", "deadline exceeded", r"50[0234]\b", "RegistryUnavailable",
               "network is unreachable", "EOF"),
        "the registry does not answer the node",
        "Check the registry, the node's DNS and network, and its certificates. It is tried again by itself",
        OperatorCause.STARTUP_DEADLINE_EXCEEDED,
    ),
)  # fmt: skip
"""The first that fits: a registry that refuses also says that something does not exist."""

_UNKNOWN = _Trouble(
    "ImagePullFailed",
    _words(""),
    "the node does not say why",
    "Check the image's name, and imagePullSecrets if it is private",
)


def explain_image(pod: ObservedPod, image: str) -> Wait | None:
    """Return why the image of a pod cannot be pulled; None if that is not what holds it up."""
    if pod.waiting_reason not in IMAGE_REASONS:
        return None
    said = _find_words(pod)
    trouble = next((each for each in _TROUBLES if each.words.search(f"{pod.waiting_reason} {said}")), _UNKNOWN)
    repeated = f" ({clip(said, MAX_SAID)})" if said else ""
    return Wait(
        reason=trouble.reason,
        message=f"{locate(pod)} cannot pull {_name_image(pod, said, image)}: {trouble.finding}{repeated}."
        f" {_advise(pod, trouble)}",
        cause=trouble.cause,
    )


def _name_image(pod: ObservedPod, said: str, image: str) -> str:
    named = _NAMED.search(said)
    if pod.holdup:
        return f"image {named[1] if named else pod.holdup.image} of {call_holdup(pod.holdup)}"
    return f"image {named[1] if named else image}"


def _advise(pod: ObservedPod, trouble: _Trouble) -> str:
    """Return the remedy: the image of a container that a webhook added is none that podTemplate could correct."""
    return blame_webhook(pod) if pod.holdup and trouble.is_ours else trouble.remedy


_NAMED = re.compile(r'image "([^"\s]{1,200})"')
_HIDES = re.compile(r"^(Failed: Error: \w+|Back-off pulling image [^:]*(:[^ ]*)?)?$")
"""What a kubelet says between two tries, which tells nothing."""


def _find_words(pod: ObservedPod) -> str:
    """Return what says most: the state of the container forgets the cause between two tries, the Event keeps it."""
    for said in (pod.waiting_message, pod.warning):
        if said and not _HIDES.match(said):
            return said.rstrip(".")
    return ""
