"""What ties the stages to Snakemake: their code's digests, the log of a run, its progress, failures and costs."""
