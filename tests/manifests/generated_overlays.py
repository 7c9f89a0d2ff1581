"""Pod templates as hypothesis makes them: every field of the allow-list, with all that its schema lets through."""

from typing import Any

from hypothesis import strategies as st

from oarlock_api.v1alpha1.pod_template import PodTemplate

_NAMES = st.from_regex(r"[a-z0-9]([-a-z0-9]{0,10}[a-z0-9])?", fullmatch=True)
_KEYS = st.sampled_from(
    [
        "team",
        "note",
        "oarlock.dev/uid",
        "app.kubernetes.io/name",
        "container.apparmor.security.beta.kubernetes.io/trainer",
    ]
) | st.text(max_size=20)
_LABEL_VALUES = st.from_regex(r"([A-Za-z0-9]([-A-Za-z0-9_.]{0,10}[A-Za-z0-9])?)?", fullmatch=True)
_SHORT = st.text(max_size=40)
_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | _SHORT,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(_SHORT, inner, max_size=2),
    max_leaves=5,
)
_OPEN = st.dictionaries(
    st.sampled_from(["nodeAffinity", "podAffinity", "securityContext", "hostNetwork"]) | _SHORT, _JSON, max_size=3
)
_TOLERATIONS = st.fixed_dictionaries(
    {},
    optional={
        "key": _SHORT,
        "operator": st.sampled_from(["Exists", "Equal"]),
        "value": _SHORT,
        "effect": st.sampled_from(["NoSchedule", "PreferNoSchedule", "NoExecute"]),
        "tolerationSeconds": st.integers(min_value=0),
    },
)
_VARIABLES = st.fixed_dictionaries(
    {
        "name": st.sampled_from(
            ["HOME", "PATH", "LD_PRELOAD", "OARLOCK_RUN", "OARLOCK_POD_IP", "NVIDIA_VISIBLE_DEVICES"]
        )
        | st.from_regex(r"[A-Za-z_][A-Za-z0-9_]{0,10}", fullmatch=True),
        "value": _SHORT | st.sampled_from(["$(OARLOCK_RUN)", "$$", "all"]),
    }
)
_PLACES = st.sampled_from(
    [
        "/oarlock",
        "/oarlock/data",
        "/tmp",
        "/tmp/x",
        "/dev/shm",
        "/run",
        "/var/run/secrets",
        "/proc/sys",
        "/sys",
        "/data",
    ]
) | st.from_regex(r"(/[a-z.]{1,6}){1,3}", fullmatch=True)
_VOLUMES = st.builds(
    lambda name, place, read_only, kind: {"name": name, "mountPath": place, "readOnly": read_only, **kind},
    st.sampled_from(["oarlock-scratch", "oarlock-claim-0", "oarlock-tmp"]) | _NAMES,
    _PLACES,
    st.booleans(),
    st.one_of(
        *(st.builds(lambda name, kind=kind: {kind: name}, _NAMES) for kind in ("claim", "configMap", "secret")),
        st.just({"emptyDir": {}}),
        st.just({"emptyDir": {"sizeLimit": "1Gi"}}),
    ),
)

FIELDS: dict[str, st.SearchStrategy[Any]] = {
    "image": _SHORT.filter(bool),
    "imagePullPolicy": st.sampled_from(["Always", "IfNotPresent", "Never"]),
    "imagePullSecrets": st.lists(_NAMES, max_size=3),
    "labels": st.dictionaries(_KEYS, _LABEL_VALUES, max_size=4),
    "annotations": st.dictionaries(_KEYS, _SHORT, max_size=4),
    "nodeSelector": st.dictionaries(_SHORT, _LABEL_VALUES, max_size=3),
    "tolerations": st.lists(_TOLERATIONS, max_size=3),
    "affinity": _OPEN,
    "topologySpreadConstraints": st.lists(_OPEN, max_size=2),
    "priorityClassName": _NAMES | st.just("system-node-critical"),
    "runtimeClassName": _NAMES,
    "serviceAccountName": _NAMES,
    "schedulerName": _NAMES,
    "env": st.lists(_VARIABLES, max_size=4),
    "volumes": st.lists(_VOLUMES, max_size=4),
}
"""By the wire name of each field."""

templates = st.fixed_dictionaries({}, optional=FIELDS)


def wire_names() -> set[str]:
    """Return the names of all fields that a user may write."""
    return {field.alias or name for name, field in PodTemplate.model_fields.items()}
