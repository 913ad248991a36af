"""The table, and the page that shows what the table only counts."""


rule make_table:
    input:
        metrics=table.of_runs("metrics_{split}.json"),
        zero_shot_metrics=table.zero_shot("metrics_{split}.json"),
        baselines=table.of_datasets("work/{dataset}/baselines/{split}.json"),
        # Read beside the scores that name them.
        video_scores=table.of_runs("video_scores_{split}.csv"),
        zero_shot_video_scores=table.zero_shot("video_scores_{split}.csv"),
        baselines_video_scores=table.of_datasets("work/{dataset}/baselines/{split}.csv"),
        published=told(table.published_of_whole),
        # Not read: there is no table of a dataset with which something is wrong.
        checks=table.of_datasets("work/{dataset}/annotations/checks.txt"),
        feature_checks=table.of_datasets(
            "work/{dataset}/features/{extractor}_checks.txt"
        ),
    output:
        csv=report(
            "results/{dataset}_table.csv",
            caption="../report/table.rst",
            category="{dataset}",
            labels={"file": "table"},
        ),
        md="results/{dataset}_table.md",
        tex="results/{dataset}_table.tex",
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
        title=lambda wildcards: plan.dataset_of(wildcards).title,
        metrics=lambda wildcards, input: repeated(
            "--metrics", [*input.metrics, *input.zero_shot_metrics]
        ),
        baselines=lambda wildcards, input: repeated("--baselines", input.baselines),
        published=lambda wildcards, input: repeated("--published", input.published),
        further=lambda wildcards: repeated("--further", table.datasets(wildcards)[1:]),
        code=STAGES["make_table"].digest(),
    shell:
        "python -m vmr make-table {params.metrics} {params.baselines} {params.published} --dataset {wildcards.dataset}"
        " {params.further} --title {params.title:q} --output-csv {output.csv} --output-md {output.md}"
        " --output-tex {output.tex} > {log} 2>&1"


rule study_cases:
    input:
        run=table.case_runs("checkpoint.safetensors"),
        metrics=table.case_runs("metrics_{split}.json"),
        predictions=table.case_runs("predictions_{split}.jsonl"),
        moments="work/{dataset}/annotations/moments.csv",
        features=plan.features,
        queries="work/{dataset}/queries/queries.h5",
        manifests=plan.manifests(DECODED),
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
        frames=table.frames_option,
        splits=plan.splits_option,
        options=lambda wildcards: options(plan.settings_of(wildcards).report),
        device=lambda wildcards: plan.settings_of(wildcards).training.device,
        code=case_code,
    shell:
        "python -m vmr report cases {params.runs} --split-name {wildcards.split} {params.splits}"
        " --moments {input.moments} --features {input.features} --queries {input.queries} {params.manifests}"
        " {params.frames} --dataset {wildcards.dataset} --features-label {wildcards.extractor} {params.options}"
        " --device {params.device} --output {output} > {log} 2>&1"


rule make_report:
    input:
        metrics=table.of_runs("metrics_{split}.json"),
        zero_shot_metrics=table.zero_shot("metrics_{split}.json"),
        baselines=table.of_datasets("work/{dataset}/baselines/{split}.json"),
        table="results/{dataset}_table.md",
        published=table.published,
        # Read beside the scores that name them.
        predictions=table.of_runs("predictions_{split}.jsonl"),
        zero_shot_predictions=table.zero_shot("predictions_{split}.jsonl"),
        video_scores=table.of_runs("video_scores_{split}.csv"),
        zero_shot_video_scores=table.zero_shot("video_scores_{split}.csv"),
        baselines_video_scores=table.of_datasets("work/{dataset}/baselines/{split}.csv"),
        runs=table.of_runs("run.json"),
        histories=table.of_runs("history.csv"),
        moments=table.of_datasets("work/{dataset}/annotations/moments.csv"),
        manifests=table.manifests,
        coverage=table.coverage,
        cases=table.of_datasets("work/{dataset}/report/{extractor}/cases_{split}.json"),
    output:
        page=report(
            "results/{dataset}_report.html",
            caption="../report/report.rst",
            category="{dataset}",
            labels={"file": "report"},
        ),
        answers="results/{dataset}_answers.csv",
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
        title=lambda wildcards: plan.dataset_of(wildcards).title,
        metrics=lambda wildcards, input: repeated(
            "--metrics", [*input.metrics, *input.zero_shot_metrics]
        ),
        baselines=lambda wildcards, input: repeated("--baselines", input.baselines),
        published=lambda wildcards, input: repeated("--published", input.published),
        moments=lambda wildcards, input: repeated(
            "--moments", map("=".join, zip(table.datasets(wildcards), input.moments))
        ),
        manifests=lambda wildcards, input: of_all_shards("--manifests", input.manifests),
        coverage=lambda wildcards, input: repeated(
            "--coverage",
            map("=".join, zip(table.coverage_names(wildcards), input.coverage)),
        ),
        cases=lambda wildcards, input: repeated("--cases", input.cases),
        benchmarks=lambda wildcards: repeated(
            "--benchmarks", table.benchmarks(wildcards)
        ),
        code=STAGES["make_report"].digest(),
    shell:
        "python -m vmr report page {params.metrics} {params.baselines} {params.published} --table {input.table}"
        " {params.moments} {params.manifests} {params.coverage} {params.cases} {params.benchmarks}"
        " --dataset {wildcards.dataset} --title {params.title:q} --output {output.page} --answers {output.answers} > {log} 2>&1"


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
            "--benchmarks", table.benchmarks(wildcards)
        ),
        code=STAGES["gather_costs"].digest(),
    shell:
        "python -m vmr report costs {params.benchmarks} --output {output} > {log} 2>&1"
