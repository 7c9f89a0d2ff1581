"""The cluster's side of the table of faults: what happens to pods, nodes, volumes and the API."""

from faults.fault import Fault

CLUSTER_FAULTS: tuple[Fault, ...] = ()
