PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
CIFAR  ?= ../shared/data/cifar10
PHOTOS ?= ../shared/data/photos
KODAK  ?= ../shared/data/kodak
SAMPLES := assets/samples
WEB     ?= web
TRAININGS := train-cifar train-photo train-nano train-siren
EXPERIMENTS := bench-cifar bench-kodak bench-graphics bench-crop bench-thumbnails bench-web bench-web-speed bench-speed bench-looks \
	ablation coarser regions photographs flat texture corners table1 table2 cuda profile growth goals ranks shapes figures golden hostile hard drift
.PHONY: help setup demo check types fast test torture lint format docs web web-package web-recipes serve dist test-pythons clean reliability fuzz fuzz-files fuzz-priors cuda-tests pack-cuda pack train-gpu debian-pictures $(TRAININGS) $(EXPERIMENTS)

help:  ## this list
	@awk -F ':.*## +' '/^[a-z0-9-]+:.*## / { printf "%-18s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))
setup: $(VENV)/.ready  ## .venv with all that the other targets need
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
check: lint types fast  ## style, types and the fast tests: within a minute
lint: setup  ## style
	$(BIN)/ruff check . && $(BIN)/ruff format --check .
types: setup  ## types of the public modules
	$(BIN)/mypy
fast: setup  ## the tests of all files but those that tests/conftest.py calls slow
	$(BIN)/pytest -n 2 --dist loadfile -m "not slow and not torture"
test: setup  ## all tests but those for a night: some minutes
	$(BIN)/pytest -n 2 --dist loadfile
torture: setup  ## what make test leaves out, and all of tests/torture, 26,000 mutants among it; counts go to docs/reliability.md: 20 minutes
	$(BIN)/pytest -n 2 --dist loadfile -m torture tests --ignore tests/torture
	$(BIN)/pytest -n 2 -m "torture or not torture" tests/torture --counts docs/reliability.md
format: setup  ## mend what can be mended of it
	$(BIN)/ruff check --fix . && $(BIN)/ruff format .
docs: setup  ## docs/cli.md from the commands, docs/tile.md from an encoding
	$(BIN)/python scripts/manual.py docs/cli.md
	$(BIN)/python -m scripts.tile docs/tile.md
web: setup  ## the page that shows files, and its prior, in build/web; WEB=photo; GALLERY="--gallery pictures"
	mkdir -p build/web && cp web/index.html web/*.js build/web
	$(BIN)/python scripts/web_prior.py $(WEB) -o build/web/prior.cmbw
	PYTHONPATH=build/thumbhash $(BIN)/python -m experiments.web_page build/web $(GALLERY)
web-package: setup  ## the npm package combiner-preview in build/npm; needs no npm
	$(BIN)/python -m scripts.web_package
web-recipes: setup  ## web/recipes in build/web-recipes, installed with npm, built with Vite and tried in headless Chromium
	$(BIN)/python -m scripts.web_recipes
	$(BIN)/pytest -m torture tests/torture/test_web_recipes.py
serve: web  ## the same at http://localhost:8000
	$(BIN)/python -m http.server -d build/web 8000
dist: setup  ## wheel and sdist in dist/, each checked in an environment of its own
	rm -rf dist build/dist && $(BIN)/python -m build --outdir dist .
	sh scripts/check_dist.sh $(BIN)/python build/dist dist/*.whl dist/*.tar.gz
test-pythons: setup  ## every supported Python that is installed; PYTHONS=decode does without torch
	sh scripts/pythons.sh $(BIN)/python build/pythons $(or $(PYTHONS),all)
clean:  ## remove what was built
	rm -rf build dist src/*.egg-info

into = --checkpoints checkpoints/$1 -o checkpoints/$2.npz
$(TRAININGS): setup
	$(BIN)/combiner train $(ARGS)
	$(AFTER)
train-cifar: ARGS = $(CIFAR)/train.npy $(PHOTOS)/train $(PHOTOS)/train2 --holdout 285 $(call into,small,small)  ## the family for thumbnails: ten hours on two cores; resumable
train-photo: ARGS = $(PHOTOS)/train $(PHOTOS)/train2 --family photo --crops 2000 --minutes 600 --validation $(PHOTOS)/val --validation $(PHOTOS)/val2 $(call into,photo,photo)  ## the family for photographs: ten hours on two cores; resumable
train-nano: ARGS = $(PHOTOS)/train $(PHOTOS)/train2 --family nano --steps 1050 --validation $(PHOTOS)/val $(call into,nano,nano-trained)  ## the family for previews: half an hour on one core
train-nano: AFTER = $(BIN)/python -m scripts.coarse_prior checkpoints/nano-trained.npz -o checkpoints/nano.npz
train-siren: ARGS = $(CIFAR)/train.npy --family combiner-cifar --betas 0.002 --holdout 4989 --minutes 28 $(call into,siren,combiner-cifar)  ## the plain SIREN of the paper, for reference

# A GPU on a machine without an index of packages: make -o setup train-gpu BIN=FOLDER, where FOLDER holds python3.
PACK  := build/pack
OUT   ?= build/gpu
START ?= --start photo
GPU   ?= --device cuda --batch 160 --minutes 8
pack: setup  ## photographs for train-gpu, in less than 60 MiB
	$(BIN)/python -m scripts.pack_photos $(PHOTOS)/train $(PHOTOS)/train2 -o $(PACK)/train --mib 50
	$(BIN)/python -m scripts.pack_photos $(PHOTOS)/val -o $(PACK)/val --mib 8
train-gpu: setup  ## the family for photographs on a GPU, minutes at a time, from what pack made; goes on in OUT; START= for from scratch
	PYTHONPATH=src scripts/in_parts.sh build/checkpoints $(OUT) $(BIN)/python3 -m combiner_codec train $(PACK)/train --family photo $(START) \
		--validation $(PACK)/val $(GPU) --light --checkpoints build/checkpoints -o $(OUT)/photo.npz

# Tables and figures into docs. BENCH="--betas 0.004,0.0015" gives more options: python -m experiments NAME --help.
$(EXPERIMENTS): setup
	$(BIN)/python -m experiments $(@:bench-%=%) $(ARGS) $(BENCH)
bench-cifar: ARGS = $(CIFAR)  ## the CIFAR-10 tables; resumable
bench-kodak: ARGS = $(KODAK) --photos $(PHOTOS)/val  ## the Kodak tables; resumable
bench-graphics: ARGS = --photos $(PHOTOS)/val  ## drawn pictures beside WebP, AVIF and JPEG XL: some minutes; resumable
coarser: ARGS = --photos $(PHOTOS)/val  ## palettes, dither and near-lossless on drawn pictures: a part of docs/lab.md
regions: ARGS = --photos $(PHOTOS)/val  ## what regions of their own kind would gain: a part of docs/lab.md
photographs: ARGS = $(PHOTOS)/val $(PHOTOS)/val2  ## that photographs are networks' alone, by estimates: a part of docs/lab.md
bench-crop: ARGS = $(SAMPLES)/hippos.png --beta 0.009 --box 380 60 636 316 --effort fast  ## the README's crop beside WebP and JPEG
bench-thumbnails: ARGS = $(PHOTOS)/val $(SAMPLES)/hippos.png $(SAMPLES)/lighthouse.png  ## 32x32 to 96x96 pictures at 60 to 400 bytes
bench-web: ARGS = $(PHOTOS)/val2 --limit 12  ## previews with the priors for the web, and what they download
bench-web-speed: ARGS = $(SAMPLES)/hippos.png  ## how long a preview takes in headless Chromium
bench-speed: ARGS = $(SAMPLES)/hippos.png $(SAMPLES)/lighthouse.png $(SAMPLES)/hippos-64x48.png  ## encode and decode beside WebP and AVIF, as ratios
bench-looks: ARGS = $(KODAK) $(PHOTOS)/val $(PHOTOS)/val2  ## SSIMULACRA 2 and Butteraugli beside others at equal bytes; resumable
flat: ARGS = $(PHOTOS)/val/05.png $(PHOTOS)/val/12.png $(PHOTOS)/val/17.png $(PHOTOS)/val2/19.png  ## errors in skies, ours beside AVIF's
texture: ARGS = --train $(PHOTOS)/train $(PHOTOS)/val2/10.png $(PHOTOS)/val/00.png $(PHOTOS)/val/02.png  ## crops with grain that a decoder might draw, to look at
corners: ARGS = $(PHOTOS)/val $(PHOTOS)/val2  ## dots where tiles of two sizes meet, and what completion makes of them
profile: ARGS = $(PHOTOS)/val  ## where the seconds of encoding and decoding go
growth: ARGS = $(PHOTOS)/val  ## how seconds and memory grow with pixels and rate: half an hour
goals: ARGS = $(PHOTOS)/val  ## what a size and a PSNR cost against a beta: half an hour
ranks: ARGS = $(CIFAR)/train.npy  ## pictures a second under torchrun, against processes: some minutes
shapes: ARGS = $(PHOTOS)/val  ## memory for a square and for lines of as many pixels: an hour
ablation: ARGS = $(PHOTOS)  ## what each part of the family for photographs is worth; resumable
table1: ARGS = $(CIFAR) $(COUNT:%=--count %)  ## COMBINER's times on CIFAR-10 beside ours; COUNT=20; resumable
table2: ARGS = $(KODAK) --photos $(PHOTOS)/val $(COUNT:%=--count %)  ## the same on Kodak; without a GPU on five pictures
figures: ARGS = $(SAMPLES)  ## the drawings of docs/method.md and docs/inspect.md
golden: ARGS = "$(WHY)"  ## golden files anew, before 1.0 only: make golden WHY="reason"
cuda: ARGS = $(CIFAR) $(KODAK)  ## on a machine with a GPU, six minutes: cuda-tests, files beside the processor's, seconds, memory and profile
cuda: cuda-tests
cuda-tests: setup  ## the part of them that a GPU is for
	$(BIN)/python3 -m pytest tests/test_cuda.py tests/test_gradients.py
pack-cuda: setup  ## what cuda reads, for a machine that has no pictures: into build/cuda, 6 MB
	mkdir -p build/cuda/cifar build/cuda/kodak
	$(BIN)/python -c "import numpy, sys; numpy.save(sys.argv[2], numpy.load(sys.argv[1])[:500])" $(CIFAR)/test.npy build/cuda/cifar/test.npy
	cp $(wildcard $(foreach n,01 05 08 13 19 23,$(KODAK)/kodim$(n).*)) build/cuda/kodak
reliability: hostile hard drift  ## the tables of docs/reliability.md: half an hour
hostile: setup  ## its part about damaged and malicious files
hard: setup  ## its part about pictures that no prior expects
drift: build/numpy-oldest/.ready build/numpy-newest/.ready  ## its part about other ways to decode
drift: ARGS = build/numpy-oldest/bin/python build/numpy-newest/bin/python
debian-pictures:  ## pictures from Debian packages into build/debian, for bench-graphics
	scripts/debian_pictures.sh build/debian
fuzz: fuzz-files fuzz-priors  ## the decoder under atheris, for 15 minutes with files and for 5 with priors
fuzz-files: SECONDS = 900
fuzz-priors: SECONDS = 300
fuzz-files fuzz-priors: build/fuzz/.ready
	PYTHONPATH=src build/fuzz/bin/python -m experiments.reliability.fuzz $(@:fuzz-%=%) build/fuzz/$(@:fuzz-%=%) \
		-max_total_time=$(SECONDS) -max_len=16384 -timeout=20 -rss_limit_mb=4096 -artifact_prefix=build/fuzz/
build/numpy-oldest/.ready: PACKAGES := numpy==1.26.0
build/numpy-newest/.ready: PACKAGES := numpy
build/fuzz/.ready: PACKAGES := atheris numpy pillow
# ThumbHash's package asks for an old Pillow that it does not need
bench-thumbnails: export PYTHONPATH = build/thumbhash
bench-thumbnails: build/thumbhash/.ready
build/thumbhash/.ready: $(VENV)/.ready
	$(BIN)/pip install -q --disable-pip-version-check --no-deps -t $(@D) thumbhash-python
	touch $@
build/%/.ready:
	$(PYTHON) -m venv $(@D) && $(@D)/bin/pip install -q --disable-pip-version-check $(PACKAGES)
	touch $@
