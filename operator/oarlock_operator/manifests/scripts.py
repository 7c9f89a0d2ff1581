"""What pods have more for the user's own code and programs: files from a ConfigMap, and the agent in an image without it. Pure."""

from oarlock_api import contract
from oarlock_api.run import Run
from oarlock_api.v1alpha1.pod_template import PodTemplate
from oarlock_operator.manifests.metadata import Manifest
from oarlock_operator.manifests.placement import build_image
from oarlock_operator.manifests.resources import build_resources
from oarlock_operator.manifests.security import build_container_security
from oarlock_operator.names import AGENT_CONTAINER

_CODE, _AGENT = "oarlock-code", "oarlock-agent"
_COPY_CPU, _COPY_MEMORY = 0.1, "128Mi"


def build_agent_command(run: Run) -> list[str]:
    """Return the command of process 1: the agent of the image, or the one that was copied beside it."""
    if _copies_agent(run):
        return ["python3", contract.AGENT_MOUNT, "train"]
    return ["python", "-m", contract.AGENT_MODULE, "train"]


def build_agent_copy(run: Run, template: PodTemplate) -> Manifest:
    """Return the part of a pod's spec that copies the agent out of the trainer image, if the run's own image lacks it."""
    if run.script is None or not _copies_agent(run):
        return {}
    container = {
        "name": AGENT_CONTAINER,
        **build_image(str(run.script.agent_image), template),
        "command": ["python", "-m", contract.AGENT_COPY_MODULE, contract.AGENT_MOUNT],
        "resources": build_resources(cpu=_COPY_CPU, memory=_COPY_MEMORY),
        "securityContext": build_container_security(),
        "volumeMounts": [{"name": _AGENT, "mountPath": contract.AGENT_MOUNT}],
    }
    return {"initContainers": [container]}


def build_code_volumes(run: Run) -> list[Manifest]:
    code = [{"name": _CODE, "configMap": {"name": run.code.config_map}}] if run.code else []
    return [*code, *([{"name": _AGENT, "emptyDir": {}}] if _copies_agent(run) else [])]


def build_code_mounts(run: Run) -> list[Manifest]:
    code = [{"name": _CODE, "mountPath": contract.CODE_MOUNT, "readOnly": True}] if run.code else []
    agent = {"name": _AGENT, "mountPath": contract.AGENT_MOUNT, "readOnly": True}
    return [*code, *([agent] if _copies_agent(run) else [])]


def build_code_variables(run: Run) -> dict[str, str]:
    """Return the variables that tell of code and program; the agent adds those that change from start to start."""
    return {
        **({contract.CODE_DIR_ENV: contract.CODE_MOUNT} if run.code else {}),
        **({contract.SEED_ENV: str(run.script.seed)} if run.script else {}),
    }


def _copies_agent(run: Run) -> bool:
    return run.script is not None and run.script.agent_image is not None
