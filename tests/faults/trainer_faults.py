"""The trainers' side of the table of faults: what happens inside pods, and between them."""

from faults.fault import Fault
from faults.hang_faults import HANG_FAULTS
from faults.meeting_faults import MEETING_FAULTS
from faults.rank_faults import RANK_FAULTS
from faults.volume_faults import VOLUME_FAULTS

TRAINER_FAULTS: tuple[Fault, ...] = (*RANK_FAULTS, *HANG_FAULTS, *MEETING_FAULTS, *VOLUME_FAULTS)
