# Every target does its own set-up: python3, make and a package index are all it takes.

PORT ?= 8000
WORKERS ?= 2
PUBLISHER ?= sns
AUTH ?= open
CUSTOMERS ?= 30000
COUPONS ?= 200
HOLD ?= 0
PAY ?= 1
MINUTES ?= 2.5
STAGE ?= dev
HISTORIES ?= 200
FILTER ?=
# Processes that run tests: one more than the cores that `make test` is measured on.
TESTERS ?= 3

PYTHON := .venv/bin/python
UV := .venv/bin/uv
READY := .venv/.ready
SCANNER := .venv/checkov/.ready

.PHONY: help install demo up token test check bench fuzz chaos simulate e2e deploy smoke logs account keys destroy clean

help: ## Show the targets.
	@grep -hE '^[a-z0-9]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 12

install: $(READY) ## Set up .venv: our packages, and the AWS emulator in an environment of its own.

$(READY): requirements.txt requirements-dev.txt localstack/requirements.txt
	@python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "seckill: python3 must be 3.11 or newer, this one is $$(python3 -V)" >&2; exit 1; }
	@echo "setting up .venv"
	@python3 -m venv .venv
	@$(PYTHON) -m pip install --quiet --disable-pip-version-check uv==0.13.8
	@$(UV) pip install --quiet --python $(PYTHON) -r requirements-dev.txt
	@$(UV) venv --quiet --clear --python $(PYTHON) .venv/ministack
	@$(UV) pip install --quiet --python .venv/ministack/bin/python -r localstack/requirements.txt
	@touch $(READY)

$(SCANNER): infra/requirements.txt | $(READY)
	@$(UV) venv --quiet --clear --python $(PYTHON) .venv/checkov
	@$(UV) pip install --quiet --python .venv/checkov/bin/python -r infra/requirements.txt
	@touch $(SCANNER)

demo: $(READY) ## 30,000 customers go for 200 coupons; verify every one. CUSTOMERS= COUPONS= HOLD= PAY=
	@$(PYTHON) -m demo --customers $(CUSTOMERS) --coupons $(COUPONS) --hold $(HOLD) --pay $(PAY)

up: $(READY) ## The local cloud, until Ctrl-C. PORT= WORKERS= PUBLISHER=sns|sqs AUTH=open|jwt REDIS_URL= AWS_ENDPOINT_URL=
	@REDIS_URL=$(REDIS_URL) AWS_ENDPOINT_URL=$(AWS_ENDPOINT_URL) exec $(PYTHON) -m localstack --port $(PORT) --workers $(WORKERS) --publisher $(PUBLISHER) --auth $(AUTH)

token: $(READY) ## A token for AUTH=jwt: CUSTOMER=alice or ADMIN=1; or of a deployed stage: STAGE= EMAIL=
	@$(PYTHON) -m $(if $(EMAIL),infra.accounts token $(STAGE) "$(EMAIL)",localstack.tokens --customer "$(CUSTOMER)" --admin "$(ADMIN)")

test: $(READY) ## All tests, on a real Valkey and a local AWS.
	@$(PYTHON) -m pytest -n $(TESTERS) --no-loadscope-reorder

check: $(READY) $(SCANNER) ## Format, lint, types, template, known vulnerabilities, size.
	@$(PYTHON) -m ruff format --check .
	@$(PYTHON) -m ruff check .
	@.venv/bin/bandit --quiet --recursive app.py chalicelib
	@$(PYTHON) -m mypy
	@.venv/bin/cfn-lint infra/template.yaml infra/watch.yaml
	@$(PYTHON) -m infra.scan
	@$(PYTHON) -m infra.audit
	@$(PYTHON) -m infra.package_size

bench: $(READY) ## Measure, as ratios within one run; writes build/bench.json.
	@$(PYTHON) -m bench

fuzz: $(READY) ## Random requests against every operation of the API, MINUTES= long. SEED= AUTH=open|jwt
	@$(PYTHON) -m tests.fuzz --minutes $(MINUTES) --auth $(AUTH) $(if $(SEED),--seed $(SEED))

chaos: $(READY) ## Faults of every kind under load, and a checker. SEED= MINUTES= PUBLISHER=
	@$(PYTHON) -m chaos --minutes $(MINUTES) --publisher $(PUBLISHER) $(if $(SEED),--seed $(SEED))

simulate: $(READY) ## Random histories with faults, in one process, and a judge. SEED= HISTORIES=
	@$(PYTHON) -m simulate --seed $(or $(SEED),1) --histories $(HISTORIES)

e2e: $(READY) ## Deploy what ships to an AWS emulator, sell through it, redeploy while it sells.
	@$(PYTHON) -m e2e

deploy: $(READY) ## The stacks, their outputs, chalice deploy, limits, a smoke test. STAGE= ALLOW_LOSS=yes
	@$(PYTHON) -m infra.deploy $(STAGE)

smoke: $(READY) ## Does a deployed sale work? STAGE=, or URL= of an open one
	@$(PYTHON) -m infra.smoke $(or $(URL),--stage $(STAGE))

logs: $(READY) ## Follow what the functions say. STAGE= FILTER=
	@$(PYTHON) -m infra.logs $(STAGE) $(if $(FILTER),--filter '$(FILTER)')

account: $(READY) ## Make an account of a deployed stage, or change its password. STAGE= EMAIL= ADMIN=1
	@$(PYTHON) -m infra.accounts make $(STAGE) "$(EMAIL)" --admin "$(ADMIN)"

keys: $(READY) ## Put a stage's admission keys in place, without deploying. STAGE=
	@$(PYTHON) -m infra.keys $(STAGE)

destroy: $(READY) ## Take a stage down, with its data. STAGE= CONFIRM=prod
	@$(PYTHON) -m infra.destroy $(STAGE)

clean: ## Remove everything that was made here.
	@rm -rf .venv .local build .mypy_cache .ruff_cache .pytest_cache .hypothesis
