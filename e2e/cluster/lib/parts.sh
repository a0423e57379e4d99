# The processes of the cluster: started in the background, one pid file and one log each. Sourced by `up`.
# A part counts as running only if its process still has this run's directory in its arguments: process ids are
# given out anew after a crash or a reboot, and a stale pid file must neither pass for a running part nor
# get a stranger killed.

parts="etcd apiserver kcm sched containerd kubelet proxy"
etcd_url=http://127.0.0.1:12379 # not 2379: Debian's etcd may sit there
api_port=6443

boot_id() { cat /proc/sys/kernel/random/boot_id; }
pid_of() { cat "$run/$1.pid" 2>/dev/null; }
alive() {
  local p; p=$(pid_of "$1") && [ -n "$p" ] || return 1
  grep -qaF "$run/" "/proc/$p/cmdline" 2>/dev/null
}
healthy() {
  local c
  for c in $parts; do alive "$c" || return 1; done
  kubectl get --raw /readyz >/dev/null 2>&1
}
start() { # start NAME COMMAND...
  local n=$1; shift
  setsid "$@" >"$run/log/$n.log" 2>&1 </dev/null 9>&- & echo $! >"$run/$n.pid"
}
stop() { # ask, wait five seconds, insist
  alive "$1" || return 0
  local p; p=$(pid_of "$1")
  kill "$p" 2>/dev/null || return 0
  for _ in $(seq 50); do gone "$p" && return; sleep 0.1; done
  kill -9 "$p" 2>/dev/null || true
}
gone() { [ ! -d "/proc/$1" ] || grep -q '^State:.Z' "/proc/$1/status" 2>/dev/null; }
until_true() { # until_true SECONDS WHAT COMMAND...
  local seconds=$1 what=$2; shift 2
  for _ in $(seq "$((seconds * 2))"); do "$@" >/dev/null 2>&1 && return; sleep 0.5; done
  tail -n 5 "$run"/log/*.log >&2 || true
  die "gave up waiting $seconds s for $what; the logs are in $run/log"
}
port_free() {
  ! (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null || die "port $1 of this machine is in use: is another Kubernetes running?"
}

start_control_plane() {
  local p=$run/pki
  port_free $api_port; port_free 10250; port_free "${etcd_url##*:}"
  start etcd etcd --data-dir "$run/etcd" --listen-client-urls $etcd_url --advertise-client-urls $etcd_url \
    --listen-peer-urls http://127.0.0.1:12380 --unsafe-no-fsync
  start apiserver kube-apiserver --etcd-servers=$etcd_url --secure-port=$api_port --cert-dir="$p" \
    --service-cluster-ip-range=10.96.0.0/16 --allow-privileged=true \
    --token-auth-file="$p/tokens.csv" --authorization-mode=Node,RBAC --enable-admission-plugins=NodeRestriction \
    --service-account-issuer=https://kubernetes.default.svc \
    --service-account-signing-key-file="$p/sa.key" --service-account-key-file="$p/sa.key" \
    --kubelet-preferred-address-types=InternalIP \
    --kubelet-client-certificate="$p/kubelet-client.crt" --kubelet-client-key="$p/kubelet-client.key" \
    --enable-aggregator-routing --proxy-client-cert-file="$p/front-proxy.crt" --proxy-client-key-file="$p/front-proxy.key" \
    --requestheader-client-ca-file="$p/ca.crt" --requestheader-allowed-names=front-proxy \
    --requestheader-username-headers=X-Remote-User --requestheader-group-headers=X-Remote-Group \
    --requestheader-extra-headers-prefix=X-Remote-Extra-
  until_true 60 "the API server" kubectl get --raw /readyz
  start kcm kube-controller-manager --kubeconfig="$p/kcm.kubeconfig" --leader-elect=false \
    --service-account-private-key-file="$p/sa.key" --root-ca-file="$p/apiserver.crt" \
    --use-service-account-credentials --allocate-node-cidrs --cluster-cidr=10.244.0.0/16 \
    --horizontal-pod-autoscaler-sync-period=5s
  start sched kube-scheduler --kubeconfig="$p/sched.kubeconfig" --leader-elect=false
}

start_node() {
  local node_ip; node_ip=$(hostname -I | awk '{print $1}')
  [ -n "$node_ip" ] || die "this machine has no address: a kubelet refuses to run on loopback alone"
  render containerd.toml "$run/containerd.toml"
  render bridge.conflist "$run/cni/10-bridge.conflist"
  render kubelet.yaml "$run/kubelet.yaml"
  start containerd containerd --config "$run/containerd.toml"
  until_true 30 "containerd" ctr -a "$run/containerd.sock" version
  own_images
  start kubelet kubelet --config="$run/kubelet.yaml" --kubeconfig="$run/pki/kubelet.kubeconfig" \
    --hostname-override=node-1 --root-dir="$run/kubelet" --node-ip="$node_ip"
  start proxy kube-proxy --kubeconfig="$run/pki/proxy.kubeconfig" --cluster-cidr=10.244.0.0/16 \
    --hostname-override=node-1 --conntrack-max-per-core=0
}
render() { # the kubelet knows cgroup v1 only when told so
  local v1=true
  [ -f /sys/fs/cgroup/cgroup.controllers ] && v1=false
  sed -e "s#@RUN@#$run#g" -e "s#@ALLOW_CGROUP_V1@#$v1#g" "$here/config/$1" >"$2"
}

# Order matters: the kubelet first, or it starts again what we stop; containerd after its tasks, or they
# are orphaned; mounts after the processes that hold them.
down() {
  [ -d "$run" ] || return 0
  if [ "$(cat "$run/boot_id" 2>/dev/null)" = "$(boot_id)" ]; then
    local c t
    for c in proxy kubelet; do stop $c; done
    if alive containerd; then
      for t in $(timeout 10 ctr -a "$run/containerd.sock" -n k8s.io tasks ls -q 2>/dev/null); do
        timeout 5 ctr -a "$run/containerd.sock" -n k8s.io tasks kill -a -s KILL "$t" >/dev/null 2>&1 || true
      done
    fi
    for c in containerd sched kcm apiserver etcd; do stop $c; done
    leftovers
  fi
  rm -rf "$run"
}
leftovers() { # what outlives the parts, also when they were killed and could not clean up
  local p m
  for p in /proc/[0-9]*; do # shims and what runs under them: their arguments or their mounts name this run
    p=${p#/proc/}
    { grep -qaF "$run/containerd" "/proc/$p/cmdline" || grep -qF "$run/containerd/" "/proc/$p/mountinfo"; } 2>/dev/null || continue
    in_pod_or_shim "$p" && kill -9 "$p" 2>/dev/null || true
  done
  for _ in 1 2 3; do
    awk -v r="$run/" 'index($2, r) == 1 {print $2}' /proc/mounts | sort -r | while read -r m; do umount -l "$m" 2>/dev/null || true; done
  done
  ip link delete cni0 2>/dev/null || true
  [ ! -x "$bin/kube-proxy" ] || timeout 20 kube-proxy --cleanup >/dev/null 2>&1 || true
  find /sys/fs/cgroup -depth -type d -path '*/kubepods*' -exec rmdir {} + 2>/dev/null || true
}
# A process of the host sees the run's mounts in its own mount table too: only a shim, by its arguments, or a process of
# a kubepods cgroup is ours to end.
in_pod_or_shim() {
  grep -qaF "$run/containerd.sock" "/proc/$1/cmdline" 2>/dev/null || grep -q kubepods "/proc/$1/cgroup" 2>/dev/null
}
