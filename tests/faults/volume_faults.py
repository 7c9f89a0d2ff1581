"""Data and checkpoints that are damaged, missing or cannot be written, and losses that are no numbers: the real trainer."""

from faults.fault import Answer, Fault

_TEST = "faults/test_trainer_faults.py"
_TOPIC = "Data, checkpoints and losses"

VOLUME_FAULTS: tuple[Fault, ...] = (
    Fault(
        name="loss-not-finite", topic=_TOPIC, fault="The loss is not finite for ten steps in a row",
        injected="a learning rate of a million",
        phase="Restarting", reason="NonFinite",
        message="pod <pod> on node <node>: the training loss is not finite since step <n> (10 steps in a row)",
        remedy="lower recipe.optimizer.learningRate, lengthen schedule.warmupFraction or set gradientClipNorm",
        answer=Answer.COUNTED, test=_TEST,
    ),
    Fault(
        name="loss-not-finite-yet", topic=_TOPIC, fault="The loss of a step is not finite",
        injected="a rank reports it",
        phase="Training", reason="Training",
        message="not finite: train/loss", remedy="Lower the learning rate or clip gradients", answer=Answer.GOES_ON, test=_TEST,
    ),
    Fault(
        name="data-corrupt", topic=_TOPIC, fault="A shard of the data set is damaged",
        injected="one bit of one byte is flipped",
        phase="Failed", reason="DataCorrupt",
        message="pod <pod> on node <node>: <file> is damaged: its SHA-256 is not the one recorded at import",
        remedy="delete the folder of this data set version and import the Dataset again", answer=Answer.NEVER, test=_TEST,
    ),
    Fault(
        name="data-unreadable", topic=_TOPIC, fault="A shard cannot be read (EIO)",
        injected="a rank whose reader threads read a shard that the kernel refuses to read",
        phase="Restarting", reason="StorageFailed",
        message="pod <pod> on node <node>: reading the data set failed at <folder>/train-00000.arrow: Input/output error",
        remedy="check that the volume is mounted, writable and healthy; training resumes from the last checkpoint",
        answer=Answer.WINDOWED, test=_TEST,
    ),
    Fault(
        name="data-cut-off", topic=_TOPIC, fault="A shard is truncated while it is mapped: the rank that touches it gets SIGBUS",
        injected="a rank that truncates the file between two batches; its rows are small",
        phase="Failed", reason="DataCorrupt",
        message="pod <pod> on node <node>: Rank 0 (node rank 0, process <pid>) was killed by SIGBUS in phase Training after step 5."
        " A page of a mapped file was not to be had; <folder>/train-00000.arrow has 100 bytes instead of <size>",
        remedy="delete the folder of this data set version and import the Dataset again", answer=Answer.NEVER, test=_TEST,
    ),
    Fault(
        name="data-reader-ended", topic=_TOPIC, fault="A thread that reads the data set ends without an answer; the step waits for it",
        injected="a reader thread calls pthread_exit, as a native library may, in a job of one node",
        phase="Training", reason="Training",
        message="Started again in place (1): Rank 0: thread batches-0 that reads the data set ended while it read the batch of step 6,"
        " and gave no answer",
        remedy="Started again in place", answer=Answer.IN_PLACE, test=_TEST,
    ),
    Fault(
        name="data-missing", topic=_TOPIC, fault="The data set is not where it was",
        injected="a folder that does not exist",
        phase="Failed", reason="DataMissing",
        message="pod <pod> on node <node>: there is no data set in <folder>: it has no dataset.json",
        remedy="check that the volume of the Dataset is mounted, and import the Dataset again if it is",
        answer=Answer.NEVER, test=_TEST,
    ),
    Fault(
        name="data-of-another-version", topic=_TOPIC, fault="The data set is of another version than the job was accepted with",
        injected="a run that names another version",
        phase="Failed", reason="DataMissing",
        message="must have the version '0123456789abcdef' of the accepted run, it has '<version>'",
        remedy="import the Dataset version that the run names again, or start a new job on the present one",
        answer=Answer.NEVER, test=_TEST,
    ),
    Fault(
        name="checkpoint-volume-full", topic=_TOPIC, fault="The checkpoint volume is full",
        injected="a volume of 128 KiB",
        phase="Restarting", reason="StorageFull",
        message="pod <pod> on node <node>: the volume of <folder> is too full for the checkpoint of step <n>: <size> needed, <size> free",
        remedy="enlarge the volume: it must hold 5 checkpoints", answer=Answer.COUNTED, test=_TEST,
    ),
    Fault(
        name="checkpoint-volume-read-only", topic=_TOPIC, fault="The checkpoint volume is read-only",
        injected="a volume that is mounted so",
        phase="Restarting", reason="StorageFailed",
        message="pod <pod> on node <node>: using the checkpoint volume failed at <folder>: Read-only file system",
        remedy="check that the volume is mounted, writable and healthy", answer=Answer.WINDOWED, test=_TEST,
    ),
    Fault(
        name="checkpoint-not-saved", topic=_TOPIC, fault="One checkpoint could not be saved",
        injected="a rank reports it",
        phase="Training", reason="Training",
        message="the checkpoint of step 40 was not saved", remedy="the next one is tried at the next interval",
        answer=Answer.GOES_ON, test=_TEST,
    ),
    Fault(
        name="checkpoints-all-damaged", topic=_TOPIC, fault="Every checkpoint on the volume is damaged",
        injected="a checkpoint whose manifest holds half of what it held",
        phase="Restarting", reason="StorageFailed",
        message="pod <pod> on node <node>: no checkpoint in <folder> can be used: the checkpoint of step 5 is skipped: <finding>",
        remedy="restore the volume from a backup, or delete that folder to train anew from the first step",
        answer=Answer.WINDOWED, test=_TEST,
    ),
)  # fmt: skip
