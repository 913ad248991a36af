"""Annotation files: rendered, fetched when missing, and parsed into one table of moments."""


rule fetch_annotations:
    output:
        "data/{file}",
    log:
        "logs/fetch/{file}.log",
    benchmark:
        "work/benchmarks/fetch/{file}.tsv"
    wildcard_constraints:
        file="|".join(
            re.escape(Path(file).relative_to("data").as_posix())
            for file in plan.fetched
        )
        or "(?!)",
    conda:
        CONDA
    params:
        asset=lambda wildcards: plan.fetched[f"data/{wildcards.file}"],
        cache=f"{ASSETS_FOLDER}/downloads",
    shell:
        "python -m vmr assets prepare {params.asset:q} --output {output:q} --cache {params.cache} > {log:q} 2>&1"


for name, dataset in plan.rendered.items():

    rule:
        name:
            f"render_{name}"
        output:
            annotations=plan.datasets[name].annotation_files + dataset.durations,
            listing=listing_of(dataset),
        log:
            f"logs/{name}/render.log",
        benchmark:
            f"work/{name}/benchmarks/render.tsv"
        conda:
            CONDA
        threads: 8
        resources:
            mem_mb=growing(2000),
            runtime=lasting(60),
        params:
            folder=lambda wildcards, output: Path(output.listing).parent,
            options=options(dataset.render),
            code=STAGES["render_demo"].digest(),
        shell:
            "python -m vmr render-demo --output {params.folder:q} {params.options} --workers {threads} > {log} 2>&1"


rule parse_annotations:
    input:
        annotations=lambda wildcards: plan.datasets[wildcards.dataset].annotation_files,
        durations=lambda wildcards: plan.dataset_of(wildcards).durations,
    output:
        moments="work/{dataset}/annotations/moments.csv",
        report="work/{dataset}/annotations/report.json",
    log:
        "logs/{dataset}/parse_annotations.log",
    benchmark:
        "work/{dataset}/benchmarks/parse_annotations.tsv"
    conda:
        CONDA
    resources:
        mem_mb=growing(2000),
        runtime=lasting(60),
    params:
        options=plan.annotation_options,
        code=STAGES["parse_annotations"].digest(),
    shell:
        "python -m vmr parse-annotations {params.options} --output {output.moments} --report {output.report}"
        " > {log} 2>&1"
