"""What the configuration says is text: no shell that a rule starts runs any of it."""

from pathlib import Path

# Ends every kind of quotes, and is the name of a file at that.
HOSTILE = "$(touch pwned) `touch pwned`; touch pwned; '; touch pwned; \"; touch pwned #"


def test_nothing_in_the_configuration_is_run(snakemake, workdir, pretending):
    def file(name):
        path = workdir / HOSTILE / f"{HOSTILE}{name}"
        path.parent.mkdir(exist_ok=True)
        path.touch()
        return str(path.relative_to(workdir))

    section = {
        "title": HOSTILE,
        "annotation_format": "charades_sta",
        "annotations": {"train": f"data/{HOSTILE}.txt", "test": file("test.txt")},
        "test_splits": {"test": "test"},
        "durations": [file("lengths.csv")],
        "published": file("published.csv"),
        "shards": 1,
        "overrides": {"queries": {"vectors": file("vectors")}, "training": {"methods": ["ci_mha"], "seeds": [0]}},
    }
    videos = {
        "videos": f"data/{HOSTILE}",
        "fetch": {f"data/{HOSTILE}.txt": "charades_sta_train"},
        "fetch_videos": "charades_videos",
        "extractors": ["i3d", "c3d"],
    }
    extractor = {"weights": file("weights"), "pca": file("pca"), "mean": file("mean")}
    held = {"features": {"import": {"source": file("held"), "layout": "hdf5"}}}
    overrides = {
        "datasets": {
            "mine": section | videos,
            "held": section | {"overrides": section["overrides"] | held},
        },
        "features": {"i3d": extractor, "c3d": extractor},
    }
    targets = [f"results/{name}_{what}" for name in ("mine", "held") for what in ("report.html", "costs.csv")]
    run = snakemake("--", *targets, overrides=overrides)
    assert all((workdir / target).exists() for target in targets)
    for rule in ("fetch_annotations", "fetch_videos_mine", "extract", "merge_features", "import_features"):
        assert f"rule {rule}:" in run.stderr + run.stdout
    assert not list(Path(workdir).rglob("pwned"))


def test_the_name_of_an_asset_is_not_run_either(snakemake, workdir, pretending):
    # Asked for by the target, since the configuration is checked.
    target = "data/assets/$(touch pwned).txt"
    snakemake("--", target)
    assert (workdir / target).exists() and not (workdir / "pwned").exists()
