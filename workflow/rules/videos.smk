"""Raw videos: what ffprobe says of them, and their frames at 24 a second."""

# As with annotations, a folder that is there is never fetched again, whatever else changes.
# Of datasets with one folder the first fetches it.
for name, dataset in {
    listing_of(dataset): (name, dataset)
    for name, dataset in reversed(plan.fetched_videos.items())
}.values():
    if Path(dataset.videos).exists():
        continue

    rule:
        name:
            f"fetch_videos_{name}"
        output:
            listing=listing_of(dataset),
        log:
            f"logs/{name}/fetch_videos.log",
        benchmark:
            f"work/{name}/benchmarks/fetch_videos.tsv"
        # As the other downloads: compute nodes often have no way out.
        localrule: True
        conda:
            CONDA
        resources:
            runtime=1440,
        params:
            asset=dataset.fetch_videos,
            folder=lambda wildcards, output: Path(output.listing).with_suffix(""),
            cache=f"{ASSETS_FOLDER}/downloads",
        shell:
            "python -m vmr assets videos {params.asset:q} --folder {params.folder:q} --cache {params.cache}"
            " --listing {output.listing:q} > {log} 2>&1"


rule probe_videos:
    input:
        moments="work/{dataset}/annotations/moments.csv",
        listing=plan.video_listing,
    output:
        "work/{dataset}/videos/shard_{shard}.csv",
    log:
        "logs/{dataset}/probe_videos/{shard}.log",
    benchmark:
        "work/{dataset}/benchmarks/probe_videos/{shard}.tsv"
    conda:
        CONDA
    resources:
        mem_mb=growing(2000),
        runtime=lasting(60),
    params:
        videos=lambda wildcards: plan.dataset_of(wildcards).videos,
        shards=lambda wildcards: plan.dataset_of(wildcards).shards,
        timeout=lambda wildcards: plan.settings_of(wildcards).video.probe_timeout_sec,
        accepting=plan.accept_option,
        fingerprint=told(plan.shard_fingerprint),
        code=STAGES["probe_videos"].digest(),
    shell:
        "python -m vmr probe-videos --moments {input.moments} --videos {params.videos:q} --shard {wildcards.shard}"
        " --shards {params.shards} --probe-timeout-sec {params.timeout} {params.accepting} --output {output}"
        " > {log} 2>&1"


rule decode_frames:
    input:
        manifest="work/{dataset}/videos/shard_{shard}.csv",
    output:
        frames="work/{dataset}/frames/shard_{shard}.h5",
        manifest="work/{dataset}/frames/shard_{shard}.csv",
    log:
        "logs/{dataset}/decode_frames/{shard}.log",
    benchmark:
        "work/{dataset}/benchmarks/decode_frames/{shard}.tsv"
    conda:
        CONDA
    threads: lambda wildcards: plan.shard_threads(4, wildcards=wildcards)
    resources:
        mem_mb=growing(4000),
        # On two cores an hour of small video takes three minutes; large ones, and slow disks, ten times as long.
        runtime=lasting(30, per_video_hour=30),
    params:
        options=lambda wildcards: options(
            plan.settings_of(wildcards).video, "probe_timeout_sec"
        ),
        code=STAGES["decode_frames"].digest(),
    shell:
        "python -m vmr decode-frames --manifest {input.manifest} {params.options} --workers {threads}"
        " --output {output.frames} --decoded-manifest {output.manifest} > {log} 2>&1"
