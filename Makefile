# The front door. Everything is also a plain command: see the recipe.
SHELL := /bin/bash
.DEFAULT_GOAL := help
ENVIRONMENT ?= dev
INVENTORY := inventories/$(ENVIRONMENT)
BIN := .venv/bin
# Whoever is not root needs sudo for the machine's own deploys: the playbooks become root by themselves.
# With a sudo that asks for a password: ARGUMENTS=--ask-become-pass
RELEASE ?=
STATE ?= on
# The name of a run, where somebody has to know it afterwards: `make return`.
RUN ?=
ARGUMENTS ?=
PLAY = $(BIN)/ansible-playbook -i $(INVENTORY) $(if $(RELEASE),-e app_release=$(RELEASE)) $(if $(RUN),-e platform_run=$(RUN)) $(ARGUMENTS)
export PATH := /usr/sbin:/usr/bin:$(PATH)

.PHONY: help deploy release rollback return close maintenance promote prune status logs health certificates rotate-keys destroy check test test-fast lint unit integration molecule e2e lab-up lab-down lab-test matrix artefacts docs changelog bench proof lock clean

help: ## Show this list
	@awk -F':.*## ' '/^[a-z0-9-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' Makefile

.venv/.complete: requirements.lock scripts/bootstrap
	@scripts/bootstrap

deploy: .venv/.complete ## Bring the platform up, or to what the files say (RELEASE=name, ENVIRONMENT=dev)
	@$(PLAY) playbooks/deploy.yml

release: .venv/.complete ## Release the application alone: hosts, Postgres and Redis stay as the last deploy left them (RELEASE=name)
	@$(PLAY) playbooks/release.yml

rollback: .venv/.complete ## Go back to the last good release, or to a kept one (RELEASE=name, ENVIRONMENT=dev)
	@$(BIN)/ansible-playbook -i $(INVENTORY) $(if $(RELEASE),-e release=$(RELEASE)) $(ARGUMENTS) playbooks/rollback.yml

return: .venv/.complete ## Give back the lease of a run of CI that failed (RUN=its name), so that nobody waits for its end
	@$(PLAY) playbooks/return.yml

close: .venv/.complete ## Close the last release when all has been well for the environment's closing window
	@$(PLAY) playbooks/close.yml

maintenance: .venv/.complete ## Show everybody a page (STATE=on), let them in again (STATE=off)
	@$(BIN)/ansible-playbook -i $(INVENTORY) -e maintenance=$(STATE) $(ARGUMENTS) playbooks/maintenance.yml

promote: .venv/.complete ## Bring a release's images to the environment's registry, their digests into its inventory
	@$(PLAY) playbooks/promote.yml

check: .venv/.complete ## Say what a deploy would change, and change nothing
	@$(PLAY) playbooks/deploy.yml --check --diff

prune: .venv/.complete ## Delete from the environment's registry the images that nothing names (ENVIRONMENT=prod)
	@$(PLAY) playbooks/prune.yml

status: .venv/.complete ## Show what runs, and the checklist of a first deploy
	@$(PLAY) playbooks/status.yml

health: .venv/.complete ## Ask every service whether it is well
	@$(PLAY) playbooks/status.yml --tags health

logs: ## Follow the logs of all containers (SERVICE=web for one)
	@scripts/logs $(SERVICE)

certificates: .venv/.complete ## Order or renew the proxies' certificate where that is due (ENVIRONMENT=prod)
	@$(PLAY) playbooks/certificates.yml

rotate-keys: .venv/.complete ## Rotate the API keys that are due (ARGUMENTS="--check --diff" says which)
	@$(PLAY) playbooks/rotate_keys.yml

destroy: .venv/.complete ## Remove everything but data (DATA=yes removes data and secrets too)
	@$(PLAY) playbooks/destroy.yml $(if $(filter yes,$(DATA)),-e platform_destroy_data=true)

test: .venv/.complete ## The gate: lint, unit, integration, molecule, end to end (at most 40 minutes)
	@scripts/gate

test-fast: .venv/.complete lint unit ## The inner loop: lint and unit tests

lint: .venv/.complete ## Linters and types
	@scripts/gate lint

unit: .venv/.complete ## Unit tests
	@scripts/gate unit

integration: .venv/.complete ## Modules against real servers
	@scripts/gate integration

molecule: .venv/.complete ## Roles on bare nested hosts (SCENARIO=redis for one)
	@scripts/gate molecule $(SCENARIO)

e2e: .venv/.complete ## `make deploy` itself on a bare nested host
	@scripts/gate e2e

matrix: .venv/.complete ## The oldest and the newest Python and ansible-core: unit tests, syntax, documentation
	@scripts/gate matrix

artefacts: .venv/.complete ## What is handed out: Galaxy's rules, sanity tests, reference, changelog, execution environment
	@scripts/gate artefacts

docs: .venv/.complete ## The reference as HTML, in build/docs
	@$(BIN)/nox --session docs

lab-up: .venv/.complete ## Start the hosts of an inventory on this machine (HOSTS=prod)
	@$(BIN)/python -m tests.lab lab-up $(HOSTS)

lab-down: .venv/.complete ## Remove them
	@$(BIN)/python -m tests.lab lab-down $(HOSTS)

lab-test: .venv/.complete ## inventories/prod on seven hosts of the lab: deploy, scan, reboots (long)
	@PYTHONPATH=collections $(BIN)/python -m tests.proof fleet

changelog: .venv/.complete ## Write CHANGELOG.md from the fragments, at a release
	@$(BIN)/nox --session changelog

bench: .venv/.complete ## Measure against peers; results in build/bench (ONLY=stack)
	@PYTHONPATH=collections $(BIN)/python -m tests.bench $(ONLY)

proof: .venv/.complete ## The long runs; results in docs/proof
	@PYTHONPATH=collections $(BIN)/python -m tests.proof $(ONLY)

LOCK := $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --upgrade
lock: .venv/.complete ## Write the locks from pyproject.toml
	@$(LOCK) --group dev pyproject.toml -o requirements.lock
	@$(LOCK) --group artefacts -o tests/artefacts/requirements.lock
	@$(LOCK) --group security -o .github/requirements.lock

clean: ## Remove the environment and everything built
	@rm -rf .venv build dist
