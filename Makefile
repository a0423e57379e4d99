# Two commands to know: `make demo` and `make test`. With KUBECONFIG set they use that cluster, else a throw-away one.
.DEFAULT_GOAL := help
.PHONY: help demo test check bench images cli cluster-up cluster-down clean

help: ## Lists the targets.
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-13s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: ## Shows a chat that crosses gateway pods, on a real Kubernetes.
	@scripts/demo

test: ## Proves all of it: unit, integration, chart, and e2e on a cluster.
	@scripts/test

check: ## Formatting, lints, and that generated files are up to date.
	@scripts/check

bench: ## Measures the gateway beside its peers; twenty minutes, on an idle machine of two cores.
	@scripts/bench

images: ## Makes the images from local builds and loads them into the cluster (PROFILE=release for small, fast ones).
	@scripts/setup
	@scripts/images

cli: ## Installs wscctl, and the same as a plugin of kubectl, where cargo installs programs.
	@cargo install --locked --path cli
	@ln -sf wscctl "$${CARGO_INSTALL_ROOT:-$${CARGO_HOME:-$$HOME/.cargo}}/bin/kubectl-wsc"

cluster-up: ## Starts the throw-away cluster; prints its kubeconfig's path.
	@e2e/cluster/up

cluster-down: ## Ends it and removes its state; the built tools stay.
	@e2e/cluster/up down

clean: ## Removes what was built here; the throw-away cluster's tools stay in ~/.cache/wsc-cluster.
	@cargo clean
