"""Jobs that are to begin with the weights of another one, which is not there, not done, or has left nothing that can be used."""

from faults.fault import Answer, Fault

_TEST = "faults/weights_injections.py"
_TOPIC = "First weights of another job"
_CLAIM = "claim <claim> with the weights of TrainingJob <job>, with which this one begins, "
_OTHERWISE = ", or apply this job anew with another model.initFrom"

_WAITING: tuple[tuple[str, str, str, str, str, str], ...] = (
    ("weights-of-nobody", "The other job does not exist", "A job that names none", "InitJobMissing",
     "there is no TrainingJob <job> in this namespace", "Apply it, or correct model.initFrom.job"),
    ("weights-of-itself", "A job names itself", "A job that does", "InitJobIsItself",
     "a job cannot begin with its own weights", "Correct model.initFrom.job"),
    ("weights-unfinished", "The other job has not finished", "Another job that is suspended", "InitJobUnfinished",
     "TrainingJob <job>, whose weights it begins with, is <phase>",
     "This one goes on once that one has finished"),
    ("weights-leaving", "The other job is being deleted", "kubectl delete tj", "InitJobTerminating",
     "TrainingJob <job>, whose weights it begins with, is being deleted",
     "Apply it again once it is gone, or correct model.initFrom"),
    ("weights-never-saved", "The other job left no checkpoint", "The status of one that failed early",
     "InitJobWithoutCheckpoint", "TrainingJob <job> has finished and left no checkpoint",
     "Correct model.initFrom, or train it again"),
    ("weights-claim-missing", "The claim of the other job is not there", "A finished job without its claim",
     "InitJobClaimMissing", f"{_CLAIM}is not there", f"Restore it{_OTHERWISE}"),
    ("weights-claim-leaving", "The claim of the other job is being deleted", "kubectl delete pvc",
     "InitJobClaimTerminating", f"{_CLAIM}is being deleted", f"Restore it under its name once it is gone{_OTHERWISE}"),
    ("weights-claim-lost", "The volume of the other job is gone", "A claim whose PersistentVolume does not exist",
     "InitJobClaimLost", f"{_CLAIM}is Lost: its volume is gone", f"Restore the volume{_OTHERWISE}"),
)  # fmt: skip

WEIGHTS_FAULTS: tuple[Fault, ...] = (
    *(
        Fault(
            name=name,
            topic=_TOPIC,
            fault=fault,
            injected=injected,
            phase="WaitingForData",
            reason=reason,
            message=message,
            remedy=remedy,
            answer=Answer.WAITS,
            test=_TEST,
        )
        for name, fault, injected, reason, message, remedy in _WAITING
    ),
    Fault(
        name="weights-of-one-node", topic=_TOPIC, fault="The claim of the other job is for one node only",
        injected="A job of two nodes",
        phase="Invalid", reason="InvalidSpec",
        message="spec.workers.nodes must be 1 to begin with the weights on claim <claim>, which is"
        " ReadWriteOnce, got 2",
        remedy="put the model that the earlier job exported on a ReadWriteMany claim, name that in checkpoints.volume.claim and"
        " the file in model.initFrom.path",
        answer=Answer.NEVER, test=_TEST,
    ),
    Fault(
        name="weights-deleted", topic=_TOPIC, fault="The claim of the other job is deleted under a job without a checkpoint",
        injected="kubectl delete pvc",
        phase="Starting", reason="ClaimTerminating",
        message="claim <claim> is being deleted, and goes with what is on it once no pod uses it",
        remedy="Its weights are needed until this job has a checkpoint of its own",
        answer=Answer.GOES_ON, test=_TEST,
    ),
)  # fmt: skip
