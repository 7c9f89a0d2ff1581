"""Runs the agent with a stand-in for torchrun: `agent_driver.py MODE LAUNCHER...`. A script, never imported."""

import os
import sys

from oarlock_trainer.agent.config import Mode
from oarlock_trainer.agent.pod import run_pod

if __name__ == "__main__":
    sys.exit(run_pod(Mode(sys.argv[1]), os.environ, launcher=sys.argv[2:] or None))
