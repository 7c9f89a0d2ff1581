"""Runs at the start of every Python whose PYTHONPATH has this folder: pods of the tests that need torchvision."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1]))

import torchvision_operators

torchvision_operators.install()
sys.path.remove(str(Path(__file__).parents[1]))
