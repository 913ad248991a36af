"""Functions of the rules: what a job reads, and the options of its command, from the configuration."""

FETCHED = {
    file: asset
    for dataset in DATASETS.values()
    for file, asset in dataset.fetch.items()
    # What a user put there is never an output: Snakemake would delete it before running the rule.
    if not Path(file).exists()
}
RENDERED = {name: dataset for name, dataset in DATASETS.items() if dataset.render}
SIMULATED = {name: dataset for name, dataset in DATASETS.items() if dataset.simulate}


def fetched_file(wildcards):
    """The asset that a missing file is fetched from."""
    return FETCHED[f"data/{wildcards.file}"]


def annotation_options(wildcards):
    """Files, durations and known counts of a dataset's annotations."""
    dataset = dataset_of(wildcards)
    files = [
        f"{split}={file}"
        for split, names in dataset.annotations.items()
        for file in names
    ]
    counts = [
        f"{split}:{count}={number}"
        for split, expected in dataset.expected_counts.items()
        for count, number in expected.items()
    ]
    return " ".join(
        [
            f"--annotation-format {dataset.annotation_format}",
            repeated("--annotations", files),
            repeated("--durations", dataset.durations),
            repeated("--expected", counts),
            # Only a CSV is divided; another split to train on is no other table of moments.
            (
                f"--train-split {dataset.train_split}"
                if dataset.annotation_format == "csv"
                else ""
            ),
        ]
    )


def listing_of(dataset):
    """Where it is noted what a folder of videos held after the workflow made it."""
    folder = Path(dataset.videos)
    listed = folder.with_name(f"{folder.name}.listed")
    return str(folder.with_name("videos.sha256") if dataset.render else listed)


# Datasets whose videos the workflow fetches; a folder that a user brought has no listing, and is left alone.
FETCHED_VIDEOS = {
    name: dataset
    for name, dataset in DATASETS.items()
    if dataset.fetch_videos
    and (Path(listing_of(dataset)).exists() or not Path(dataset.videos).exists())
}


@cache
def video_fingerprints(name):
    """Digests of the video files of a dataset's shards, looked at when the first probing is planned.

    A cluster's jobs read the rules anew, each on its node: most of them must not list a million files for it.
    """
    dataset = DATASETS[name]
    try:
        if name in FETCHED_VIDEOS:
            return changed_shards(
                dataset.videos, listing_of(dataset), shards=dataset.shards
            )
        return folder_fingerprints(dataset.videos, shards=dataset.shards)
    except VmrError as error:
        raise WorkflowError(str(error)) from None


def imported(wildcards):
    """The section of the features that the job's dataset imports."""
    return IMPORTS[wildcards.dataset]


def import_fingerprint(wildcards):
    """Digest of what folders of features hold: their own time does not change with their files."""
    settings = imported(wildcards)
    head = (settings.pattern or "{id}").partition("{id}")[0]
    folders = [
        Path(settings.source, head.rpartition("/")[0]),
        *joined_sources(settings),
    ]
    prints = [
        (
            folder_fingerprints(folder, shards=1, extensions=("",))[0]
            if folder.is_dir()
            else "file"
        )
        for folder in folders
    ]
    return " ".join(prints)


def joined_sources(settings):
    """Files and folders whose features are joined to those of the source."""
    return [joined_source(entry)[0] for entry in settings.join]


def video_listing(wildcards):
    """The listing of videos that the workflow makes: an input, since the folder is empty when jobs are planned."""
    made = wildcards.dataset in FETCHED_VIDEOS or wildcards.dataset in RENDERED
    return [listing_of(dataset_of(wildcards))] if made else []


def shard_fingerprint(wildcards):
    """Digest of the shard's video files; a rendered dataset has its listing as an input instead."""
    return (
        "rendered"
        if wildcards.dataset in RENDERED
        else video_fingerprints(wildcards.dataset)[int(wildcards.shard)]
    )


def simulate_options(name):
    """Files to write and the recipe of a simulated dataset; steps are as long as the import takes them for."""
    dataset, held = DATASETS[name], IMPORTS[name]
    files = [f"{split}={files[0]}" for split, files in dataset.annotations.items()]
    videos = [f"{split}={number}" for split, number in dataset.simulate.videos.items()]
    return " ".join(
        [
            repeated("--annotations", files),
            repeated("--videos", videos),
            repeated("--noise", dataset.simulate.noise),
            options(dataset.simulate, "source", "videos", "noise"),
            f"--fps {held.fps} --stride {int(held.stride)}",
        ]
    )


def weights_of(extractor):
    """Input function: the file of weights that a dataset's extractor uses."""

    def file(wildcards):
        name = extractor or wildcards.extractor
        return asset_or_path(
            settings_of(wildcards).features[name].weights, ".safetensors"
        )

    return file


def extract_options(extractor):
    """Params function: the command line options of a dataset's extractor."""

    def text(wildcards):
        name = extractor or wildcards.extractor
        section = settings_of(wildcards).features[name]
        return (
            f"--extractor {name} {options(section, 'weights', 'pca_components', 'pca')}"
        )

    return text


def named_file(extractor, setting):
    """Input function: the file that a setting of a dataset's extractor names, where it names one."""

    def files(wildcards):
        section = settings_of(wildcards).features[extractor or wildcards.extractor]
        return [file] if (file := getattr(section, setting)) else []

    return files


def merge_options(wildcards):
    """How a dataset's features are merged and reduced."""
    section = settings_of(wildcards).features[wildcards.extractor]
    parts = [f"--train-split {dataset_of(wildcards).train_split}"]
    if section.pca_components:
        parts.append(f"--pca-components {section.pca_components}")
    if section.pca:
        parts.append(f"--pca {shlex.quote(section.pca)}")
    # A merge that only links needs no card.
    parts.append(f"--device {section.device}" if len(parts) > 1 else "")
    return " ".join(filter(None, parts))


def extract_gpus(extractor):
    """Resources function: cards that an extraction asks for."""

    def number(wildcards):
        return gpus(
            settings_of(wildcards).features[extractor or wildcards.extractor].device
        )

    return number


def shard_threads(wildcards, at_most):
    """Threads of a shard's job: all that it can use where a scheduler gives it cores of its own.

    On one machine shards run side by side, since their threads then do not wait for each other; four at a time, as
    each holds a network and frames in memory.
    """
    if workflow.remote_exec or not workflow.local_exec:
        return at_most
    cores = workflow.cores or 1
    shares = (dataset_of(wildcards).shards, 4)
    return min(at_most, max(-(-cores // share) for share in shares))


def extract_threads(extractor):
    """Threads function: a network on the CPU wants all cores; a card, those that read and decode for it."""

    def number(wildcards):
        if extract_gpus(extractor)(wildcards):
            return 8
        return shard_threads(wildcards, at_most=16)

    return number


def train_options(wildcards):
    """Sizes of the network and settings of its training; of methods' own settings those of the job's method."""
    settings, dataset = settings_of(wildcards), dataset_of(wildcards)
    own = method_settings(wildcards.method, settings.methods)
    rate = own.learning_rate or settings.training.learning_rate
    values = own.model_dump(exclude={"learning_rate"})
    test_splits = sorted(
        {split for splits in dataset.test_splits.values() for split in splits}
    )
    return " ".join(
        [
            options(settings.model),
            options(settings.training, "methods", "seeds", "threads", "learning_rate"),
            f"--learning-rate {rate}",
            repeated("--set", [f"{name}={value}" for name, value in values.items()]),
            f"--train-split {dataset.train_split}",
            (
                repeated("--test-splits", test_splits)
                if settings.training.selection == "test"
                else ""
            ),
        ]
    )


def run_code(stage):
    """Params function: digest of a stage's code and of the job's method, so that another method reruns nothing."""
    return (
        lambda wildcards: f"{STAGES[stage].digest()} {method_digest(wildcards.method)}"
    )


def case_code(wildcards):
    """The same of the stage that asks one run of each method."""
    methods = settings_of(wildcards).training.methods
    return " ".join([STAGES["study_cases"].digest(), *map(method_digest, methods)])


def splits_option(wildcards):
    """The annotation splits that a split of the table unites."""
    return repeated("--splits", dataset_of(wildcards).test_splits[wildcards.split])


def features_file(wildcards):
    """The features of the job's kind, of the dataset that has the videos."""
    return f"work/{source_of(wildcards)}/features/{wildcards.extractor}.h5"


def tabled(wildcards):
    """The datasets of a table: its own, and further ones whose annotation files are all there."""
    return [
        wildcards.dataset,
        *(
            name
            for name in dataset_of(wildcards).further
            if all(
                Path(file).exists()
                for files in DATASETS[name].annotations.values()
                for file in files
            )
        ),
    ]


def table_metrics(kind):
    """Input function: the scores of every run of a table's datasets, `metrics_{split}.json` or another kind."""

    def files(wildcards):
        return [
            file
            for name in tabled(wildcards)
            for file in expand(
                f"work/{{dataset}}/runs/{{extractor}}/{{method}}/seed_{{seed}}/{kind}",
                dataset=name,
                extractor=KINDS[name],
                method=SETTINGS[name].training.methods,
                seed=SETTINGS[name].training.seeds,
                split=DATASETS[name].test_splits,
            )
        ]

    return files


def table_baselines(suffix):
    """Input function: the baselines of every split of a table."""

    def files(wildcards):
        return [
            f"work/{name}/baselines/{split}.{suffix}"
            for name in tabled(wildcards)
            for split in DATASETS[name].test_splits
        ]

    return files


def case_runs(kind):
    """Input function: a file of the run with the first seed of every method."""

    def files(wildcards):
        training = settings_of(wildcards).training
        return expand(
            f"work/{{dataset}}/runs/{{extractor}}/{{method}}/seed_{{seed}}/{kind}",
            method=training.methods,
            seed=min(training.seeds),
            allow_missing=True,
        )

    return files


def frames_option(wildcards):
    """The frame stores of the job's dataset. Imported features have none.

    No inputs: they are there once their manifests are, and who deletes them then wants neither the videos decoded again
    for pictures nor a finished report made anew.
    """
    if source_of(wildcards) in IMPORTS:
        return ""
    stores = shard_files(wildcards.dataset, "work/{dataset}/frames/shard_{shard}.h5")
    return of_all_shards("--frames", stores)


def table_sources(wildcards):
    """The datasets that have the videos of a table's datasets."""
    return list(
        dict.fromkeys(DATASETS[name].videos_of or name for name in tabled(wildcards))
    )


def table_manifests(wildcards):
    """The manifests of all videos of a table's datasets."""
    return [
        file
        for name in table_sources(wildcards)
        for file in manifest_files(name, "work/{dataset}/frames/shard_{shard}.csv")
    ]


def table_coverage(wildcards):
    """What became of every video, for each kind of features of a table."""
    return [
        f"work/{name}/features/{kind}_coverage.csv"
        for name in table_sources(wildcards)
        for kind in KINDS[name]
    ]


def coverage_names(wildcards):
    """What a report calls the files of `table_coverage`."""
    sources = table_sources(wildcards)
    return [
        f"{DATASETS[name].title}: {kind}" if len(sources) > 1 else kind
        for name in sources
        for kind in KINDS[name]
    ]


def table_cases(wildcards):
    """The case studies of every split and kind of features of a table."""
    return [
        f"work/{name}/report/{kind}/cases_{split}.json"
        for name in tabled(wildcards)
        for split in DATASETS[name].test_splits
        for kind in KINDS[name]
    ]


def measured_datasets(wildcards):
    """The datasets whose jobs a table took."""
    return dict.fromkeys([*table_sources(wildcards), *tabled(wildcards)])


def table_benchmarks(wildcards):
    """The benchmark files of the jobs that a table takes; those of other settings lie beside them."""
    files = []
    for name in measured_datasets(wildcards):
        dataset, settings, kinds = DATASETS[name], SETTINGS[name], KINDS[name]
        shards = [f"{{0..{dataset.shards - 1}}}"]
        runs = expand(
            "{kind}_{method}_{seed}",
            kind=kinds,
            method=settings.training.methods,
            seed=settings.training.seeds,
        )
        jobs = {
            "probe_videos": shards,
            "decode_frames": shards,
            **{f"extract_{kind}": shards for kind in kinds},
            "merge_features": kinds,
            "import_features": kinds,
            "train": runs,
            "evaluate": expand("{run}_{split}", run=runs, split=dataset.test_splits),
            "compute_baselines": dataset.test_splits,
            "study_cases": expand(
                "{kind}_{split}", kind=kinds, split=dataset.test_splits
            ),
        }
        folder = f"work/{name}/benchmarks"
        files += [f"{folder}/*.tsv"]
        files += [
            f"{folder}/{rule}/{job}.tsv"
            for rule, names in jobs.items()
            for job in names
        ]
        # What datasets share.
        weights = (
            []
            if name in IMPORTS
            else [settings.features[kind].weights for kind in kinds]
        )
        assets = [asset_or_path(value, ".safetensors") for value in weights]
        assets += [asset_or_path(settings.queries.vectors, ".txt")]
        files += [f"work/benchmarks/assets/{Path(file).name}.tsv" for file in assets]
        files += [
            f"work/benchmarks/fetch/{Path(file).relative_to('data')}.tsv"
            for file in dataset.fetch
        ]
    return list(dict.fromkeys(files))


def log_folders(wildcards):
    """Where their logs lie, in the same order."""
    return [f"logs/{name}" for name in measured_datasets(wildcards)]
