"""The program of a script: how torchrun is told to run it, and what it finds in its environment.

The program is the user's own, in any image: nothing of Oarlock's is asked of it. Standard library only.
"""

from collections.abc import Mapping
from pathlib import Path

from oarlock_api import contract
from oarlock_trainer.agent.config import AgentConfig

_PATH_ENV = "PYTHONPATH"


def build_program(config: AgentConfig) -> list[str]:
    """Return what follows torchrun's own options: the trainer, or the program."""
    if not config.program:
        return ["-m", contract.TRAINER_MODULE]
    first, *arguments = config.program
    if first == "-m":
        return list(config.program)
    if not first.endswith(".py"):
        return ["--no-python", *config.program]
    # `/` keeps an absolute path as it is.
    return [str(config.code_dir / first) if config.code_dir else first, *arguments]


def progress_path(config: AgentConfig, *, retry: int) -> Path:
    """Return the file to which rank 0 of one start of torchrun may append its progress."""
    return config.scratch_dir / "progress" / f"{retry}.jsonl"


def prepare_program(config: AgentConfig, environment: Mapping[str, str], *, retry: int) -> dict[str, str]:
    """Make the folders that the program is promised, and return the variables that tell of them.

    Raises:
        OSError: if a volume refuses.
    """
    variables = _extend_python_path(config.code_dir, environment)
    if not config.program:
        return variables
    progress = progress_path(config, retry=retry)
    progress.parent.mkdir(parents=True, exist_ok=True)
    progress.unlink(missing_ok=True)
    variables[contract.PROGRESS_FILE_ENV] = str(progress)
    if config.run_dir is not None:
        kept = config.run_dir / contract.PROGRAM_FOLDER
        kept.mkdir(parents=True, exist_ok=True)
        variables[contract.CHECKPOINT_DIR_ENV] = str(kept)
        # At the very first start nothing can be there, whatever another node's program has begun to write.
        if (config.attempt or retry) and any(kept.iterdir()):
            variables[contract.RESUME_FROM_ENV] = str(kept)
    return variables


def _extend_python_path(code_dir: Path | None, environment: Mapping[str, str]) -> dict[str, str]:
    if code_dir is None:
        return {}
    return {_PATH_ENV: ":".join(filter(None, (str(code_dir), environment.get(_PATH_ENV, ""))))}
