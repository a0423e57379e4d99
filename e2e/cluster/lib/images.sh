# The node's image store. Sourced by `up`. There is no registry: an image is a docker-archive that someone made.

import_image() {
  alive containerd || die "the cluster is not running: start it with '$0'"
  local said; said=$(ctr -a "$run/containerd.sock" -n k8s.io images import "$1" 2>&1) || die "importing $1: $said"
}
# The two images Kubernetes itself cannot do without here: the sandbox that holds a pod's namespaces, and DNS.
# The archives are kept in the cache beside the programs.
own_images() {
  mkdir -p "$cache/images"
  local pause=$cache/images/pause.tar coredns=$cache/images/coredns-$coredns_version.tar
  [ -f "$pause" ] || timed "making the pause image" pause_image "$pause"
  [ -f "$coredns" ] || timed "making the CoreDNS image" scratch_image coredns "$bin/coredns" "$coredns"
  import_image "$pause"
  import_image "$coredns"
}
# Not part of every cluster: most tests have no use for it.
metrics_server_image() {
  local image=$cache/images/metrics-server-$metrics_server_version.tar
  mkdir -p "$cache/images"
  [ -f "$image" ] || timed "making the metrics-server image" scratch_image metrics-server "$bin/metrics-server" "$image"
  import_image "$image"
}
pause_image() {
  local d; d=$(mktemp -d)
  cat >"$d/pause.c" <<'T'
#include <signal.h>
#include <unistd.h>
static void end(int s) { (void)s; _exit(0); }
int main(void) { signal(SIGTERM, end); signal(SIGINT, end); for (;;) pause(); }
T
  gcc -static -O2 -s -o "$d/pause" "$d/pause.c"
  scratch_image pause "$d/pause" "$1"
  rm -rf "$d"
}
scratch_image() { # scratch_image NAME BINARY TAR: an image that holds one static binary
  local d; d=$(mktemp -d)
  install -m 755 "$2" "$d/$1"
  printf 'FROM scratch\nCOPY %s /%s\nENTRYPOINT ["/%s"]\n' "$1" "$1" "$1" >"$d/Dockerfile"
  buildah bud --isolation chroot --storage-driver vfs -q -t "localhost/$1:local" "$d" >/dev/null
  buildah push --storage-driver vfs -q "localhost/$1:local" "docker-archive:$3.new:localhost/$1:local" >/dev/null
  buildah rmi --storage-driver vfs "localhost/$1:local" >/dev/null 2>&1 || true
  mv "$3.new" "$3"
  rm -rf "$d"
}
