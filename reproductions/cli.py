"""The command line: every stage without Snakemake.

What does not compute never imports torch; heavy imports wait for the command that needs them.
Exit status: 0 well, 1 an experiment failed or a result left what was recorded, 2 wrong use or
unusable input.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, NamedTuple, Optional

import typer

from reproductions.harness.errors import UserError
from reproductions.harness.rooms import Room, find_rooms, repository_root
from reproductions.harness.settings import Run, read_run
from reproductions.stages.place import Place

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Re-derive the figures of classic papers on optimisation and judge their claims, stage by"
    " stage. `snakemake --cores N` calls the same stages in the right order."
    " Exit status: 0 well, 1 something failed or moved, 2 wrong use."
    " --traceback anywhere shows where an error arose.",
)

Scale = Annotated[
    Optional[str],
    typer.Option(help="smoke, laptop or full; by default what configs/default.yaml says."),
]
Results = Annotated[
    Optional[Path], typer.Option(help="Results folder; by default results/ of the checkout.")
]
Device = Annotated[Optional[str], typer.Option(help="auto, cpu, cuda or cuda:N.")]
Seed = Annotated[Optional[int], typer.Option(help="Every random draw descends from this number.")]
Log = Annotated[
    Optional[Path], typer.Option(help="Send output here and say only the essential (for jobs).")
]
Papers = Annotated[
    Optional[list[str]], typer.Argument(help="Keys of papers, as `list` shows them; default all.")
]


class Context(NamedTuple):
    """What a command line means: the checkout, the defaults under the options, where results lie."""

    root: Path
    run: Run
    place: Place

    def rooms(self, keys: list[str] | None) -> list[Room]:
        """Return the rooms asked for."""
        return list(find_rooms(self.root, tuple(keys) if keys else self.run.papers).values())

    def record(self, room: Room) -> Path:
        """Return a room's record at this scale."""
        return self.root / "results" / "recorded" / self.run.scale / f"{room.key}.json"


def context(
    scale: str | None = None,
    results: Path | None = None,
    device: str | None = None,
    root_seed: int | None = None,
) -> Context:
    """Read the defaults under the options.

    Raises:
        UserError: an unknown scale, or an unusable configs/default.yaml.
    """
    root = repository_root()
    given = {"scale": scale, "device": device, "root_seed": root_seed}
    run = read_run(root / "configs" / "default.yaml", given, asked="command line")
    return Context(root, run, Place(results or root / "results", run.scale))


@app.command("list")
def list_(results: Results = None) -> None:
    """Show the papers, their experiments, and the verdicts there are."""
    from reproductions.stages.listing import show

    here = context(results=results)
    show(here.rooms(None), here.place.results)


@app.command()
def fetch(
    names: Annotated[
        Optional[list[str]],
        typer.Argument(
            help="mnist, fashion_mnist, cifar10, cifar100, svhn or a synthetic_ set; default all used."
        ),
    ] = None,
    scale: Scale = None,
    results: Results = None,
    log: Log = None,
) -> None:
    """Obtain data sets, verify and prepare them; by default those that the scale needs."""
    from reproductions.harness import datasets
    from reproductions.stages.progress import stage

    here = context(scale, results)
    used = {room.experiment(name).data.get(here.run.scale) for room in here.rooms(None)
            for name in room.experiments(here.run.scale)}  # fmt: skip
    for name in names or sorted(filter(None, used)):
        path = here.place.data(name)
        where = log or path.parent / "logs" / f"{name}.log"
        with stage(f"data {name}", where, redirect=log is not None) as progress:
            datasets.fetch(name, path, say=progress.line)


@app.command()
def run(
    what: Annotated[str, typer.Argument(help="PAPER or PAPER/EXPERIMENT")],
    scale: Scale = None,
    device: Device = None,
    root_seed: Seed = None,
    results: Results = None,
    log: Log = None,
) -> None:
    """Run one experiment, or all of a paper, and write the tables.

    The sizes come from configs/PAPER.yaml. A failed experiment leaves a note beside the results
    and does not stop the others.
    """
    from reproductions.stages.run import run_all

    here = context(scale, results, device, root_seed)
    paper, _, experiment = what.partition("/")
    (room,) = here.rooms([paper])
    names = [experiment] if experiment else room.experiments(here.run.scale)
    raise typer.Exit(run_all(here.root, room, names, here.place, here.run, log))


@app.command()
def draw(
    papers: Papers = None,
    scale: Scale = None,
    results: Results = None,
    workers: Annotated[int, typer.Option(min=1, help="Processes to draw with.")] = 1,
    log: Log = None,
) -> None:
    """Draw the figures of papers from their tables."""
    from reproductions.stages import drawing
    from reproductions.stages.progress import stage

    here = context(scale, results)
    for room in here.rooms(papers):
        where = log or here.place.log(room, "figures")
        with stage(f"{room.key} figures", where, redirect=log is not None) as progress:
            index = drawing.draw(room, here.place, progress, workers=workers)
            for name, reason in index["skipped"].items():
                progress.line(f"{name} is not drawn: {reason}")


@app.command()
def judge(
    papers: Papers = None,
    scale: Scale = None,
    results: Results = None,
    log: Log = None,
) -> None:
    """Judge the claims of papers from their tables."""
    from reproductions.harness.verdict_table import print_verdicts, verdict_summary
    from reproductions.stages import evidence
    from reproductions.stages.progress import stage

    here = context(scale, results)
    for room in here.rooms(papers):
        where = log or here.place.log(room, "verdict")
        with stage(f"{room.key} verdict", where, redirect=log is not None) as progress:
            verdict = evidence.judge(room, here.place)
            progress.line(verdict_summary(verdict))
            print_verdicts(verdict)


@app.command()
def report(
    papers: Papers = None,
    scale: Scale = None,
    results: Results = None,
    log: Log = None,
) -> None:
    """Build the report of a scale: one HTML page, a Markdown twin, a summary."""
    from reproductions.stages.finish import build_report
    from reproductions.stages.progress import stage

    here = context(scale, results)
    where = log or here.place.page().with_name("report.log")
    with stage("report", where, redirect=log is not None) as progress:
        progress.line(f"it lies in {build_report(here.rooms(papers), here.place)}")


@app.command()
def finish(
    papers: Papers = None,
    scale: Scale = None,
    results: Results = None,
    complete: Annotated[
        bool, typer.Option(help="First draw and judge what a failed run left open.")
    ] = False,
    table: Annotated[bool, typer.Option(help="Print the verdict tables.")] = True,
) -> None:
    """Bring the report up to date, show the verdicts, and say what failed."""
    from reproductions.stages.finish import finish_all

    here = context(scale, results)
    finish_all(here.rooms(papers), here.place, complete, table)


@app.command()
def check(
    papers: Papers = None,
    scale: Scale = None,
    results: Results = None,
    junit: Annotated[Optional[Path], typer.Option(help="Write JUnit XML here.")] = None,
    summary: Annotated[Optional[Path], typer.Option(help="Write a Markdown summary here.")] = None,
    log: Log = None,
) -> None:
    """Hold the verdicts against the recorded ones; exit status 1 if a verdict or number moved."""
    from reproductions.stages.check import check_all

    here = context(scale, results)
    pairs = [(room, here.record(room)) for room in here.rooms(papers)]
    raise typer.Exit(check_all(pairs, here.place, junit, summary, log))


@app.command()
def record(
    papers: Papers = None,
    scale: Scale = None,
    results: Results = None,
    force: Annotated[
        bool, typer.Option(help="Even if the tables come from other sources than the committed.")
    ] = False,
) -> None:
    """Accept the present verdicts as the ones that `check` compares with."""
    from reproductions.stages.check import record_all

    here = context(scale, results)
    pairs = [(room, here.record(room)) for room in here.rooms(papers)]
    record_all(here.root, pairs, here.place, force)


@app.command()
def new(
    key: Annotated[str, typer.Argument(help="First author, year, one word: reddi2018adam.")],
) -> None:
    """Make a room for a paper; every part fails loudly until it is filled in."""
    from reproductions.stages.new_room import create

    root = repository_root()
    for path in create(key, root):
        typer.echo(f"made {path.relative_to(root)}")
    typer.echo("Fill in claims.yaml first. Everything that says FILL IN fails until it is done.")


def main(arguments: list[str] | None = None) -> None:
    """Run the command line; a user's error is one readable message and exit status 2."""
    given = sys.argv[1:] if arguments is None else arguments
    wanted = "--traceback" in given
    try:
        app(args=[word for word in given if word != "--traceback"], prog_name="reproductions")
    except Exception as error:
        if wanted:
            raise
        known = isinstance(error, UserError)
        text = str(error) if known else f"{type(error).__name__}: {error}; --traceback shows where"
        typer.echo(f"error: {text}", err=True)
        raise SystemExit(2 if known else 1) from None
