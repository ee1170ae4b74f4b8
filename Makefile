# Everything a newcomer types. Recipes use relative paths only, so the folder's own path may hold spaces.

UV_VERSION := 0.13.8
SHELL := /bin/sh
.DEFAULT_GOAL := help
.PHONY: help servers setup run check test verify verify-brokers verify-load brokers containers simulate simulate-bugs simulate-crashes bench identity contracts contracts-check contracts-release screenshot clean swap-test bench-brokers bench-replicas bench-walks bench-age storm storm-long venv changed service-check audit-dependencies sbom workflows workflows-check cluster-login canary promote rollback platform images compose-test

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-16s %s\n", $$1, $$2}' Makefile

UV = dapr/local/uv.sh $(UV_VERSION)
venv: ## Create .venv alone, for what needs no sidecar
	@$(UV) sync --locked

setup: venv ## Create .venv and find or build daprd (once; some minutes on a bare machine)
	@.venv/bin/outrigger runtime >/dev/null
	@.venv/bin/outrigger secrets >/dev/null
	@mkdir -p .outrigger/data .outrigger/mail # the stores' files and the mails, also under `dapr run -f dapr`

BROKER :=
STORE :=
CHOICE = $(if $(BROKER),--broker $(BROKER)) $(if $(STORE),--store $(STORE))
run: setup ## Start everything and say where to look; Ctrl-C stops it. BROKER=redis|rabbitmq|kafka STORE=sqlite|postgresql
	@.venv/bin/outrigger up $(CHOICE)

check: ## Lint, types, architecture, unit tests
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/basedpyright
	.venv/bin/lint-imports
	.venv/bin/deptry .
	@PYTHONPATH=tests .venv/bin/python -m deploy
	.venv/bin/pytest -q -n auto -m "not real and not e2e and not slow and not verify and not brokers and not conformance and not swaps"

servers: setup
	@.venv/bin/outrigger runtime --broker kafka --store postgresql >/dev/null

test: setup check servers ## All of check, then everything on real sidecars and a real broker, and the flow of an order on the others
	.venv/bin/pytest -q -n auto -m "slow and not real"
	.venv/bin/pytest -q --durations=15 -m "real or e2e"

verify: verify-brokers brokers verify-load ## All three: other brokers and stores, swaps, replicas; what each broker does; minutes of load, storms

verify-brokers: servers ## The whole system on RabbitMQ, Kafka and PostgreSQL, swapped and with replicas (apt-get install rabbitmq-server)
	.venv/bin/pytest -q -m brokers

verify-load: servers ## Minutes of load while everything is killed, restarted, overloaded and poisoned; a storm on each broker
	.venv/bin/pytest -q -m verify

brokers: setup ## What each broker does behind a sidecar, one by one (about ten minutes); writes docs/brokers.md
	@.venv/bin/outrigger runtime --broker kafka >/dev/null
	.venv/bin/pytest -q -m conformance
	@PYTHONPATH=tests .venv/bin/python -m brokers

containers: setup ## One broker and PostgreSQL in containers, by testcontainers; BROKER=redis|rabbitmq|kafka; installs Debian's engine if none answers
	@PYTHONPATH=tests .venv/bin/python -m servers $(if $(BROKER),--broker $(BROKER))

images: setup ## The seven services' images, by Debian's engine on a base of Debian's if none answers; says how large they are
	@PYTHONPATH=tests .venv/bin/python -m composed images

compose-test: setup ## docker-compose.yml with those images: an order, crashes, tokens, logs; BROKER=; writes docs/containers.md
	@PYTHONPATH=tests .venv/bin/python -m composed test $(if $(BROKER),--broker $(BROKER))

swap-test: setup ## 5,000 orders while the broker is swapped three times and wiped once; writes docs/reliability.md
	@.venv/bin/outrigger runtime --broker kafka >/dev/null
	VERIFY_WRITES=1 .venv/bin/pytest -q -m swaps

KILLS := 40
STORM = PYTHONPATH=tests .venv/bin/python -m storm $(if $(RATE),--rate $(RATE)) $(if $(SEED),--seed $(SEED))
storm: ORDERS := 2000
storm: setup ## Kill, stop and wipe everything under load, then the textbook's way: BROKER= STORE= KILLS= ORDERS= RATE= SEED=
	@.venv/bin/outrigger runtime $(CHOICE) >/dev/null
	@$(STORM) $(CHOICE) --kills $(KILLS) --orders $(ORDERS) --beside

storm-long: setup ## 200 kills and 20,000 orders on each broker (half an hour); writes docs/reliability.md
	@.venv/bin/outrigger runtime --broker kafka >/dev/null
	@for broker in redis rabbitmq kafka; do $(STORM) --broker $$broker --kills 200 --orders 20000 --write || exit 1; done

SEEDS := 10000
SEED :=
REPLICAS := 2
simulate: setup ## All services in one process under every fault, by seed: SEEDS=10000 REPLICAS=3; SEED=1234 replays one and prints its history
	@SIMULATE_REPLICAS=$(REPLICAS) PYTHONPATH=tests .venv/bin/python -m simulation $(if $(SEED),--seed $(SEED),--seeds $(SEEDS))

simulate-bugs: setup ## Plant bugs in memory, one by one, and see the simulation find them; writes docs/reliability.md
	@PYTHONPATH=tests .venv/bin/python -m simulation.hunt

simulate-crashes: setup ## Let the process die at every call of an order's flow; writes docs/reliability.md
	@PYTHONPATH=tests .venv/bin/python -m simulation.crash_points

bench: setup ## Accepted orders a second beside honest baselines (about three minutes); writes .outrigger/bench.json
	@PYTHONPATH=tests .venv/bin/python -m load

bench-brokers: setup ## Orders to their end on each broker; the slowest as a share of the fastest (five minutes)
	@.venv/bin/outrigger runtime --broker kafka >/dev/null
	@PYTHONPATH=tests .venv/bin/python -m load.costs brokers

bench-replicas: setup ## Three replicas of each service beside one, on the same 50 products; conflicts a commit (ten minutes)
	@PYTHONPATH=tests .venv/bin/python -m load.costs replicas

bench-walks: setup ## What the walks over others' journals cost, at a steady rate (about five minutes)
	@PYTHONPATH=tests .venv/bin/python -m load.costs walks

bench-age: ORDERS := 10000
bench-age: setup ## CPU and bytes an order, thousand by thousand, to ORDERS=300000 (which takes about an hour)
	@PYTHONPATH=tests .venv/bin/python -m load.costs age --orders $(ORDERS)

contracts: setup ## Renew the schemas, AsyncAPI and OpenAPI documents in apps/contracts/schemas
	@PYTHONPATH=tests .venv/bin/python -m published renew

contracts-check: venv ## Say which change would break who knows only the released schemas
	@PYTHONPATH=tests .venv/bin/python -m published check

contracts-release: setup ## Hold us to the schemas as they are now, for good (apps/contracts/released)
	@PYTHONPATH=tests .venv/bin/python -m published release

identity: setup ## Write what follows from dapr/identity.yaml: the Configurations in dapr/cluster, the tables of docs/security.md
	@PYTHONPATH=tests .venv/bin/python -m identity

SERVICE ?=
BASE ?=
changed: ## Say what since BASE=<commit> concerns SERVICE=orders; needs Python alone
	@PYTHONPATH=tests python3 -m delivery changed --service "$(SERVICE)" --base "$(BASE)"

service-check: venv ## Lint and test SERVICE=orders alone, without a sidecar
	.venv/bin/ruff check "apps/$(SERVICE)"
	.venv/bin/ruff format --check "apps/$(SERVICE)"
	.venv/bin/lint-imports
	cd "apps/$(SERVICE)" && ../../.venv/bin/deptry .
	.venv/bin/pytest -q "apps/$(SERVICE)" -m "not real and not e2e and not slow"

# Of one service, or of all that is locked. What no advisory is known for because it was not found is no success: --strict.
LOCKED = $(UV) export --locked --quiet $(if $(SERVICE),--package "$(SERVICE)" --no-dev,--all-packages)
audit-dependencies: venv ## Look for known vulnerabilities in what is locked, for SERVICE=orders or all; asks PyPI
	@mkdir -p .outrigger
	@$(LOCKED) --no-emit-workspace --format requirements-txt >.outrigger/locked.txt
	.venv/bin/pip-audit --strict --disable-pip --require-hashes --requirement .outrigger/locked.txt

sbom: ## Write .outrigger/sbom-orders.cdx.json, what SERVICE=orders is made of (CycloneDX)
	@mkdir -p .outrigger
	@$(LOCKED) --format cyclonedx1.5 --preview-features sbom-export --output-file ".outrigger/sbom-$(SERVICE).cdx.json" >/dev/null

workflows: venv ## Write the workflow of each service into .github/workflows
	@PYTHONPATH=tests .venv/bin/python -m delivery workflows

workflows-check: venv ## Lint the workflows: zizmor and actionlint, without asking the network
	.venv/bin/pytest -q tests/deploy/test_workflows.py

# What a workflow sets in the environment counts too.
IMAGE ?=
OVERLAY ?=
BAKE ?= 300
ALERTS ?=
KUBECONFIG ?= $(HOME)/.kube/config
DELIVER = PYTHONPATH=tests KUBECONFIG="$(KUBECONFIG)" .venv/bin/python -m delivery
ON = --service "$(SERVICE)" --overlay "$(OVERLAY)" --alerts "$(ALERTS)"
cluster-login: venv ## Write KUBECONFIG for CLUSTER_SERVER, CLUSTER_CA, CLUSTER_NAMESPACE: a workflow is known by GitHub's token
	@$(DELIVER) login --file "$(KUBECONFIG)" --server "$(CLUSTER_SERVER)" --authority "$(CLUSTER_CA)" --namespace "$(CLUSTER_NAMESPACE)"

canary: venv ## One pod of IMAGE=<image>@<digest> of SERVICE=orders in OVERLAY=kafka, watched for BAKE=300 s (needs a cluster)
	@$(DELIVER) canary $(ON) --image "$(IMAGE)" --seconds "$(BAKE)"

promote: venv ## Let the rollout that stands still go on: SERVICE= IMAGE= (needs a cluster)
	@$(DELIVER) promote $(ON) --image "$(IMAGE)"

rollback: venv ## Go back to what SERVICE=orders ran before; ends a canary (needs a cluster)
	@$(DELIVER) rollback $(ON)

platform: venv ## Apply what in OVERLAY=kafka belongs to no service (needs a cluster)
	@$(DELIVER) platform $(ON)

screenshot: setup ## Take the README's picture of the status page, from a real run (needs Chromium)
	@PYTHONPATH=tests .venv/bin/python -m screenshot

clean: ## Remove what runs and checks leave (.outrigger, caches); .venv and the built daprd stay
	@if [ -f .outrigger/run.json ] && [ -x .venv/bin/outrigger ]; then .venv/bin/outrigger down; fi
	rm -rf .outrigger .pytest_cache .ruff_cache .hypothesis .import_linter_cache
	find apps dapr tests -name __pycache__ -type d -prune -exec rm -rf {} +
