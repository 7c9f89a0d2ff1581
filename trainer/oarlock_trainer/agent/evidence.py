"""All that is known when one try is over: what the verdict is given. Values only."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from oarlock_api.contract import Failure, JoinStatus, Outcome
from oarlock_trainer.agent.deadlines import Hang
from oarlock_trainer.agent.lost_files import LostFile
from oarlock_trainer.agent.process_tree import ProcessEnd
from oarlock_trainer.peers import Peer
from oarlock_trainer.rank_record import RankReading


@dataclass(frozen=True, kw_only=True, slots=True)
class Evidence:
    """One life of torchrun, or of an import, from its start until nothing of it was alive."""

    program: str
    """What ran: torchrun, or the importer."""
    node: int
    nodes: int
    processes: int
    readings: Mapping[int, RankReading] = field(default_factory=dict)
    """Last reading of each local rank that has a record."""
    ends: Mapping[int, ProcessEnd] = field(default_factory=dict)
    """How each local rank ended on its own: not those that the agent killed."""
    launcher_end: ProcessEnd | None = None
    """How torchrun ended on its own; None for an import, whose one process is the rank."""
    hang: Hang | None = None
    join: JoinStatus | None = None
    """What this node saw of the rendezvous last; None for one node."""
    silent: Sequence[Peer] = ()
    """Other nodes that do not answer, if ranks of this one waited for others."""
    oom_kills: int = 0
    """Processes of the pod that the OOM killer took during this try."""
    stopping: bool = False
    """Whether the pod was asked to stop."""
    grace_expired: bool = False
    """Whether ranks had to be killed at the end of the grace period."""
    last_lines: Sequence[str] = ()
    """The end of what was printed."""
    is_script: bool = False
    """Whether the ranks run a program of the user's, whose exit codes mean what it likes."""
    lost_file: LostFile | None = None
    """What became of the data set, if a rank was killed by SIGBUS."""
    unkillable: str = ""
    """What could not be killed, if anything: nothing may be started beside it."""

    @property
    def first_rank(self) -> int:
        return self.node * self.processes

    @property
    def outcomes(self) -> list[Outcome | None]:
        """Outcome of each local rank, None where it recorded none."""
        readings = (self.readings.get(rank) for rank in range(self.processes))
        return [reading.outcome if reading else None for reading in readings]


@dataclass(frozen=True, kw_only=True, slots=True)
class Verdict:
    """How a try, and so perhaps the pod, ended."""

    outcome: Outcome
    failure: Failure | None = None
    warnings: tuple[str, ...] = ()
