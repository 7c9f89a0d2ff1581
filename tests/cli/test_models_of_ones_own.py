"""`oarlock run` with a library's model, then one of the user's own code that begins with the first one's weights."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

pytestmark = pytest.mark.train

MANIFESTS = """
apiVersion: oarlock.dev/v1alpha1
kind: Dataset
metadata: {name: shapes}
spec: {source: {volume: {claim: raw}}, layout: {folders: {}}}
---
apiVersion: oarlock.dev/v1alpha1
kind: TrainingJob
metadata: {name: mine}
spec:
  dataset: {name: shapes}
  model: {python: {module: my_models, factory: build, arguments: {name: test_resnet}}, initFrom: {job: theirs}}
  code: {configMap: my-code}
  recipe: {maxSteps: 1, batchSize: 8}
---
apiVersion: oarlock.dev/v1alpha1
kind: TrainingJob
metadata: {name: theirs}
spec:
  dataset: {name: shapes}
  model: {timm: {name: test_resnet}}
  recipe: {maxSteps: 1, batchSize: 8}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: my-code}
data:
  my_models.py: |
    import timm

    def build(outputs, sample_shape, name):
        return timm.create_model(name, num_classes=outputs, in_chans=sample_shape[2])
"""


def test_code_of_ones_own_begins_with_the_weights_of_a_librarys_model(tmp_path: Path) -> None:
    for number in range(24):
        (tmp_path / "raw" / "ab"[number % 2]).mkdir(parents=True, exist_ok=True)
        pixels = np.full((32, 32, 3), number * 10, dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / "raw" / "ab"[number % 2] / f"{number}.png")
    (tmp_path / "all.yaml").write_text(MANIFESTS)
    # In the image of a cluster torchvision fits torch; see tests/torchvision_operators.py.
    path = ":".join(filter(None, (str(Path(__file__).parents[1] / "pod_python"), os.environ.get("PYTHONPATH"))))

    ended = subprocess.run(
        [sys.executable, "-c", "from oarlock.cli import main; main()", "run", "all.yaml", "--claim", "raw=raw"],
        cwd=tmp_path,
        env={**os.environ, "NO_COLOR": "1", "OMP_NUM_THREADS": "1", "PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )

    assert ended.returncode == 0, ended.stdout + ended.stderr
    log = [json.loads(line) for line in (tmp_path / "oarlock-runs/jobs/mine/log.jsonl").read_text().splitlines()]
    (said,) = (line for line in log if line["kind"] == "firstWeights")
    assert said["message"] == "the first weights are 92 tensors of the best model (step 1) of job theirs"
