# dataset -> experiment -> figures, verdict -> report, and check; for any paper.
# What makes a job stale beside its inputs is in `params`: the digest of the sources that it
# really uses, its resolved settings, and its part of the environment. Where it runs (threads and
# resources, the device among them) is not.


wildcard_constraints:
    dataset=r"\w+",
    experiment=r"\w+",
    paper=r"\w+",


rule dataset:
    output:
        f"{PLAN.results}/data/{{dataset}}.npz",
    log:
        f"{PLAN.results}/data/logs/{{dataset}}.log",
    conda:
        "../environment.yml"
    params:
        place=PLAN.data_place,
    shell:
        "python -m reproductions fetch {wildcards.dataset} {params.place} --log {log}"


rule experiment:
    input:
        PLAN.data,
    output:
        f"{PLAN.folder}/{{paper}}/tables/{{experiment}}.parquet",
    log:
        f"{PLAN.folder}/{{paper}}/logs/{{experiment}}.log",
    priority: PLAN.priority
    conda:
        "../environment.yml"
    threads: PLAN.threads
    resources:
        gpu=1,
        device=PLAN.run.device,
    params:
        place=PLAN.place,
        seed=PLAN.run.root_seed,
        code=PLAN.experiment_code,
        settings=PLAN.settings,
        env=PLAN.environment("experiment"),
    shell:
        "python -m reproductions run {wildcards.paper}/{wildcards.experiment}"
        " {params.place} --root-seed {params.seed} --device {resources.device} --log {log}"


rule figures:
    input:
        PLAN.tables,
        PLAN.points,
    output:
        f"{PLAN.folder}/{{paper}}/figures/index.json",
    log:
        f"{PLAN.folder}/{{paper}}/logs/figures.log",
    conda:
        "../environment.yml"
    threads: 2
    params:
        place=PLAN.place,
        code=PLAN.figures_code,
        env=PLAN.environment("figures"),
    shell:
        "python -m reproductions draw {wildcards.paper} {params.place} --workers {threads} --log {log}"


rule verdict:
    input:
        PLAN.tables,
        PLAN.points,
    output:
        f"{PLAN.folder}/{{paper}}/verdict.json",
    log:
        f"{PLAN.folder}/{{paper}}/logs/verdict.log",
    conda:
        "../environment.yml"
    params:
        place=PLAN.place,
        code=PLAN.verdict_code,
        env=PLAN.environment("verdict"),
    shell:
        "python -m reproductions judge {wildcards.paper} {params.place} --log {log}"


rule report:
    input:
        expand(f"{PLAN.folder}/{{paper}}/figures/index.json", paper=PLAN.rooms),
        expand(f"{PLAN.folder}/{{paper}}/verdict.json", paper=PLAN.rooms),
    output:
        page=report(f"{PLAN.folder}/report/index.html", category="Verdicts"),
        text=f"{PLAN.folder}/report/report.md",
        summary=f"{PLAN.folder}/report/summary.md",
    log:
        f"{PLAN.folder}/report/report.log",
    conda:
        "../environment.yml"
    params:
        place=PLAN.place,
        papers=PLAN.papers,
        code=PLAN.report_code,
        about=PLAN.about,
        env=PLAN.environment("report"),
    shell:
        "python -m reproductions report {params.papers} {params.place} --log {log}"


# no output: holding results against the record is cheap and must say so every time
rule check:
    input:
        expand(f"{PLAN.folder}/{{paper}}/verdict.json", paper=PLAN.rooms),
    log:
        f"{PLAN.folder}/report/check.log",
    conda:
        "../environment.yml"
    params:
        place=PLAN.place,
        papers=PLAN.papers,
        junit=f"{PLAN.folder}/report/check.xml",
        summary=f"{PLAN.folder}/report/check.md",
    shell:
        "python -m reproductions check {params.papers} {params.place} --log {log}"
        " --junit {params.junit} --summary {params.summary}"
