"""The trainers' side of the table of faults: what happens inside pods, and between them."""

from faults.fault import Fault

TRAINER_FAULTS: tuple[Fault, ...] = ()
