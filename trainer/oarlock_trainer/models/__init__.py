"""Models by what a job says of them: built in, of a library, or a user's own.

The built-in ones need torch alone, and use no operation that lacks a deterministic form on CUDA: no adaptive pooling, no
bilinear upsampling, no loss over maps of class indices. Their names are those of `oarlock_api.zoo`, which the operator checks
without importing torch.
"""

from oarlock_trainer.models.building import build_model
from oarlock_trainer.models.built_in import BUILDERS
from oarlock_trainer.models.forms import SampleForm

__all__ = ["BUILDERS", "SampleForm", "build_model"]
