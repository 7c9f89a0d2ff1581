"""Persistent volumes: what Datasets and checkpoints are kept on."""

from enum import StrEnum
from typing import Annotated

from pydantic import Field

from oarlock_api.v1alpha1.values import ObjectName, Quantity, RelativePath
from oarlock_api.wire import WireModel


class AccessMode(StrEnum):
    """Who may mount a volume at the same time."""

    READ_WRITE_ONCE = "ReadWriteOnce"
    READ_WRITE_MANY = "ReadWriteMany"
    READ_ONLY_MANY = "ReadOnlyMany"
    READ_WRITE_ONCE_POD = "ReadWriteOncePod"


class RetainPolicy(StrEnum):
    """What becomes of a claim when the object that asked for it is deleted."""

    RETAIN = "Retain"
    DELETE = "Delete"


class VolumeSpec(WireModel):
    """A claim to create, or an existing one to use."""

    claim: ObjectName | None = None
    """Name of an existing PersistentVolumeClaim to use. Absent: one is created from the fields below."""
    size: Quantity = "10Gi"
    """Size of the claim to create."""
    storage_class: ObjectName | None = None
    """StorageClass of the claim to create. Absent: the cluster's default class."""
    access_modes: Annotated[list[AccessMode], Field(min_length=1, max_length=4)] | None = None
    """Access modes of the claim to create. Absent: ReadWriteOnce where one node uses it, else ReadWriteMany."""
    retain: RetainPolicy = RetainPolicy.RETAIN
    """Retain keeps the claim when this object is deleted; Delete deletes it too. An existing claim is never deleted."""


class VolumeSource(WireModel):
    """Files that are already on a volume."""

    claim: ObjectName
    """Name of the PersistentVolumeClaim that holds them."""
    path: RelativePath = ""
    """Folder or file inside the volume; absent: its root."""
