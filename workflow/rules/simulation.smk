"""Features simulated from the sentences of a real dataset: no video needed, and then imported like any other."""

for name, dataset in plan.simulated.items():

    rule:
        name:
            f"simulate_{name}"
        input:
            moments=f"work/{dataset.simulate.source}/annotations/moments.csv",
        output:
            features=plan.imports[name].source,
            annotations=plan.datasets[name].annotation_files,
            durations=dataset.durations[0],
        log:
            f"logs/{name}/simulate.log",
        benchmark:
            f"work/{name}/benchmarks/simulate.tsv"
        conda:
            CONDA
        resources:
            mem_mb=growing(2000),
            runtime=lasting(120),
        params:
            options=plan.simulate_options(name),
            code=STAGES["simulate"].digest(),
        shell:
            "python -m vmr simulate --moments {input.moments} {params.options} --durations {output.durations:q}"
            " --features {output.features:q} > {log} 2>&1"
