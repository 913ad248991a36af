"""Features of the decoded frames, one HDF5 file a shard, merged by links."""


rule prepare_asset:
    output:
        f"{ASSETS}/{{asset}}",
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
        cache=f"{ASSETS}/downloads",
        code=STAGES["prepare_asset"].digest(),
    shell:
        "python -m vmr assets prepare {params.name:q} --output {output:q} --cache {params.cache} > {log:q} 2>&1"


EXTRACT = (
    "python -m vmr extract --frames {input.frames} --manifest {input.manifest} --weights {input.weights:q}"
    " {params.options} --output {output.features} --statuses {output.statuses} > {log} 2>&1"
)


# Exact windows on two cores without a card take 70 minutes for an hour of video; a card, a fraction.
EXTRACT_MINUTES = lasting(60, per_video_hour=150)


rule extract_i3d:
    input:
        frames="work/{dataset}/frames/shard_{shard}.h5",
        manifest="work/{dataset}/frames/shard_{shard}.csv",
        weights=weights_of("i3d"),
        mean=named_file("i3d", "mean"),
    output:
        features="work/{dataset}/features/i3d/shard_{shard}.h5",
        statuses="work/{dataset}/features/i3d/shard_{shard}.csv",
    log:
        "logs/{dataset}/extract_i3d/{shard}.log",
    benchmark:
        "work/{dataset}/benchmarks/extract_i3d/{shard}.tsv"
    conda:
        CONDA
    threads: extract_threads("i3d")
    resources:
        gpu=extract_gpus("i3d"),
        mem_mb=growing(6000),
        runtime=EXTRACT_MINUTES,
    params:
        options=extract_options("i3d"),
        code=STAGES["extract_i3d"].digest(),
    shell:
        EXTRACT


use rule extract_i3d as extract_c3d with:
    input:
        frames="work/{dataset}/frames/shard_{shard}.h5",
        manifest="work/{dataset}/frames/shard_{shard}.csv",
        weights=weights_of("c3d"),
        mean=named_file("c3d", "mean"),
    output:
        features="work/{dataset}/features/c3d/shard_{shard}.h5",
        statuses="work/{dataset}/features/c3d/shard_{shard}.csv",
    log:
        "logs/{dataset}/extract_c3d/{shard}.log",
    benchmark:
        "work/{dataset}/benchmarks/extract_c3d/{shard}.tsv"
    threads: extract_threads("c3d")
    resources:
        gpu=extract_gpus("c3d"),
        mem_mb=growing(6000),
        runtime=EXTRACT_MINUTES,
    params:
        options=extract_options("c3d"),
        code=STAGES["extract_c3d"].digest(),


use rule extract_i3d as extract_backbone with:
    input:
        frames="work/{dataset}/frames/shard_{shard}.h5",
        manifest="work/{dataset}/frames/shard_{shard}.csv",
        weights=weights_of(None),
        mean=named_file(None, "mean"),
    output:
        features="work/{dataset}/features/{extractor}/shard_{shard}.h5",
        statuses="work/{dataset}/features/{extractor}/shard_{shard}.csv",
    log:
        "logs/{dataset}/extract_{extractor}/{shard}.log",
    benchmark:
        "work/{dataset}/benchmarks/extract_{extractor}/{shard}.tsv"
    wildcard_constraints:
        extractor="i3d_r50|slow_r50",
    threads: extract_threads(None)
    resources:
        gpu=extract_gpus(None),
        mem_mb=growing(6000),
        runtime=EXTRACT_MINUTES,
    params:
        options=extract_options(None),
        code=STAGES["extract_backbone"].digest(),


rule merge_features:
    input:
        shards=per_shard("work/{dataset}/features/{extractor}/shard_{shard}.h5"),
        statuses=per_shard("work/{dataset}/features/{extractor}/shard_{shard}.csv"),
        moments="work/{dataset}/annotations/moments.csv",
        pca=named_file(None, "pca"),
    output:
        features="work/{dataset}/features/{extractor}.h5",
        coverage="work/{dataset}/features/{extractor}_coverage.csv",
    log:
        "logs/{dataset}/merge_features/{extractor}.log",
    benchmark:
        "work/{dataset}/benchmarks/merge_features/{extractor}.tsv"
    wildcard_constraints:
        dataset=one_of(set(DATASETS) - set(IMPORTS)),
    conda:
        CONDA
    resources:
        mem_mb=growing(8000),
        runtime=lasting(240),
    params:
        shards=lambda wildcards, input: of_all_shards("--shards", input.shards),
        statuses=lambda wildcards, input: of_all_shards("--statuses", input.statuses),
        options=merge_options,
        code=STAGES["merge_features"].digest(),
    shell:
        "python -m vmr merge-features {params.shards} {params.statuses} --moments {input.moments} {params.options}"
        " --output {output.features} --coverage {output.coverage} > {log} 2>&1"


rule import_features:
    input:
        source=lambda wildcards: imported(wildcards).source,
        joined=lambda wildcards: joined_sources(imported(wildcards)),
        moments="work/{dataset}/annotations/moments.csv",
        manifests=manifests("work/{dataset}/videos/shard_{shard}.csv"),
    output:
        features="work/{dataset}/features/{extractor}.h5",
        coverage="work/{dataset}/features/{extractor}_coverage.csv",
    log:
        "logs/{dataset}/import_features/{extractor}.log",
    benchmark:
        "work/{dataset}/benchmarks/import_features/{extractor}.tsv"
    wildcard_constraints:
        dataset=one_of(IMPORTS),
    conda:
        CONDA
    resources:
        mem_mb=growing(4000),
        runtime=lasting(240),
    params:
        manifests=lambda wildcards, input: of_all_shards("--manifests", input.manifests),
        options=lambda wildcards: options(imported(wildcards), "source"),
        fingerprint=import_fingerprint,
        code=STAGES["import_features"].digest(),
    shell:
        "python -m vmr features import {input.source:q} {params.options} --moments {input.moments} {params.manifests}"
        " --output {output.features} --coverage {output.coverage} > {log} 2>&1"
