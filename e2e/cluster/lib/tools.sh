# The Debian packages and the Go programs a node is made of, the CRDs that tests install, and the programs that judge what is
# rendered. Sourced by `up`.
# A program is built again when its version here, or go.mod, or the compiler changes: a stamp beside it
# tells what it was built from.

containerd_version=v2.4.2
coredns_version=v1.15.0
helm_version=v4.3.1
metrics_server_version=v0.9.0
gateway_api_version=v1.6.3
prometheus_operator_version=v0.85.0
cert_manager_version=v1.21.2
keda_version=v2.21.0
prometheus_version=v0.316.0 # of the module; Prometheus itself is 3.16.0
kubeconform_version=v0.8.0
cyclonedx_version=0.5.9
# The range that objects are judged by: the first is the minor of the chart's kubeVersion.
kubernetes_oldest=v1.33.13
kubernetes_newest=v1.37.2
go_minimum=1.26

packages() {
  local wanted="runc containernetworking-plugins buildah iptables conntrack iproute2 openssl gcc libc6-dev procps"
  local missing="" p
  for p in $wanted; do
    [ "$(dpkg-query -W -f '${db:Status-Status}' "$p" 2>/dev/null)" = installed ] || missing="$missing $p"
  done
  [ -n "$missing" ] || return 0
  # shellcheck disable=SC2086
  timed "installing Debian packages:$missing" apt_install $missing
}
apt_install() {
  export DEBIAN_FRONTEND=noninteractive
  apt-get update -qq >&2 && apt-get install -y -qq --no-install-recommends "$@" >/dev/null
}

tools() {
  go_there
  mkdir -p "$bin"
  export CGO_ENABLED=0
  local modules; modules=$(cat "$here/go.mod" "$here/go.sum" | sha256sum | cut -c1-16)
  tool kubernetes "$modules" "building Kubernetes and etcd (about 9 minutes on two cores)" build_kubernetes
  tool containerd "$containerd_version" "building containerd $containerd_version (about a minute)" build_containerd
  tool coredns "$coredns_version" "building CoreDNS $coredns_version (about a minute)" build_coredns
  tool helm "$helm_version" "building Helm $helm_version (about a minute)" build_helm
  crds
}
go_there() {
  command -v go >/dev/null || die "Go $go_minimum or newer is needed to build Kubernetes: no 'go' in PATH"
  local have; have=$(go env GOVERSION); have=${have#go}
  [ "$(printf '%s\n%s\n' "$go_minimum" "$have" | sort -V | head -1)" = "$go_minimum" ] \
    || die "Go $go_minimum or newer is needed to build Kubernetes: this is $have"
}
crds() { # what the operator makes objects of where it is there; not installed, only fetched
  mkdir -p "$bin"
  tool crds "$gateway_api_version $prometheus_operator_version $cert_manager_version $keda_version" \
    "fetching the CRDs of extensions" fetch_crds
}
metrics_server_built() {
  mkdir -p "$bin"
  export CGO_ENABLED=0
  tool metrics-server "$metrics_server_version" "building metrics-server $metrics_server_version (about 3 minutes)" build_metrics_server
}
checkers() { # what judges rendered objects; no node needs it, only the tests
  mkdir -p "$bin"
  export CGO_ENABLED=0
  local made; made=$(sha256sum <"$here/lib/schemas.sh" | cut -c1-16)
  tool kubeconform "$kubeconform_version" "building kubeconform $kubeconform_version (half a minute)" build_kubeconform
  tool schemas "$kubernetes_oldest $kubernetes_newest $made" "fetching the schemas of Kubernetes' objects" build_schemas
  tool promtool "$prometheus_version" "building promtool of Prometheus $prometheus_version (about 2 minutes)" build_promtool
  tool cyclonedx "$cyclonedx_version" "building cargo-cyclonedx $cyclonedx_version (about a minute)" build_cyclonedx
}
tool() { # tool NAME VERSION WHAT BUILD
  local stamp=$bin/.$1.stamp
  [ "$(cat "$stamp" 2>/dev/null)" = "$2" ] && return
  rm -f "$stamp"
  timed "$3" "$4"
  echo "$2" >"$stamp"
}

# `go install` refuses k8s.io/kubernetes because of its replace lines; go.mod here repeats them.
build_kubernetes() (
  cd "$here"
  version=$(go list -m -f '{{.Version}}' k8s.io/kubernetes)
  x=k8s.io/component-base/version
  go build -trimpath -o "$bin/" \
    -ldflags="-s -w -X $x.gitVersion=$version -X $x.gitMajor=1 -X $x.gitMinor=$(echo "$version" | cut -d. -f2)" \
    k8s.io/kubernetes/cmd/{kubectl,kube-apiserver,kube-controller-manager,kube-scheduler,kube-proxy,kubelet}
  go build -trimpath -ldflags="-s -w" -o "$bin/etcd" go.etcd.io/etcd/server/v3
)
go_install() { GOBIN=$bin go install -trimpath -ldflags="-s -w" "$@"; }
build_containerd() {
  local c=github.com/containerd/containerd/v2/cmd v=$containerd_version
  go_install $c/containerd@$v $c/containerd-shim-runc-v2@$v $c/ctr@$v
}
build_coredns() { go_install github.com/coredns/coredns@$coredns_version; }
fetch_crds() {
  definitions gateway-api sigs.k8s.io/gateway-api@$gateway_api_version config/crd/standard \
    gateway.networking.k8s.io_{httproutes,grpcroutes}.yaml
  definitions prometheus-operator github.com/prometheus-operator/prometheus-operator@$prometheus_operator_version \
    example/prometheus-operator-crd monitoring.coreos.com_{podmonitors,prometheusrules}.yaml
  definitions cert-manager github.com/cert-manager/cert-manager@$cert_manager_version deploy/crds \
    cert-manager.io_certificates.yaml
  definitions keda github.com/kedacore/keda/v2@$keda_version config/crd/bases keda.sh_scaledobjects.yaml
}
definitions() { # definitions NAME MODULE@VERSION DIRECTORY FILE...: files of a Go module, into the cache
  local to=$cache/crds/$1 from file; from=$(module "$2")/$3; shift 3
  rm -rf "$to"
  mkdir -p "$to"
  for file in "$@"; do install -m 644 "$from/$file" "$to/"; done
}
module() { # where Go keeps a module; it is downloaded and its hash checked
  local said; said=$(cd / && go mod download -json "$1") || { say "$said"; return 1; }
  sed -n 's/^\t"Dir": "\(.*\)",\{0,1\}$/\1/p' <<<"$said"
}
build_metrics_server() { go_install sigs.k8s.io/metrics-server/cmd/metrics-server@$metrics_server_version; }
build_helm() { go_install helm.sh/helm/v4/cmd/helm@$helm_version; }
# Without the discoveries of every cloud, which rules have no use for and which take most of the time.
build_promtool() { go_install -tags remove_all_sd github.com/prometheus/prometheus/cmd/promtool@$prometheus_version; }
build_kubeconform() { go_install github.com/yannh/kubeconform/cmd/kubeconform@$kubeconform_version; }
build_schemas() {
  local version
  rm -rf "$cache/schemas"
  for version in $kubernetes_oldest $kubernetes_newest; do schemas_of_kubernetes "$version" "$cache/schemas/$version"; done
}
build_cyclonedx() { # not optimised: it runs for a second
  cargo install -q --locked --debug --root "$cache" --target-dir "$cache/cyclonedx" "cargo-cyclonedx@$cyclonedx_version" >&2
  rm -rf "$cache/cyclonedx"
}
