"""Features of the decoded frames, one HDF5 file a shard, merged by links."""


rule prepare_asset:
    output:
        f"{ASSETS_FOLDER}/{{asset}}",
    log:
        "logs/assets/{asset}.log",
    benchmark:
        "work/benchmarks/assets/{asset}.tsv"
    wildcard_constraints:
        asset=r"[^/]+\.(safetensors|txt)",
    conda:
        CONDA
    params:
        name=lambda wildcards: Path(wildcards.asset).stem,
        cache=f"{ASSETS_FOLDER}/downloads",
        code=STAGES["prepare_asset"].digest(),
    shell:
        "python -m vmr assets prepare {params.name:q} --output {output:q} --cache {params.cache} > {log:q} 2>&1"


rule extract:
    input:
        frames="work/{dataset}/frames/shard_{shard}.h5",
        manifest=DECODED,
        weights=plan.weights,
        mean=lambda wildcards: plan.extractor_of(wildcards).mean or [],
    output:
        features="work/{dataset}/features/{extractor}/shard_{shard}.h5",
        statuses="work/{dataset}/features/{extractor}/shard_{shard}.csv",
    log:
        "logs/{dataset}/extract/{extractor}_{shard}.log",
    benchmark:
        "work/{dataset}/benchmarks/extract/{extractor}_{shard}.tsv"
    wildcard_constraints:
        extractor=one_of(EXTRACTORS),
    conda:
        CONDA
    threads: plan.extract_threads
    resources:
        gpu=plan.extract_gpus,
        mem_mb=growing(6000),
        # Exact windows on two cores without a card take 70 minutes for an hour of video; a card, a fraction.
        runtime=lasting(60, per_video_hour=150),
    params:
        options=plan.extract_options,
        code=lambda wildcards: STAGES[f"extract_{wildcards.extractor}"].digest(),
    shell:
        "python -m vmr extract --frames {input.frames} --manifest {input.manifest} --weights {input.weights:q}"
        " --extractor {wildcards.extractor} {params.options} --output {output.features} --statuses {output.statuses}"
        " > {log} 2>&1"


rule merge_features:
    input:
        shards=plan.shards("h5"),
        statuses=plan.shards("csv"),
        moments="work/{dataset}/annotations/moments.csv",
        pca=lambda wildcards: plan.extractor_of(wildcards).pca or [],
    output:
        features="work/{dataset}/features/{extractor}.h5",
        coverage="work/{dataset}/features/{extractor}_coverage.csv",
    log:
        "logs/{dataset}/merge_features/{extractor}.log",
    benchmark:
        "work/{dataset}/benchmarks/merge_features/{extractor}.tsv"
    wildcard_constraints:
        dataset=one_of(set(plan.datasets) - set(plan.imports)),
    conda:
        CONDA
    resources:
        mem_mb=growing(8000),
        runtime=lasting(240),
    params:
        shards=lambda wildcards, input: of_all_shards("--shards", input.shards),
        statuses=lambda wildcards, input: of_all_shards("--statuses", input.statuses),
        options=plan.merge_options,
        code=STAGES["merge_features"].digest(),
    shell:
        "python -m vmr merge-features {params.shards} {params.statuses} --moments {input.moments} {params.options}"
        " --output {output.features} --coverage {output.coverage} > {log} 2>&1"


rule import_features:
    input:
        source=lambda wildcards: plan.imported(wildcards).source,
        joined=plan.joined_sources,
        moments="work/{dataset}/annotations/moments.csv",
        manifests=plan.manifests(PROBED),
    output:
        features="work/{dataset}/features/{extractor}.h5",
        coverage="work/{dataset}/features/{extractor}_coverage.csv",
    log:
        "logs/{dataset}/import_features/{extractor}.log",
    benchmark:
        "work/{dataset}/benchmarks/import_features/{extractor}.tsv"
    wildcard_constraints:
        dataset=one_of(plan.imports),
    conda:
        CONDA
    resources:
        mem_mb=growing(4000),
        runtime=lasting(240),
    params:
        manifests=lambda wildcards, input: of_all_shards("--manifests", input.manifests),
        options=lambda wildcards: options(plan.imported(wildcards), "source"),
        fingerprint=told(plan.import_fingerprint),
        code=STAGES["import_features"].digest(),
    shell:
        "python -m vmr features import {input.source:q} {params.options} --moments {input.moments} {params.manifests}"
        " --output {output.features} --coverage {output.coverage} > {log} 2>&1"
