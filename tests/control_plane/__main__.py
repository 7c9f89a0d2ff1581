"""Run a control plane by hand: `PYTHONPATH=tests python -m control_plane`. For looking around, and for running one test many
times against a server that stays up."""

import argparse
import signal
import sys
import time

from control_plane import binaries, progress, tools
from control_plane.components import COMPONENTS
from control_plane.errors import ControlPlaneError
from control_plane.server import ControlPlane

_EPILOG = f"""\
Where the programs come from, first hit wins:
  {binaries.ASSETS_ENV}   a folder with {", ".join(COMPONENTS)}
  the cache           <cache folder>/oarlock/control-plane/<version>/ (XDG_CACHE_HOME or ~/.cache)
  a download          the official envtest archive, where the network allows
  a build             from Debian's own source package, about 5 minutes on 2 cores

Tests use an existing cluster instead where {binaries.KUBECONFIG_ENV} names its kubeconfig.

examples:
  PYTHONPATH=tests python -m control_plane --build-only
  PYTHONPATH=tests python -m control_plane --node-monitor-grace 40 --eviction-delay 300
"""

_USAGE = """\

  export KUBECONFIG={kubeconfig}
  {kubectl} get namespaces
  export {variable}={kubeconfig}   # then: pytest -m kube

No node runs here: pods stay Pending until something plays the kubelet.
Logs: {folder}/*.log. Ctrl-C stops everything and removes the folder.
"""


def main() -> int:
    arguments = _parse_arguments()
    try:
        programs = binaries.find_or_build()
        progress.say(f"Kubernetes {programs.version} in {programs.folder} ({programs.origin})")
        if not arguments.build_only:
            _serve(arguments)
    except ControlPlaneError as error:
        progress.say(str(error))
        return 1
    except KeyboardInterrupt:
        progress.say("stopped")
    return 0


def _serve(arguments: argparse.Namespace) -> None:
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # ended like by Ctrl-C, with everything cleared away
    with ControlPlane(
        node_monitor_grace=arguments.node_monitor_grace, eviction_delay=arguments.eviction_delay
    ) as control_plane:
        sys.stdout.write(
            _USAGE.format(
                kubeconfig=control_plane.kubeconfig,
                kubectl=tools.kubectl_path(),
                variable=binaries.KUBECONFIG_ENV,
                folder=control_plane.folder,
            )
        )
        sys.stdout.flush()
        while True:
            control_plane.check()
            time.sleep(0.5)


def _parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m control_plane",
        description="Start a real Kubernetes control plane on this machine and keep it until Ctrl-C.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--build-only", action="store_true", help="get the programs into the cache, start nothing")
    parser.add_argument(
        "--node-monitor-grace",
        type=float,
        default=10,
        metavar="SECONDS",
        help="a silent node is lost after so long (10)",
    )
    parser.add_argument(
        "--eviction-delay", type=int, default=5, metavar="SECONDS", help="pods stay so long on a lost node (5)"
    )
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
