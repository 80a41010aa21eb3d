PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
CIFAR  ?= ../shared/data/cifar10
PHOTOS ?= ../shared/data/photos
KODAK  ?= ../shared/data/kodak
SAMPLES := assets/samples

.PHONY: setup demo test lint format train-cifar train-photo train-siren bench-cifar bench-kodak \
	bench-crop ablation table1 table2 ablation-finetune figures bench-thumbnails bench-border \
	bench-speed dist docs test-pythons clean

setup: $(VENV)/.ready

$(VENV)/.ready: pyproject.toml constraints.txt
	test -d $(VENV) || $(PYTHON) -m venv $(VENV)
	$(BIN)/pip install -q --disable-pip-version-check -c constraints.txt -e '.[dev,bench]'
	touch $@

demo: setup  ## encode and decode two shipped samples
	mkdir -p build/demo
	$(BIN)/combiner encode $(SAMPLES)/hippos-64x48.png -o build/demo/hippos.cmb --beta 0.002
	$(BIN)/combiner info build/demo/hippos.cmb
	$(BIN)/combiner decode build/demo/hippos.cmb -o build/demo/hippos.png
	$(BIN)/combiner encode $(SAMPLES)/lighthouse.png -o build/demo/lighthouse.cmb --beta 0.004 --effort fast
	$(BIN)/combiner decode build/demo/lighthouse.cmb -o build/demo/lighthouse.png
	@echo "look at build/demo/hippos.png and build/demo/lighthouse.png"

test: setup
	$(BIN)/pytest

train-cifar: setup  ## the default family: hours on two cores; resumable
	$(BIN)/combiner train $(CIFAR)/train.npy $(PHOTOS)/train --crops 2000 --holdout 285 \
		--checkpoints checkpoints/small -o checkpoints/small.npz

train-photo: setup  ## the family for photographs: an hour on two cores; resumable
	$(BIN)/combiner train $(PHOTOS)/train --family photo --crops 800 --validation $(PHOTOS)/val \
		--checkpoints checkpoints/photo -o checkpoints/photo.npz

train-siren: setup  ## the plain SIREN of the paper, for reference
	$(BIN)/combiner train $(CIFAR)/train.npy --family combiner-cifar --betas 0.002 --holdout 4989 --minutes 28 \
		--checkpoints checkpoints/siren -o checkpoints/combiner-cifar.npz

bench-cifar: setup  ## the CIFAR-10 tables into docs/results; resumable
	$(BIN)/python -m combiner_codec.bench cifar $(CIFAR) $(BENCH)

bench-kodak: setup  ## the Kodak tables into docs/results; resumable
	$(BIN)/python -m combiner_codec.bench kodak $(KODAK) --photos $(PHOTOS)/val $(BENCH)

bench-crop: setup  ## the README's crop beside WebP and JPEG
	$(BIN)/python -m combiner_codec.bench crop $(SAMPLES)/hippos.png --beta 0.009 --box 380 60 636 316 --effort fast

ablation: setup  ## what each part of the family for photographs is worth; resumable
	$(BIN)/python -m combiner_codec.bench ablation $(PHOTOS) $(BENCH)

# The paper's experiments. COUNT=20 takes fewer pictures, BENCH="--betas 0.004,0.0015" gives options (--help lists them).
OPTIONS = $(if $(COUNT),--count $(COUNT)) $(BENCH)

table1: setup  ## COMBINER's times on CIFAR-10 beside ours, into docs/results; resumable
	$(BIN)/python -m combiner_codec.bench table1 $(CIFAR) $(OPTIONS)

table2: setup  ## the same on Kodak; without a GPU on five pictures
	$(BIN)/python -m combiner_codec.bench table2 $(KODAK) --photos $(PHOTOS)/val $(OPTIONS)

ablation-finetune: setup  ## full refinement against a tenth of it
	$(BIN)/python -m combiner_codec.bench finetune $(CIFAR) --photos $(PHOTOS)/val $(OPTIONS)

figures: setup  ## the pictures of docs/method.md and README: the pipeline, and what inspect draws
	$(BIN)/python -m combiner_codec.bench figures $(SAMPLES)

bench-thumbnails: setup  ## 32x32 to 96x96 pictures at 60 to 400 bytes
	$(BIN)/python -m combiner_codec.bench thumbnails $(PHOTOS)/val $(SAMPLES)/hippos.png $(SAMPLES)/lighthouse.png $(BENCH)

bench-border: setup  ## the families `small` and `photo` on 32x32 to 128x128 pictures
	$(BIN)/python -m combiner_codec.bench border $(PHOTOS)/val $(BENCH)

bench-speed: setup  ## encode and decode beside WebP and AVIF, as ratios
	$(BIN)/python -m combiner_codec.bench speed $(SAMPLES)/lighthouse.png $(SAMPLES)/hippos-64x48.png $(BENCH)

dist: setup  ## wheel and sdist in dist/, each checked in an environment of its own
	rm -rf dist build/dist
	$(BIN)/python -m build --outdir dist .
	sh scripts/check_dist.sh $(BIN)/python build/dist dist/*.whl dist/*.tar.gz

docs: setup  ## docs/cli.md from the commands
	$(BIN)/python -m combiner_codec.manual docs/cli.md

PYTHONS ?= all
test-pythons: setup  ## every supported Python that is installed; PYTHONS=decode does without torch
	sh scripts/pythons.sh $(BIN)/python build/pythons $(PYTHONS)

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: setup
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf build dist src/*.egg-info

RELIABILITY := cd tests && ../$(BIN)/python -m reliability

.PHONY: golden reliability fuzz
golden: setup  ## golden files anew, before 1.0 only: make golden WHY="reason"
	$(RELIABILITY) golden "$(WHY)"

reliability: setup build/numpy-oldest/.ready build/numpy-newest/.ready  ## the tables of docs/reliability.md: half an hour
	$(RELIABILITY) hostile
	$(RELIABILITY) hard
	$(RELIABILITY) drift $(CURDIR)/build/numpy-oldest/bin/python $(CURDIR)/build/numpy-newest/bin/python

fuzz: build/fuzz/.ready  ## the decoder under atheris, for 15 minutes
	cd tests && PYTHONPATH=../src ../build/fuzz/bin/python -m reliability.fuzz ../build/fuzz/corpus \
		-max_total_time=900 -max_len=4096 -timeout=20 -rss_limit_mb=4096 -artifact_prefix=../build/fuzz/

build/numpy-oldest/.ready: PACKAGES := numpy==1.26.0
build/numpy-newest/.ready: PACKAGES := numpy
build/fuzz/.ready: PACKAGES := atheris numpy pillow
build/%/.ready:
	$(PYTHON) -m venv $(@D)
	$(@D)/bin/pip install -q --disable-pip-version-check $(PACKAGES)
	touch $@
