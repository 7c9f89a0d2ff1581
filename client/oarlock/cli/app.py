"""The command line: names, options and help. What the commands do is in the modules beside this one."""

from importlib.metadata import version as installed_version
from pathlib import Path
from typing import Annotated

import typer

from oarlock.local.runs_folder import DEFAULT_RUNS, RunsFolder
from oarlock.running.outcomes import EXIT_FAILED, EXIT_INVALID

app = typer.Typer(
    name="oarlock",
    help="Trains models: data set in, trained and inspected model out.",
    epilog="Begin with a folder that holds one folder of images per class:  oarlock run FOLDER",
    no_args_is_help=True,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_enable=False,
)

RunsOption = Annotated[
    Path, typer.Option("--runs", metavar="FOLDER", help="Where data sets, checkpoints, models and logs are kept.")
]
OutputOption = Annotated[str, typer.Option("--output", "-o", metavar="text|json", help="Form of the result.")]


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"oarlock {installed_version('oarlock')}")
        raise typer.Exit


@app.callback()
def oarlock(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Trains models: data set in, trained and inspected model out."""


@app.command(no_args_is_help=True)
def run(
    paths: Annotated[
        list[Path], typer.Argument(metavar="PATH", help="Manifests, folders of manifests, or a folder of images.")
    ],
    *,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show the resolved job; create nothing.")] = False,
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Begin anew. Checkpoints of before stay in the runs folder.")
    ] = False,
    overrides: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="PATH=VALUE", help="Change a field: spec.recipe.epochs=3. May be repeated."),
    ] = None,
    claims: Annotated[
        list[str] | None,
        typer.Option("--claim", metavar="NAME=FOLDER", help="Let a claim stand for a folder of yours, used in place."),
    ] = None,
    nodes: Annotated[
        int | None, typer.Option("--nodes", min=1, max=64, help="Pods to start on this machine; else one.")
    ] = None,
    runs: RunsOption = DEFAULT_RUNS,
    quiet: Annotated[
        int, typer.Option("--quiet", "-q", count=True, help="Say less: -q the result only, -qq failures only.")
    ] = 0,
    output: OutputOption = "text",
) -> None:
    """Train on this machine, without Kubernetes.

    The manifests are those for a cluster, planned by the same code; pods run as processes, volumes are folders.
    Ctrl-C saves a checkpoint and stops; the same command goes on from there, also after a crash.

    [bold]Examples[/]

      oarlock run examples/mnist/       train from manifests
      oarlock run ~/flowers             train from one folder of images per class
      oarlock run --dry-run job.yaml    show the job, every default filled in
      oarlock run job.yaml --set spec.recipe.epochs=3

    [bold]Exit codes[/]

      0 trained    1 failed    2 wrong manifests    130 killed
      75 suspended: run it again to resume
    """
    from oarlock.cli import run as command

    request = command.Request(
        paths=tuple(paths),
        runs=RunsFolder(root=runs),
        overrides=tuple(overrides or ()),
        claims=tuple(claims or ()),
        nodes=nodes,
        dry_run=dry_run,
        fresh=fresh,
        quiet=quiet,
        as_json=_is_json(output),
    )
    raise typer.Exit(command.run(request))


@app.command(no_args_is_help=True)
def validate(
    paths: Annotated[list[Path], typer.Argument(metavar="PATH", help="Manifests, or folders of manifests.")],
) -> None:
    """Check manifests, and say everything that is wrong at once, by file and line."""
    from oarlock.cli.consoles import make_console
    from oarlock.cli.problems import print_problems
    from oarlock.manifests.problems import ManifestsError
    from oarlock.manifests.reading import read_manifests
    from oarlock.running.ordering import find_absent_datasets

    try:
        manifests = read_manifests(paths)
    except ManifestsError as error:
        print_problems(make_console(stderr=True), error)
        raise typer.Exit(EXIT_INVALID) from None
    for manifest in manifests:
        typer.echo(f"{manifest.place_of('kind')}: {manifest.kind} {manifest.name} is valid")
    for place, name in find_absent_datasets(manifests):
        typer.echo(
            f"{place}: warning: Dataset {name} is not among these files: it must be in the job's namespace", err=True
        )


@app.command("list")
def list_all(runs: RunsOption = DEFAULT_RUNS) -> None:
    """List the Datasets and jobs of a runs folder."""
    from oarlock.cli.consoles import make_console
    from oarlock.cli.listing import print_table

    print_table(make_console(), RunsFolder(root=runs))


@app.command()
def status(
    name: Annotated[
        str | None, typer.Argument(metavar="NAME", help="A job or a Dataset; without one, all are listed.")
    ] = None,
    runs: RunsOption = DEFAULT_RUNS,
) -> None:
    """Show how a job or a Dataset is, and where its results are."""
    from oarlock.cli.consoles import make_console
    from oarlock.cli.listing import print_status, print_table

    if name is None:
        print_table(make_console(), RunsFolder(root=runs))
        return
    for item in _find(name, RunsFolder(root=runs)):
        print_status(make_console(), item, RunsFolder(root=runs))


@app.command()
def logs(
    name: Annotated[str, typer.Argument(metavar="NAME", help="A job or a Dataset.")],
    attempt: Annotated[int | None, typer.Option("--attempt", min=0, help="One attempt; else all of them.")] = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on with what the newest pod prints.")] = False,
    runs: RunsOption = DEFAULT_RUNS,
) -> None:
    """Print what the pods of a job or a Dataset printed."""
    from oarlock.cli.logs import find_logs, follow_log, list_attempts, print_logs

    folder = RunsFolder(root=runs)
    found = _find(name, folder)
    paths = [path for item in found for path in find_logs(item, folder, attempt=attempt)]
    if not paths:
        known = ", ".join(map(str, sorted({number for item in found for number in list_attempts(item, folder)})))
        what = f"no logs of attempt {attempt}; there are those of {known}" if known else "printed nothing yet"
        typer.echo(f"{name} has {what}", err=True)
        raise typer.Exit(EXIT_FAILED)
    if follow:
        follow_log(paths[-1], folder)
    else:
        print_logs(paths)


@app.command(no_args_is_help=True)
def model(
    name: Annotated[
        str, typer.Argument(metavar="MODEL", help="resnet18, timm:NAME, torchvision:NAME, MODULE:FACTORY.")
    ],
    shape: Annotated[
        str | None, typer.Option("--shape", metavar="HxWxC", help="Form of a sample: 28x28x1, or a number of tokens.")
    ] = None,
    outputs: Annotated[int, typer.Option("--outputs", min=1, max=1_000_000, help="Size of the last layer.")] = 10,
) -> None:
    """Show the layers of a model with their shapes and parameters: what `recipe.paramGroups` and `initFrom.match` name."""
    from oarlock.cli.consoles import make_console
    from oarlock.cli.layers import show_model

    raise typer.Exit(show_model(make_console(), name, shape=shape, outputs=outputs))


@app.command(no_args_is_help=True)
def report(
    name: Annotated[str, typer.Argument(metavar="JOB", help="A TrainingJob, or the folder of one.")],
    *,
    opens: Annotated[bool, typer.Option("--open", help="Show it in the browser.")] = False,
    to: Annotated[Path | None, typer.Option("--to", metavar="FILE", help="Where; else beside the job's log.")] = None,
    runs: RunsOption = DEFAULT_RUNS,
) -> None:
    """Write the report of a run: one HTML file with curves, mistakes, speed and recipe, which needs no network.

    A run writes it itself when it ends; before that, this shows how it goes. The folder of a job on a cluster's
    checkpoint volume does as well, wherever that is mounted or was copied to.
    """
    from oarlock.cli.report_page import write_report

    is_run = (Path(name) / "log.jsonl").is_file()  # a folder that happens to have a job's name is none
    if is_run or ("/" in name and Path(name).is_dir()):
        raise typer.Exit(write_report(Path(name), title="", output=to, opens=opens))
    folder = RunsFolder(root=runs)
    for item in _find(name, folder):
        if item["kind"] == "TrainingJob":
            found = folder.link_job(item) or folder.root / "jobs" / name
            raise typer.Exit(write_report(found, title=name, output=to, opens=opens))
    typer.echo(f"{name} is a Dataset: reports are of TrainingJobs", err=True)
    raise typer.Exit(EXIT_FAILED)


@app.command(no_args_is_help=True)
def doctor(
    name: Annotated[str, typer.Argument(metavar="JOB", help="A TrainingJob.")],
    *,
    namespace: Annotated[
        str, typer.Option("--namespace", "-n", metavar="NAME", help="Its namespace; else that of the context.")
    ] = "",
    context: Annotated[str, typer.Option("--context", metavar="NAME", help="Context of the kubeconfig.")] = "",
    kubeconfig: Annotated[
        Path | None, typer.Option("--kubeconfig", metavar="FILE", help="Else $KUBECONFIG, else ~/.kube/config.")
    ] = None,
    local: Annotated[bool, typer.Option("--local", help="Look into the runs folder, never into a cluster.")] = False,
    runs: RunsOption = DEFAULT_RUNS,
    output: OutputOption = "text",
) -> None:
    """Say what is wrong with a job, who is to blame and what to do; then show the evidence.

    Reads only, with your own rights; what they do not cover is left out and named. A job in the runs folder is taken
    from there, unless a namespace, context or kubeconfig is given.

    [bold]Examples[/]

      oarlock doctor fashion-lenet                 in the current context, or in ./oarlock-runs
      kubectl oarlock doctor fashion-lenet -n team
      oarlock doctor fashion-lenet -o json         for programs

    [bold]Exit codes[/]

      0 healthy or finished    1 needs attention, or not found
    """
    from oarlock.cli import doctor as command
    from oarlock.doctor.kubectl_reading import Place

    if kubeconfig is not None and not kubeconfig.is_file():
        raise typer.BadParameter(f"there is no file {kubeconfig}", param_hint="--kubeconfig")
    place = Place(kubeconfig=str(kubeconfig or ""), context=context, namespace=namespace)
    request = command.Request(
        name=name, place=place, runs=RunsFolder(root=runs), is_local=local, as_json=_is_json(output)
    )
    raise typer.Exit(command.doctor(request))


def _find(name: str, runs: RunsFolder) -> list[dict[str, object]]:
    from oarlock.cli.listing import list_objects

    found = [item for item in list_objects(runs) if item["metadata"]["name"] == name]
    if not found:
        known = ", ".join(str(item["metadata"]["name"]) for item in list_objects(runs)) or "nothing"
        typer.echo(f"there is no {name} in {runs.root}; there is {known}", err=True)
        raise typer.Exit(EXIT_FAILED)
    return found


def _is_json(output: str) -> bool:
    if output not in ("text", "json"):
        raise typer.BadParameter(f"must be text or json, got {output!r}", param_hint="--output")
    return output == "json"
