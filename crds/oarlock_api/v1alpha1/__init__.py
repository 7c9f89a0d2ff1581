"""`oarlock.dev/v1alpha1`: the models of the API. Their docstrings are the CRD's descriptions."""

from oarlock_api.v1alpha1.dataset import DatasetSpec
from oarlock_api.v1alpha1.status import Condition, DatasetStatus, TrainingJobStatus
from oarlock_api.v1alpha1.training_job import TrainingJobSpec

__all__ = ["Condition", "DatasetSpec", "DatasetStatus", "TrainingJobSpec", "TrainingJobStatus"]

GROUP = "oarlock.dev"
VERSION = "v1alpha1"
API_VERSION = f"{GROUP}/{VERSION}"
