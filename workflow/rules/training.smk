"""Training: one job for each kind of features, method and seed."""


rule train:
    input:
        moments="work/{dataset}/annotations/moments.csv",
        features=features_file,
        queries="work/{dataset}/queries/queries.h5",
        manifests=manifests("work/{dataset}/frames/shard_{shard}.csv"),
    output:
        checkpoint="work/{dataset}/runs/{extractor}/{method}/seed_{seed}/checkpoint.safetensors",
        history="work/{dataset}/runs/{extractor}/{method}/seed_{seed}/history.csv",
        run="work/{dataset}/runs/{extractor}/{method}/seed_{seed}/run.json",
    log:
        "logs/{dataset}/train/{extractor}_{method}_{seed}.log",
    benchmark:
        "work/{dataset}/benchmarks/train/{extractor}_{method}_{seed}.tsv"
    conda:
        CONDA
    threads: lambda wildcards: settings_of(wildcards).training.threads
    resources:
        gpu=lambda wildcards: gpus(settings_of(wildcards).training.device),
        mem_mb=growing(4000, holds_features=True),
        runtime=lasting(1440),
    params:
        folder=lambda wildcards, output: Path(output.checkpoint).parent,
        manifests=lambda wildcards, input: of_all_shards("--manifests", input.manifests),
        options=train_options,
        code=run_code("train"),
    shell:
        "python -m vmr train --moments {input.moments} --features {input.features} --queries {input.queries}"
        " {params.manifests} --method {wildcards.method} --seed {wildcards.seed} {params.options} --threads {threads}"
        " --output-dir {params.folder} > {log} 2>&1"
