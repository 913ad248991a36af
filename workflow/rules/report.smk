"""The table: published rows first, then blind baselines, then what was computed here."""


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
        csv="results/{dataset}_table.csv",
        md="results/{dataset}_table.md",
    log:
        "logs/{dataset}/make_table.log",
    benchmark:
        "work/{dataset}/benchmarks/make_table.tsv"
    conda:
        CONDA
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
