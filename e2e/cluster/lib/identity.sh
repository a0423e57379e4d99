# Who is who in the cluster: one CA for client certificates, one random token per component. Sourced by `up`.
# All of it is made anew for each run and lies in a directory only root can read. Nothing here is meant for a
# cluster that outlives a test.

identities() {
  local p=$run/pki
  openssl genrsa -out "$p/sa.key" 2048 2>/dev/null
  openssl req -x509 -newkey rsa:2048 -nodes -days 365 -subj /CN=throw-away -keyout "$p/ca.key" -out "$p/ca.crt" 2>/dev/null
  certificate front-proxy /CN=front-proxy                         # how aggregated API servers know the API server
  certificate kubelet-client /O=system:masters/CN=kube-apiserver  # how the kubelet knows it
  : >"$p/tokens.csv"
  account admin admin system:masters
  account kubelet system:node:node-1 system:nodes
  account kcm system:kube-controller-manager ""
  account sched system:kube-scheduler ""
  account proxy system:kube-proxy system:node-proxier
}
certificate() { # certificate NAME SUBJECT
  local p=$run/pki
  openssl req -newkey rsa:2048 -nodes -subj "$2" -keyout "$p/$1.key" -out "$p/$1.csr" 2>/dev/null
  printf 'extendedKeyUsage=clientAuth\n' >"$p/$1.ext"
  openssl x509 -req -in "$p/$1.csr" -CA "$p/ca.crt" -CAkey "$p/ca.key" -CAcreateserial -days 365 \
    -extfile "$p/$1.ext" -out "$p/$1.crt" 2>/dev/null
}
account() { # account FILE USER GROUP
  local token; token=$(openssl rand -hex 16)
  echo "$token,$2,$1${3:+,$3}" >>"$run/pki/tokens.csv"
  cat >"$run/pki/$1.kubeconfig" <<T
apiVersion: v1
kind: Config
clusters: [{name: throw-away, cluster: {server: "https://127.0.0.1:$api_port", insecure-skip-tls-verify: true}}]
users: [{name: $1, user: {token: $token}}]
contexts: [{name: wsc-throw-away, context: {cluster: throw-away, user: $1}}]
current-context: wsc-throw-away
T
}
