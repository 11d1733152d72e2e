# Which papers, at which scale. The stages are in workflows/stages.smk, the logic in
# reproductions/harness/rooms.py; nothing here imports torch.
#
#   snakemake --cores 4                          every figure and verdict at laptop scale
#   snakemake --cores 4 reddi2018adam            one paper
#   snakemake --cores 4 check                    hold the results against the recorded ones
#   snakemake --cores 4 --config scale=full      the papers' own sizes
import sys
from pathlib import Path

from snakemake.utils import min_version

min_version("9.20")


workdir: workflow.basedir


sys.path.insert(0, workflow.basedir)

from reproductions.harness.rooms import plan

PLAN = plan(Path(workflow.basedir), config)


include: "workflows/stages.smk"


# every room's results by name: Snakemake does not miss what lies behind a report that is there
rule all:
    default_target: True
    input:
        rules.report.output,
        rules.report.input,
    localrule: True


for key in PLAN.rooms:

    rule:
        name:
            key
        input:
            f"{PLAN.folder}/{key}/figures/index.json",
            f"{PLAN.folder}/{key}/verdict.json",
        localrule: True


onsuccess:
    shell("python -m reproductions finish {PLAN.papers} {PLAN.place} --no-table")


onerror:
    shell(
        "python -m reproductions finish {PLAN.papers} {PLAN.place} --no-table --complete"
    )
