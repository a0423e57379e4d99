# What the scripts share: where things are, and which cluster is meant. Sourced, never run.

root=$(cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/.." && pwd)
target=${CARGO_TARGET_DIR:-$root/target}
cluster_run=${CLUSTER_RUN:-/var/tmp/wsc-cluster}
# The throw-away cluster brings kubectl and helm; the user's own come first.
export PATH=$PATH:${CLUSTER_CACHE:-$HOME/.cache/wsc-cluster}/bin

say() { printf '%s\n' "$*" >&2; }
die() { say "$(basename "$0"): $*"; exit 1; }

# The cluster: KUBECONFIG decides; without it, it is the throw-away one.
throw_away() { [ -z "${KUBECONFIG:-}" ] || [ "$KUBECONFIG" = "$cluster_run/pki/admin.kubeconfig" ]; }
use_cluster() { ! throw_away || export KUBECONFIG=$cluster_run/pki/admin.kubeconfig; }
cluster_runs() { KUBECONFIG=$cluster_run/pki/admin.kubeconfig kubectl get --raw /readyz >/dev/null 2>&1; }
