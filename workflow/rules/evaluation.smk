"""Scores of every run on every test split, and of baselines that see nothing."""

ZERO_SHOT_RUN = RUN.format(
    dataset="{dataset}", extractor="{extractor}", method=ZERO_SHOT.name, seed=0
)


rule evaluate:
    input:
        run=rules.train.output,
        moments="work/{dataset}/annotations/moments.csv",
        features=plan.features,
        queries="work/{dataset}/queries/queries.h5",
        manifests=plan.manifests(DECODED),
    output:
        predictions=f"{RUN}/predictions_{{split}}.jsonl",
        metrics=f"{RUN}/metrics_{{split}}.json",
        video_scores=f"{RUN}/video_scores_{{split}}.csv",
    log:
        "logs/{dataset}/evaluate/{extractor}_{method}_{seed}_{split}.log",
    benchmark:
        "work/{dataset}/benchmarks/evaluate/{extractor}_{method}_{seed}_{split}.tsv"
    conda:
        CONDA
    resources:
        mem_mb=growing(4000, held_mb=plan.features_mb),
        runtime=lasting(120),
    params:
        folder=lambda wildcards, input: Path(input.run[0]).parent,
        manifests=lambda wildcards, input: of_all_shards("--manifests", input.manifests),
        splits=plan.splits_option,
        options=lambda wildcards: options(plan.settings_of(wildcards).evaluation),
        device=lambda wildcards: plan.settings_of(wildcards).training.device,
        code=run_code("evaluate"),
    shell:
        "python -m vmr evaluate-run --run {params.folder} --moments {input.moments} --features {input.features}"
        " --queries {input.queries} {params.manifests} {params.splits} --split-name {wildcards.split} {params.options}"
        " --device {params.device} --dataset {wildcards.dataset} --features-label {wildcards.extractor}"
        " --predictions {output.predictions} --video-scores {output.video_scores} --output {output.metrics} > {log} 2>&1"


rule zero_shot:
    input:
        moments="work/{dataset}/annotations/moments.csv",
        features=plan.features,
        weights=plan.weights,
        encoder=asset_or_path("minilm_l6_v2"),
        manifests=plan.manifests(DECODED),
    output:
        predictions=f"{ZERO_SHOT_RUN}/predictions_{{split}}.jsonl",
        metrics=f"{ZERO_SHOT_RUN}/metrics_{{split}}.json",
        video_scores=f"{ZERO_SHOT_RUN}/video_scores_{{split}}.csv",
    log:
        "logs/{dataset}/zero_shot/{extractor}_{split}.log",
    benchmark:
        "work/{dataset}/benchmarks/zero_shot/{extractor}_{split}.tsv"
    conda:
        CONDA
    resources:
        mem_mb=growing(4000),
        runtime=lasting(120),
    params:
        manifests=lambda wildcards, input: of_all_shards("--manifests", input.manifests),
        splits=plan.splits_option,
        top=lambda wildcards: plan.settings_of(wildcards).evaluation.top,
        code=STAGES["zero_shot"].digest(),
    shell:
        "python -m vmr zero-shot --moments {input.moments} --features {input.features} --weights {input.weights:q}"
        " --encoder {input.encoder} {params.manifests} {params.splits} --split-name {wildcards.split}"
        " --top {params.top} --dataset {wildcards.dataset} --features-label {wildcards.extractor}"
        " --predictions {output.predictions} --video-scores {output.video_scores} --output {output.metrics} > {log} 2>&1"


rule compute_baselines:
    input:
        moments="work/{dataset}/annotations/moments.csv",
        manifests=plan.manifests(PROBED),
    output:
        scores="work/{dataset}/baselines/{split}.json",
        video_scores="work/{dataset}/baselines/{split}.csv",
    log:
        "logs/{dataset}/compute_baselines/{split}.log",
    benchmark:
        "work/{dataset}/benchmarks/compute_baselines/{split}.tsv"
    conda:
        CONDA
    resources:
        mem_mb=growing(2000),
        runtime=lasting(60),
    params:
        manifests=lambda wildcards, input: of_all_shards("--manifests", input.manifests),
        train_split=lambda wildcards: plan.dataset_of(wildcards).train_split,
        splits=plan.splits_option,
        code=STAGES["compute_baselines"].digest(),
    shell:
        "python -m vmr baselines --moments {input.moments} {params.manifests} --train-split {params.train_split}"
        " {params.splits} --split-name {wildcards.split} --video-scores {output.video_scores} --output {output.scores}"
        " > {log} 2>&1"
