"""The table, and the page that shows what the table only counts."""


rule make_table:
    input:
        metrics=table_metrics("metrics_{split}.json"),
        baselines=table_baselines("json"),
        # Read beside the scores that name them.
        video_scores=table_metrics("video_scores_{split}.csv"),
        baselines_video_scores=table_baselines("csv"),
        published=lambda wildcards: (
            [shipped(path)] if (path := dataset_of(wildcards).published) else []
        ),
    output:
        csv=report(
            "results/{dataset}_table.csv",
            caption="../report/table.rst",
            category="{dataset}",
            labels={"file": "table"},
        ),
        md="results/{dataset}_table.md",
    log:
        "logs/{dataset}/make_table.log",
    benchmark:
        "work/{dataset}/benchmarks/make_table.tsv"
    conda:
        CONDA
    resources:
        mem_mb=growing(2000),
        runtime=lasting(60),
    params:
        title=lambda wildcards: dataset_of(wildcards).title,
        metrics=lambda wildcards, input: repeated("--metrics", input.metrics),
        baselines=lambda wildcards, input: repeated("--baselines", input.baselines),
        published=lambda wildcards, input: repeated("--published", input.published),
        further=lambda wildcards: repeated("--further", tabled(wildcards)[1:]),
        code=STAGES["make_table"].digest(),
    shell:
        "python -m vmr make-table {params.metrics} {params.baselines} {params.published} --dataset {wildcards.dataset}"
        " {params.further} --title {params.title:q} --output-csv {output.csv} --output-md {output.md} > {log} 2>&1"


rule study_cases:
    input:
        run=case_runs("checkpoint.safetensors"),
        metrics=case_runs("metrics_{split}.json"),
        predictions=case_runs("predictions_{split}.jsonl"),
        moments="work/{dataset}/annotations/moments.csv",
        features=features_file,
        queries="work/{dataset}/queries/queries.h5",
        manifests=manifests("work/{dataset}/frames/shard_{shard}.csv"),
    output:
        "work/{dataset}/report/{extractor}/cases_{split}.json",
    log:
        "logs/{dataset}/study_cases/{extractor}_{split}.log",
    benchmark:
        "work/{dataset}/benchmarks/study_cases/{extractor}_{split}.tsv"
    conda:
        CONDA
    resources:
        mem_mb=growing(6000),
        runtime=lasting(120),
    params:
        runs=lambda wildcards, input: repeated(
            "--runs", [Path(file).parent for file in input.run]
        ),
        manifests=lambda wildcards, input: of_all_shards("--manifests", input.manifests),
        frames=frames_option,
        splits=splits_option,
        options=lambda wildcards: options(settings_of(wildcards).report),
        device=lambda wildcards: settings_of(wildcards).training.device,
        code=case_code,
    shell:
        "python -m vmr report cases {params.runs} --split-name {wildcards.split} {params.splits}"
        " --moments {input.moments} --features {input.features} --queries {input.queries} {params.manifests}"
        " {params.frames} --dataset {wildcards.dataset} --features-label {wildcards.extractor} {params.options}"
        " --device {params.device} --output {output} > {log} 2>&1"


rule make_report:
    input:
        metrics=table_metrics("metrics_{split}.json"),
        baselines=table_baselines("json"),
        table="results/{dataset}_table.md",
        published=lambda wildcards: (
            [shipped(path)] if (path := dataset_of(wildcards).published) else []
        ),
        # Read beside the scores that name them.
        predictions=table_metrics("predictions_{split}.jsonl"),
        video_scores=table_metrics("video_scores_{split}.csv"),
        baselines_video_scores=table_baselines("csv"),
        runs=table_metrics("run.json"),
        histories=table_metrics("history.csv"),
        moments=lambda wildcards: [
            f"work/{name}/annotations/moments.csv" for name in tabled(wildcards)
        ],
        manifests=table_manifests,
        coverage=table_coverage,
        cases=table_cases,
    output:
        report(
            "results/{dataset}_report.html",
            caption="../report/report.rst",
            category="{dataset}",
            labels={"file": "report"},
        ),
    log:
        "logs/{dataset}/make_report.log",
    benchmark:
        "work/{dataset}/benchmarks/make_report.tsv"
    conda:
        CONDA
    resources:
        mem_mb=growing(4000),
        runtime=lasting(60),
    params:
        title=lambda wildcards: dataset_of(wildcards).title,
        metrics=lambda wildcards, input: repeated("--metrics", input.metrics),
        baselines=lambda wildcards, input: repeated("--baselines", input.baselines),
        published=lambda wildcards, input: repeated("--published", input.published),
        moments=lambda wildcards, input: repeated(
            "--moments", map("=".join, zip(tabled(wildcards), input.moments))
        ),
        manifests=lambda wildcards, input: of_all_shards("--manifests", input.manifests),
        coverage=lambda wildcards, input: repeated(
            "--coverage", map("=".join, zip(coverage_names(wildcards), input.coverage))
        ),
        cases=lambda wildcards, input: repeated("--cases", input.cases),
        benchmarks=lambda wildcards: repeated(
            "--benchmarks", table_benchmarks(wildcards)
        ),
        code=STAGES["make_report"].digest(),
    shell:
        "python -m vmr report page {params.metrics} {params.baselines} {params.published} --table {input.table}"
        " {params.moments} {params.manifests} {params.coverage} {params.cases} {params.benchmarks}"
        " --dataset {wildcards.dataset} --title {params.title:q} --output {output} > {log} 2>&1"


rule gather_costs:
    input:
        # Once it is there, so are the benchmark files of all that it took.
        "results/{dataset}_table.csv",
        # What the report took is told as well, where there is one.
        lambda wildcards: [
            file
            for file in [f"results/{wildcards.dataset}_report.html"]
            if Path(file).exists()
        ],
    output:
        "results/{dataset}_costs.csv",
    log:
        "logs/{dataset}/gather_costs.log",
    conda:
        CONDA
    resources:
        mem_mb=growing(2000),
        runtime=lasting(60),
    params:
        benchmarks=lambda wildcards: repeated(
            "--benchmarks", table_benchmarks(wildcards)
        ),
        logs=lambda wildcards: repeated("--logs", log_folders(wildcards)),
        code=STAGES["gather_costs"].digest(),
    shell:
        "python -m vmr report costs {params.benchmarks} {params.logs} --output {output} > {log} 2>&1"
