.DEFAULT_GOAL := help
.PHONY: help setup demo demo-reduced report test faults fuzz test-slurm test-slurm-faults test-kubernetes check format lock audit bench bench-features bench-training bench-scores bench-card bench-reruns bench-planning bench-serve pictures rehearsal clean

BIN := .venv/bin
CORES ?= all
# Only what a user passes; the locks decide everything else.
SNAKEMAKE := $(BIN)/snakemake --cores $(CORES)
export PATH := $(CURDIR)/$(BIN):$(PATH)

help: ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-18s %s\n", $$1, $$2}'

setup: .venv/ready ## make .venv from the locks, see to ffmpeg
	@command -v ffmpeg >/dev/null && command -v ffprobe >/dev/null || envs/setup.sh

.venv/ready: envs/requirements.txt envs/assets.txt envs/build.txt envs/uv.txt envs/setup.sh pyproject.toml
	@envs/setup.sh

demo: setup ## render a dataset and take it from raw videos to the table and the report
	@$(SNAKEMAKE) results/demo_table.csv results/demo_report.html
	@echo; cat results/demo_table.md; echo
	@echo "The report, with charts and case studies, opens in a browser: $(CURDIR)/results/demo_report.html"
	@echo "The table is results/demo_table.csv; for reading, results/demo_table.md."

DATASET ?= demo
report: setup ## the report of a dataset (DATASET=demo), and the table that it shows
	@$(SNAKEMAKE) results/$(DATASET)_report.html
	@echo; echo "The report opens in a browser: $(CURDIR)/results/$(DATASET)_report.html"

demo-reduced: setup ## the same with fewer videos and epochs, in work/reduced (for CI)
	@mkdir -p work/reduced
	@$(SNAKEMAKE) --directory work/reduced --configfile config.yaml tests/workflow/reduced.yaml -- results/demo_table.csv
	@echo; cat work/reduced/results/demo_table.md

test: setup ## all tests, in parallel
	@$(BIN)/pytest -n auto --dist loadgroup

faults: setup ## bad videos, kills at twenty moments, a full disk, hanging decoders
	@VMR_ALL_FAULTS=1 $(BIN)/pytest tests/faults --durations=5

N ?= 1000
SEED ?= 0
fuzz: setup ## N=1000 SEED=0: hostile files through stages and readers; writes benchmarks/results/fuzz.json
	@$(BIN)/python tests/fuzz/run.py --count $(N) --seed $(SEED) --output benchmarks/results/fuzz.json

test-slurm: setup ## the workflow on a Slurm of our own (as root on Debian; skipped elsewhere)
	@envs/slurm.sh
	@VMR_SLURM=1 $(BIN)/pytest tests/slurm -rs --durations=3

test-slurm-faults: setup ## the same, with lost nodes, cancelled and requeued jobs, too little memory, a killed head
	@envs/slurm.sh
	@VMR_SLURM=1 VMR_ALL_FAULTS=1 $(BIN)/pytest tests/slurm -rs --durations=8

test-kubernetes: setup ## the workflow on a Kubernetes of our own (as root on Debian 12; builds it first, in eight minutes)
	@envs/kubernetes.sh
	@VMR_KUBERNETES=1 $(BIN)/pytest tests/kubernetes -rs --durations=5

check: setup ## lint, formatting, types, one-way imports, rules
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/snakefmt --check Snakefile workflow/rules
	$(BIN)/snakemake --lint

format: setup ## format Python and rules
	@$(BIN)/ruff check --fix-only -q .
	@$(BIN)/ruff format -q .
	$(BIN)/snakefmt Snakefile workflow/rules

lock: setup ## compile the locks again (newest versions), write the schema and comments of config.yaml
	@$(BIN)/python -m uv pip compile -q --upgrade --universal --python-version 3.11 --all-extras --generate-hashes pyproject.toml -o envs/requirements.txt
	@$(BIN)/python -m uv pip compile -q --universal --python-version 3.11 --no-deps --generate-hashes envs/assets.in -o envs/assets.txt
	@$(BIN)/python -m uv pip compile -q --upgrade --universal --python-version 3.11 --generate-hashes envs/build.in -o envs/build.txt
	@$(BIN)/python -m uv pip compile -q --universal --python-version 3.11 --generate-hashes envs/uv.in -o envs/uv.txt
	@$(BIN)/python envs/licences.py
	@$(BIN)/vmr config schema > workflow/schemas/config.schema.json
	@$(BIN)/vmr config comments

audit: setup ## known vulnerabilities of the locked packages, by pip-audit (needs the network)
	@$(BIN)/python -m uv tool run pip-audit --vulnerability-service osv --require-hashes --disable-pip -r envs/requirements.txt

bench: bench-features bench-training bench-reruns bench-planning bench-serve ## measure speed and memory; writes benchmarks/results, prints one table
	@$(BIN)/python benchmarks/summary.py

CHARADES ?= ../shared/data/charades_sta
rehearsal: setup ## the main command over 6,672 short videos, in work/rehearsal (CHARADES, ACTIVITYNET: folders of annotations; three hours)
	@$(BIN)/python benchmarks/rehearsal_videos.py --annotations $(CHARADES) --output work/rehearsal
	@$(BIN)/python benchmarks/rehearsal.py --work work/rehearsal --steps whole again added planned c3d \
	    activitynet activitynet_again --activitynet $(ACTIVITYNET)

VIDEOS ?= ../shared/data/videos
bench-features: setup ## decoding, frame store, a window, a video, a shard, memory (VIDEOS=folder with 3MSZA.mp4)
	@$(BIN)/python benchmarks/i3d_speed.py --video $(VIDEOS)/3MSZA.mp4
	@$(BIN)/python benchmarks/decoding.py $(VIDEOS)/3MSZA.mp4
	@$(BIN)/python benchmarks/extraction.py --video $(VIDEOS)/3MSZA.mp4
	@$(BIN)/python benchmarks/frame_store.py $(VIDEOS)/3MSZA.mp4 $(VIDEOS)/v_ZNVhz7ctTq0.mp4
	@$(BIN)/python benchmarks/frames_of_others.py $(foreach name,3MSZA v_ZNVhz7ctTq0 nasa_13013,$(VIDEOS)/$(name).mp4)
	@$(BIN)/python benchmarks/memory.py

bench-training: setup ## a training step; an epoch of the Charades-scale simulation, straightforward and ours
	@$(BIN)/python benchmarks/training_step.py
	@$(SNAKEMAKE) work/charades_sim/features/simulated.h5 work/charades_sim/queries/queries.h5
	@$(BIN)/python benchmarks/training_epoch.py --work work/charades_sim --features work/charades_sim/features/simulated.h5

SMALL := work/charades_sim_small
bench-scores: setup ## whether speed costs score, and the ablation: hours of training on charades_sim_small
	@$(SNAKEMAKE) $(SMALL)/features/simulated.h5 $(SMALL)/queries/queries.h5
	@$(BIN)/python benchmarks/training_scores.py --work $(SMALL) --features $(SMALL)/features/simulated.h5 --runs $(SMALL)/scores
	@$(BIN)/python benchmarks/ablation.py --work $(SMALL) --features $(SMALL)/features/simulated.h5 --runs $(SMALL)/ablation

WEIGHTS ?= data/assets/i3d_kinetics400_rgb.safetensors
bench-card: setup ## with a CUDA card: the extraction stage on the demo's frames, a whole training (after make demo, bench-training)
	@$(BIN)/python benchmarks/extraction_card.py --frames work/demo/frames/shard_0.h5 --manifest work/demo/frames/shard_0.csv --weights $(WEIGHTS)
	@$(BIN)/python benchmarks/training_card.py --work work/charades_sim --features work/charades_sim/features/simulated.h5

bench-reruns: setup ## what Snakemake plans after each change of a setting, of files and of code
	@VMR_RERUN_MATRIX=benchmarks/results/rerun_matrix.json $(BIN)/pytest tests/workflow/test_rerun.py

bench-planning: setup ## Snakemake's plans for ten thousand to a million videos; a thousand shards against one
	@$(BIN)/python benchmarks/planning.py
	@$(BIN)/python benchmarks/merging.py

bench-serve: setup ## fifty visitors of the page for a minute, then beside the features of new videos (after make demo)
	@$(BIN)/vmr export work/demo/runs/i3d/ci_mha/seed_0 --output work/demo/model.safetensors
	@$(BIN)/python benchmarks/serve_load.py --model work/demo/model.safetensors --videos data/demo/videos

pictures: setup ## those of the documents, from the demo and, where there is one, the report of charades_sim_small
	@$(SNAKEMAKE) results/demo_report.html
	@$(BIN)/vmr export work/demo/runs/i3d/ci_mha/seed_0 --output work/demo/model.safetensors
	@$(BIN)/python docs/pictures/renew.py --model work/demo/model.safetensors --videos data/demo/videos results/demo_report.html $(wildcard results/charades_sim_small_report.html)

clean: ## remove what can be made again (work/, logs/, results/), keep data/
	@rm -rf work logs results
