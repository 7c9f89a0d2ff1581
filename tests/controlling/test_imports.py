import subprocess
import sys

HEAVY = ("kopf", "kubernetes", "prometheus_client", "aiohttp", "torch")


def test_controller_needs_nothing_of_the_operators_extras_since_the_local_cluster_uses_it() -> None:
    script = f"import sys, oarlock_operator.controller; print([name for name in {HEAVY} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "[]"
