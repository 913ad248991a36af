"""Sentences: tokens and word vectors."""


rule embed_queries:
    input:
        moments="work/{dataset}/annotations/moments.csv",
        vectors=plan.vectors,
    output:
        queries="work/{dataset}/queries/queries.h5",
        report="work/{dataset}/queries/report.json",
    log:
        "logs/{dataset}/embed_queries.log",
    benchmark:
        "work/{dataset}/benchmarks/embed_queries.tsv"
    conda:
        CONDA
    resources:
        mem_mb=growing(4000),
        runtime=lasting(60),
    params:
        max_words=lambda wildcards: plan.settings_of(wildcards).queries.max_words,
        code=STAGES["embed_queries"].digest(),
    shell:
        "python -m vmr embed-queries --moments {input.moments} --vectors {input.vectors:q}"
        " --max-words {params.max_words} --output {output.queries} --report {output.report} > {log} 2>&1"
