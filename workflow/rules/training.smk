"""Training: one job for each kind of features, method and seed."""


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
