"""A process node in a process of its own: for tests that do not run in its event loop, or kill it."""

import argparse
import asyncio
import contextlib
import json
import os
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Self

from kube_node.kubernetes_node import KubernetesNode

from control_plane.processes import Process

_TESTS = Path(__file__).parents[1]
_PATIENCE_SECONDS = 150.0


class NodeProcess:
    """Start with `with NodeProcess(kubeconfig, folder)`; dies with the tests, and its pods with it."""

    def __init__(
        self, kubeconfig: Path, folder: Path, *, name: str = "process-node", cpus: int = 64, gpus: Sequence[str] = ()
    ) -> None:
        self.name, self.folder = name, folder
        folder.mkdir(parents=True, exist_ok=True)
        self._ready = folder / "ready"
        options = {"kubeconfig": str(kubeconfig), "folder": str(folder), "name": name, "cpus": cpus, "gpus": list(gpus)}
        self._process = Process(
            name,
            [sys.executable, "-m", "kube_node.node_process", json.dumps(options)],
            folder / "node.log",
            environment={**os.environ, "PYTHONPATH": str(_TESTS)},
        )

    @property
    def pid(self) -> int | None:
        return self._process.pid

    def start(self) -> Self:
        """Start the node, and return when it is registered."""
        self._ready.unlink(missing_ok=True)
        self._process.start()
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while not self._ready.exists():
            self._process.check()
            if time.monotonic() > deadline:
                raise TimeoutError(f"{self.name} is not ready.\n{self._process.build_log_excerpt()}")
            time.sleep(0.05)
        return self

    def stop(self) -> None:
        """End the node in order: its pods are killed and it leaves the cluster."""
        self._process.stop(grace=60)

    def kill(self) -> None:
        """Let the machine crash: pods and node are gone at once, and nobody is told."""
        self._process.stop()

    def pause(self) -> None:
        """Let the machine lose its network: pods go on, and nothing is heard of it."""
        self._process.signal(signal.SIGSTOP)

    def resume(self) -> None:
        self._process.signal(signal.SIGCONT)

    def check(self) -> None:
        self._process.check()

    def read_pod_log(self, namespace: str, pod: str) -> str:
        path = self.folder / "logs" / namespace / f"{pod}.log"
        return path.read_text(errors="replace") if path.exists() else ""

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()


async def _run(node: KubernetesNode, ready_file: Path) -> None:
    ready = asyncio.Event()
    running = asyncio.create_task(node.run(ready=ready))
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, running.cancel)
    waiting = asyncio.create_task(ready.wait())
    await asyncio.wait({running, waiting}, return_when=asyncio.FIRST_COMPLETED)
    await asyncio.to_thread(ready_file.touch)
    waiting.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await running


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("options")
    options = json.loads(parser.parse_args().options)
    folder = Path(options["folder"])
    node = KubernetesNode(
        Path(options["kubeconfig"]), folder, name=options["name"], cpus=options["cpus"], gpus=options["gpus"]
    )
    asyncio.run(_run(node, folder / "ready"))


if __name__ == "__main__":
    main()
