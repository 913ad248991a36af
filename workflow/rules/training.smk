"""Checks of a dataset, and training: one job for each kind of features, method and seed."""


# No training waits for the checks, since one that is made anew would train anew. They come before other jobs, and the
# first failure ends a run; those that need no video, before hours of extraction.
rule check_annotations:
    input:
        moments="work/{dataset}/annotations/moments.csv",
        report="work/{dataset}/annotations/report.json",
        vectors=plan.vectors,
    output:
        "work/{dataset}/annotations/checks.txt",
    log:
        "logs/{dataset}/check_annotations.log",
    benchmark:
        "work/{dataset}/benchmarks/check_annotations.tsv"
    priority: 1
    conda:
        CONDA
    resources:
        mem_mb=growing(4000),
        runtime=lasting(60),
    params:
        options=plan.check_options,
        max_words=lambda wildcards: plan.settings_of(wildcards).queries.max_words,
        code=STAGES["check_dataset"].digest(),
    shell:
        "python -m vmr check-dataset --moments {input.moments} --report {input.report} --vectors {input.vectors:q}"
        " --max-words {params.max_words} {params.options} --output {output} > {log} 2>&1"


rule check_features:
    input:
        moments="work/{dataset}/annotations/moments.csv",
        report="work/{dataset}/annotations/report.json",
        features=plan.features,
        manifests=plan.manifests(DECODED),
    output:
        "work/{dataset}/features/{extractor}_checks.txt",
    log:
        "logs/{dataset}/check_features/{extractor}.log",
    benchmark:
        "work/{dataset}/benchmarks/check_features/{extractor}.tsv"
    priority: 1
    conda:
        CONDA
    resources:
        mem_mb=growing(4000),
        runtime=lasting(240),
    params:
        manifests=lambda wildcards, input: of_all_shards("--manifests", input.manifests),
        options=plan.check_options,
        fps=lambda wildcards: plan.settings_of(wildcards).video.fps,
        code=STAGES["check_dataset"].digest(),
    shell:
        "python -m vmr check-dataset --moments {input.moments} --report {input.report} --features {input.features}"
        " {params.manifests} --fps {params.fps} {params.options} --output {output} > {log} 2>&1"


rule train:
    input:
        moments="work/{dataset}/annotations/moments.csv",
        features=plan.features,
        queries="work/{dataset}/queries/queries.h5",
        manifests=plan.manifests(DECODED),
    output:
        checkpoint=f"{RUN}/checkpoint.safetensors",
        history=f"{RUN}/history.csv",
        run=f"{RUN}/run.json",
    log:
        "logs/{dataset}/train/{extractor}_{method}_{seed}.log",
    benchmark:
        "work/{dataset}/benchmarks/train/{extractor}_{method}_{seed}.tsv"
    conda:
        CONDA
    threads: lambda wildcards: plan.settings_of(wildcards).training.threads
    resources:
        gpu=lambda wildcards: gpus(plan.settings_of(wildcards).training.device),
        mem_mb=growing(4000, held_mb=plan.features_mb),
        runtime=lasting(1440),
    params:
        folder=lambda wildcards, output: Path(output.checkpoint).parent,
        manifests=lambda wildcards, input: of_all_shards("--manifests", input.manifests),
        options=plan.train_options,
        code=run_code("train"),
    shell:
        "python -m vmr train --moments {input.moments} --features {input.features} --queries {input.queries}"
        " {params.manifests} --method {wildcards.method} --seed {wildcards.seed} {params.options} --threads {threads}"
        " --output-dir {params.folder} > {log} 2>&1"
