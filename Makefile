# Every target first sets up .venv.
# TORCH_BACKEND=cpu (or cu130, auto, …; see `uv pip install --help`) chooses the build of torch; otherwise pip does.
# PYTHON=python3.12 chooses the Python.
RUN := .venv/bin/python
CODE := ocr_ray jobs tests benchmarks

.PHONY: demo test soak lint docs bench setup constraints

# The summary goes to a file, so that the last lines say what was found.
demo: setup
	mkdir -p runs
	$(RUN) -m jobs.quickstart >runs/quickstart.json

test: setup
	$(RUN) -m pytest

soak: setup
	$(RUN) -m pytest -m soak

lint: setup
	$(RUN) -m ruff check $(CODE)
	$(RUN) -m ruff format --check $(CODE)
	$(RUN) -m mypy

# Runs the notebook, then builds the documentation in site/; fails on an error in either, or a broken link or reference.
docs: setup
	.venv/bin/jupyter-execute --timeout=300 docs/notebook.ipynb
	NO_MKDOCS_2_WARNING=1 $(RUN) -m mkdocs build --strict --quiet

bench: setup
	$(RUN) -m benchmarks.render
	$(RUN) -m benchmarks.generate
	$(RUN) -m benchmarks.crop
	$(RUN) -m benchmarks.train

setup: .venv/installed

.venv/installed: setup.sh pyproject.toml constraints.txt torch.txt
	TORCH_BACKEND=$(TORCH_BACKEND) ./setup.sh
	touch $@

# Pins every package for all platforms, with the hashes of its files. Left out are torch, which torch.txt pins, and the
# CUDA packages that it installs: they differ between the builds of torch.
constraints:
	.venv/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-annotate --no-header \
		--no-emit-index-url --no-emit-find-links --all-extras --constraints torch.txt \
		--output-file constraints.txt pyproject.toml
	sed -i '/^\(torch\|triton\|cuda-[a-z-]*\|nvidia-[a-z0-9-]*\)==/,/[^\]$$/d' constraints.txt
