# On a fresh Debian or Ubuntu machine, as root: `make demo` or `make test` does all the set-up.
PY := .venv/bin/python
# The parts that tests divide into; `-m` expressions of pytest (markers: pyproject.toml).
FAST := not kernel and not lab and not slow
PYTEST := tools/run_pytest.sh
VERSION = $(shell sed -n 's/^version = "\(.*\)"/\1/p' pyproject.toml)
ARCH := amd64

.DEFAULT_GOAL := help
.PHONY: help setup demo check format test test-api test-vm test-page attack faults bench wheels shim image test-image \
	manifest kubernetes test-kubernetes test-e2e golden lock clean

help:           ## this list
	@sed -n 's/^\([a-z0-9-]*\): .*## \(.*\)/  make \1|\2/p' Makefile | column -t -s '|'

setup:          ## packages and .venv, nothing else
	@tools/setup.sh run
	@echo 'The command is .venv/bin/steppe; to call it by name:  export PATH="$(CURDIR)/.venv/bin:$$PATH"'

demo:           ## set-up, then a 3-node lab, an app, probes of every pair, one path explained
	@tools/setup.sh run
	@tools/demo.sh

check:          ## format, lint, types, layers, limits and the fast tests: two minutes
	@tools/setup.sh
	.venv/bin/ruff format --check .
	.venv/bin/ruff check .
	.venv/bin/mypy
	.venv/bin/lint-imports --config pyproject.toml
	$(PY) tools/limits.py
	$(PYTEST) -q -m "$(FAST)"

format:         ## let ruff lay the code out
	@tools/setup.sh
	.venv/bin/ruff format .
	.venv/bin/ruff check --fix .

test:           ## set-up, check, then every test that needs no special kernel module: a quarter of an hour
	@tools/setup.sh run test
	@$(MAKE) --no-print-directory check
	$(PYTEST) -q -m "kernel or lab or slow"

# Not from the environment: the suite makes objects, and not in whatever cluster is the current one.
test-api:       ## what the embedded API server promises, held against another: KUBECONFIG=FILE
	@tools/setup.sh
	@[ '$(origin KUBECONFIG)' = 'command line' ] || { echo 'usage: make test-api KUBECONFIG=FILE' >&2; exit 2; }
	STEPPE_API_KUBECONFIG='$(abspath $(KUBECONFIG))' $(PYTEST) -q tests/apiserver/contract

test-vm:        ## the kernel tests and a 2-node lab inside a stock Debian 6.12 kernel (qemu)
	@tools/setup.sh run test vm
	tools/vm/test.sh

test-page:      ## the page of `steppe reach -o html` in a real browser, at 20, 1,000 and 10,000 pods
	@tools/setup.sh page
	$(PYTEST) -q tests/page

attack:         ## all that a pod can send by raw socket, on every fabric: a quarter of an hour
	@tools/setup.sh run test
	STEPPE_ATTACK=full $(PYTEST) -q tests/attack

# The folder that holds Kubernetes' programs: STEPPE_KUBERNETES_BIN, or one in the user's cache.
KUBERNETES_BIN = $(or $(STEPPE_KUBERNETES_BIN),$(or $(XDG_CACHE_HOME),$(HOME)/.cache)/steppe/kubernetes/bin)

kubernetes:     ## Kubernetes' programs for test-kubernetes, from their Go modules: ten minutes
	tests/kubernetes/build.sh "$(KUBERNETES_BIN)" $(or $(PARTS),cluster)

test-kubernetes: ## a real 3-node cluster on this machine with Steppe as its network: five minutes
	@tools/setup.sh run test
	STEPPE_KUBERNETES=1 $(PYTEST) -q tests/kubernetes $(ARGS); code=$$?; \
		$(PY) -m tests.kubernetes sweep && exit $$code

test-e2e:       ## Kubernetes' own e2e tests of networks, and docs/kubernetes-e2e.md: half an hour (ARGS=GROUP)
	@tools/setup.sh run test
	$(PY) -m tests.kubernetes e2e $(ARGS)

faults:         ## every fault of docs/faults.md, made in a lab: what audit, explain --actual and verify say
	@tools/setup.sh run test
	STEPPE_FAULTS=full $(PYTEST) -q tests/lab/test_faults.py tests/lab/test_faults_verified.py

bench:          ## the numbers the project promises, measured here: a table and bench/results/*.json
	@tools/setup.sh run test
	$(PY) -m bench $(ARGS)

wheels:         ## dist/*.whl: steppe, which nodes and laptops install, and steppe-lab
	@tools/setup.sh
	rm -rf build lab/build # setuptools would pack what it finds there from the last time
	$(PY) -m pip --disable-pip-version-check wheel -q --no-deps -w dist . ./lab

shim:           ## dist/steppe-cni: the CNI plugin as one static program, for hosts without Python
	shim/build.sh "$(CURDIR)/dist/steppe-cni" $(TARGET)

image:          ## dist/steppe-image-ARCH.tar: the OCI image, and what it is made of (ARCH=amd64 or arm64)
	@tools/setup.sh
	@$(MAKE) --no-print-directory wheels $(if $(filter amd64,$(ARCH)),shim)
	$(PY) -m tools.image.build --architecture $(ARCH) --wheel dist/steppe-$(VERSION)-py3-none-any.whl \
		$(if $(filter amd64,$(ARCH)),--shim dist/steppe-cni)

test-image:     ## dist/steppe-image-amd64.tar run with the rights of deploy/steppe.yaml (root, runc)
	@tools/setup.sh run
	STEPPE_IMAGE='$(CURDIR)/dist/steppe-image-amd64.tar' $(PYTEST) -q tests/deploy/test_image.py

manifest:       ## deploy/steppe.yaml from deploy/chart; the first time it builds helm (Go)
	@tools/setup.sh
	$(PY) tools/manifest.py

golden:         ## rewrite the golden files; read the diff before you commit it
	@tools/setup.sh
	$(PY) -m tests.golden.rewrite

lock:           ## choose new versions for requirements.lock
	@tools/setup.sh
	$(PY) -m pip --disable-pip-version-check install -q uv
	.venv/bin/uv pip compile -q --universal --upgrade --generate-hashes --no-annotate --no-emit-index-url \
		--no-header pyproject.toml lab/pyproject.toml --no-emit-package steppe --extra dev \
		-o requirements.lock
	echo 'playwright>=1.50' | .venv/bin/uv pip compile -q --universal --upgrade --generate-hashes --no-annotate \
		--no-emit-index-url --no-header --python-version 3.11 - -c requirements.lock -o requirements-page.lock

clean:          ## remove what was made here (the lab: `steppe lab down`)
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis bench/results
	rm -rf build dist lab/build src/*.egg-info lab/src/*.egg-info
	find src lab tests bench tools -name __pycache__ -type d -prune -exec rm -rf {} +
