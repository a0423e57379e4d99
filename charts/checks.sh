# The checks of charts/test, by name; what they use is there. Sourced, never run.
# shellcheck shell=bash disable=SC2154

lints() {
  local mode options
  for mode in default ha namespaced alone metrics sidecars everything; do
    mapfile -t options < <(sed '/^$/d' "$out/$mode.options")
    helm lint --strict "$chart" "${options[@]}" || return 1
  done
}
default_rights() {
  holds default 'of("Role") | map(select(.metadata.name == "wsc-operator")) | length == 1 and .[0].metadata.namespace == $ns
    and (.[0].rules | rights) == $rights' --arg ns "$namespace" --argjson rights "$(rights_of watched-rules.yaml)" &&
    holds default 'map(select(.kind | startswith("Cluster"))) == []' &&
    holds default 'the("Deployment").spec.template.spec.containers[0].args | any(. == "--namespace=" + $ns)' --arg ns "$namespace"
}
cluster_wide_rights() {
  holds everywhere '(the("ClusterRole").rules | rights) == $rights' --argjson rights "$(rights_of watched-rules.yaml)"
}
namespaced_rights() {
  holds namespaced 'of("Role") | map(select(.metadata.namespace != $ns)) | map(.metadata.namespace) == ["shop", "desk"]
    and all((.rules | rights) == $rights)' --arg ns "$namespace" --argjson rights "$(rights_of watched-rules.yaml)"
}
nothing_cluster_wide() {
  holds namespaced 'map(select(.kind | startswith("Cluster"))) | length == 0' &&
    holds namespaced '[of("RoleBinding")[].roleRef.kind] | unique == ["Role"]'
}
own_rights() {
  holds everywhere '(the("Role") | .metadata.namespace == $ns and (.rules | rights) == $rights)' \
    --arg ns "$namespace" --argjson rights "$(rights_of own-rules.yaml)" &&
    holds namespaced '(of("Role") | map(select(.metadata.namespace == $ns)) | length == 1
      and (.[0].rules | rights) == $rights)' --arg ns "$namespace" --argjson rights "$(rights_of own-rules.yaml)"
}
roles() { # roles OPTION...: as helm renders them, without what every version changes
  template "$@" | awk 'BEGIN { RS = "---\n" } /\nkind: (Cluster)?Role(Binding)?\n/ { printf "---\n%s", $0 }' |
    grep -vE '^ +(helm.sh/chart|app.kubernetes.io/version):'
}
as_golden() { # as_golden NAME OPTION...: compared with the file of that name, or written to it with WSC_UPDATE=1
  local file=$here/golden/$1.yaml; shift
  roles "$@" >"$out/roles"
  grep -q '^kind: RoleBinding' "$out/roles" || { echo "no roles were rendered"; return 1; }
  [ -z "${WSC_UPDATE:-}" ] || cp "$out/roles" "$file"
  diff "$file" "$out/roles" || { echo "what is granted has changed; if it should: WSC_UPDATE=1 charts/test"; return 1; }
}
roles_everywhere() { as_golden roles-everywhere --set 'watchNamespaces={*}' --set metricsApi.enabled=true --set sidecars.enabled=true; }
roles_namespaced() { as_golden roles-namespaced --set 'watchNamespaces={shop,desk}'; }
no_secrets_cluster_wide() {
  local mode
  for mode in default namespaced everything; do
    holds "$mode" '[of("ClusterRole")[].rules[] | select(.resources | any(. == "secrets" or . == "*"))] == []' || return 1
  done
}
secrets_everywhere() {
  holds everywhere '[of("ClusterRole")[] | . as $role | .rules[] | select(.resources | any(. == "secrets"))
    | {name: $role.metadata.name, verbs: (.verbs | sort)}] as $found
    | ($found | map(.name) | unique) == ["wsc-operator"]
    and ($found | map(.verbs[]) | unique) == ["create", "get", "list", "patch", "watch"]'
}
no_metrics_api() {
  local mode
  for mode in default ha namespaced alone; do
    holds "$mode" 'all(.kind != "APIService" and .metadata.namespace != "kube-system")
      and ([.[].rules // [] | .[].apiGroups[]] | all(. != "authorization.k8s.io" and . != "apiregistration.k8s.io"))
      and (the("Deployment").spec.template.spec.containers[0].args | all(startswith("--metrics-api") | not))' || return 1
  done
}
metrics_api_rights() {
  holds metrics 'of("ClusterRole") | map(select(.metadata.name == "wsc-operator-metrics-api"))
    | length == 1 and (.[0].rules | rights) == $rights' --argjson rights "$(rights_of metrics-api-rules.yaml)" &&
    holds metrics 'of("Role") | map(select(.metadata.name == "wsc-operator-metrics-api"))
      | length == 1 and (.[0].rules | rights) == $rights and .[0].rules[0].resourceNames == ["wsc-operator-metrics-api"]
      and .[0].metadata.namespace == $ns' --arg ns "$namespace" --argjson rights "$(rights_of metrics-api-own-rules.yaml)" &&
    holds metrics 'of("RoleBinding") | map(select(.metadata.namespace == "kube-system"))
      | length == 1 and .[0].roleRef.name == "extension-apiserver-authentication-reader"'
}
metrics_api_reader() {
  holds metrics '(of("ClusterRole") | map(select(.metadata.name == "wsc-operator-metrics-api-reader")) | .[0].rules
      == [{apiGroups: ["external.metrics.k8s.io"], resources: ["wsc_gateway_connections"], verbs: ["get", "list"]}])
    and (of("ClusterRoleBinding") | map(select(.roleRef.name == "wsc-operator-metrics-api-reader")) | .[0].subjects
      == [{kind: "ServiceAccount", name: "horizontal-pod-autoscaler", namespace: "kube-system"}])'
}
metrics_api_reached() {
  holds metrics 'the("APIService").spec as $api | the("Deployment").spec.template as $pod
    | (of("Service") | map(select(.metadata.name == $api.service.name)) | .[0]) as $service
    | $api.service.namespace == "wsc-system" and $api.service.port == $service.spec.ports[0].port
    and ($api | has("caBundle") or has("insecureSkipTLSVerify") | not)
    and ($service.spec.selector | within($pod.metadata.labels))
    and ($pod.spec.containers[0] | (.ports | map(select(.name == $service.spec.ports[0].targetPort)) | .[0].containerPort) as $port
      | (.args | any(. == "--metrics-api-port=\($port)") and any(. == "--metrics-api-service=\($api.service.name)")))
    and (the("Secret") | .metadata.name == $api.service.name and (has("data") or has("stringData") | not))' &&
    holds metrics 'the("Job").spec.template.spec.containers[0].args | any(. == "--metrics-api-service=wsc-operator-metrics-api")'
}
no_injector() {
  local mode
  for mode in default ha namespaced alone; do
    holds "$mode" 'all(.kind != "MutatingWebhookConfiguration")
      and ([.[].rules // [] | .[].apiGroups[]] | all(. != "admissionregistration.k8s.io"))
      and (pods | all(.spec.containers[0].args | all(startswith("--injector") | not)))' || return 1
  done
}
injector_rights() {
  holds everything 'of("ClusterRole") | map(select(.metadata.name == "wsc-operator.wsc-system"))
      | length == 1 and (.[0].rules | rights) == $rights
      and all(.[0].rules[]; .resourceNames == ["wsc-operator.wsc-system"])' --argjson rights "$(rights_of injector-rules.yaml)" &&
    holds sidecars 'of("Role") | map(select(.metadata.name == "wsc-operator-injector")) | length == 1
      and .[0].metadata.namespace == $ns and (.[0].rules | rights) == $rights
      and all(.[0].rules[]; .resourceNames == ["wsc-operator-injector"])' \
      --arg ns "$namespace" --argjson rights "$(rights_of injector-own-rules.yaml)"
}
injector_reached() {
  holds sidecars 'the("MutatingWebhookConfiguration") as $configuration | $configuration.webhooks[0].clientConfig as $client
    | the("Deployment").spec.template as $pod
    | (of("Service") | map(select(.metadata.name == $client.service.name)) | .[0]) as $service
    | $client.service.namespace == "wsc-system" and $client.service.path == "/inject"
    and $client.service.port == $service.spec.ports[0].port and ($client | has("caBundle") or has("url") | not)
    and ($service.spec.selector | within($pod.metadata.labels))
    and ($pod.spec.containers[0] | (.ports | map(select(.name == $service.spec.ports[0].targetPort)) | .[0].containerPort) as $port
      | (.args | any(. == "--injector-port=\($port)") and any(. == "--injector-service=\($client.service.name)")
        and any(. == "--injector-configuration=\($configuration.metadata.name)")))
    and (the("Secret") | .metadata.name == $client.service.name and (has("data") or has("stringData") | not))' &&
    holds sidecars 'the("Job").spec.template.spec.containers[0].args | any(. == "--injector-service=wsc-operator-injector")'
}
injector_asked() {
  holds sidecars 'the("MutatingWebhookConfiguration").webhooks | length == 1 and (.[0]
    | .rules == [{apiGroups: [""], apiVersions: ["v1"], operations: ["CREATE"], resources: ["pods"], scope: "Namespaced"}]
    and .failurePolicy == "Fail" and .reinvocationPolicy == "IfNeeded" and .sideEffects == "None" and .timeoutSeconds == 5
    and .objectSelector.matchExpressions == [{key: "wsc.dev/gateway", operator: "Exists"},
      {key: "app.kubernetes.io/managed-by", operator: "NotIn", values: ["wsc-operator"]}]
    and (has("namespaceSelector") | not))' &&
    holds everything 'the("MutatingWebhookConfiguration").webhooks[0].namespaceSelector.matchExpressions
      == [{key: "kubernetes.io/metadata.name", operator: "In", values: ["shop"]}]'
}
no_wildcard() {
  in_every_mode '[.[].rules // [] | .[] | (.apiGroups + .resources + .verbs + (.nonResourceURLs // []))[]]
    | length > 0 and all(contains("*") | not)'
}
bindings() {
  in_every_mode '. as $all | (pods[0].spec.serviceAccountName) as $account
    | map(select(.kind | endswith("Binding")))
    | map(select(.roleRef.name | (. == "extension-apiserver-authentication-reader" or endswith("-metrics-api-reader")) | not))
    | length > 0 and all(. as $binding
      | ([.subjects[] | [.kind, .name, .namespace]] == [["ServiceAccount", $account, "wsc-system"]])
      and ($all | any(.kind == $binding.roleRef.kind and .metadata.name == $binding.roleRef.name
        and .metadata.namespace == $binding.metadata.namespace)))'
}
restricted() { # https://kubernetes.io/docs/concepts/security/pod-security-standards/#restricted
  in_every_mode 'pods | length == 2 and all(.spec
    | (.securityContext | .runAsNonRoot == true and .runAsUser != 0 and .seccompProfile.type == "RuntimeDefault")
    and ([.hostNetwork, .hostPID, .hostIPC] | all(. != true))
    and ([.volumes // [] | .[] | has("hostPath")] | any | not)
    and (.containers + (.initContainers // []) | all(.securityContext
      | .allowPrivilegeEscalation == false and .capabilities == {drop: ["ALL"]} and .privileged != true)))'
}
users() {
  local mode
  for mode in default ha; do holds "$mode" 'pods | all(.spec.securityContext | .runAsUser == 65532 and .runAsGroup == 65532)' || return 1; done
  rendered assigned --set podUser=Assigned --set podSecurityContext.fsGroup=1 &&
    holds assigned '[.. | objects | select(has("runAsUser") or has("runAsGroup") or has("fsGroup"))] == []' &&
    holds assigned 'the("Deployment").spec.template.spec.containers[0].args | any(. == "--pod-user=assigned")' &&
    rendered fields --set podSecurityContext.runAsUser=null --set securityContext.runAsUser=1000 --set podSecurityContext.fsGroup=2000 &&
    holds fields 'pods | all(.spec | (.securityContext == {runAsNonRoot: true, runAsGroup: 65532, fsGroup: 2000, seccompProfile: {type: "RuntimeDefault"}})
      and (.containers[0].securityContext | .runAsUser == 1000 and .allowPrivilegeEscalation == false))'
}
containers_bounded() {
  in_every_mode 'pods | all(.spec.containers | all(.securityContext.readOnlyRootFilesystem == true
    and .resources.requests.cpu != null and .resources.requests.memory != null and .resources.limits.memory != null))'
}
tokens() {
  holds default '(the("ServiceAccount").automountServiceAccountToken == false)
    and (pods | all(.spec.automountServiceAccountToken == true and .spec.enableServiceLinks == false))'
}
budget() {
  holds default 'of("PodDisruptionBudget") | length == 0' &&
    holds ha 'the("Deployment") as $operator | the("PodDisruptionBudget").spec
      | .maxUnavailable == 1 and .selector == $operator.spec.selector'
}
spread() {
  holds default 'the("Deployment").spec.template.spec | has("topologySpreadConstraints") | not' &&
    holds ha 'the("Deployment").spec as $operator | $operator.template.spec
      | (.topologySpreadConstraints | map([.topologyKey, .whenUnsatisfiable]) == [["kubernetes.io/hostname", "DoNotSchedule"],
          ["topology.kubernetes.io/zone", "ScheduleAnyway"]]
        and .[0].nodeTaintsPolicy == "Honor"
        and all(.labelSelector == $operator.selector and .matchLabelKeys == ["pod-template-hash"] and .maxSkew == 1))
      and (.tolerations | map([.key, .effect, .tolerationSeconds]) == [["node.kubernetes.io/not-ready", "NoExecute", 30],
          ["node.kubernetes.io/unreachable", "NoExecute", 30]])
      and (.containers[0].args | any(. == "--leader-election"))' &&
    holds everything 'the("Deployment").spec.template.spec.topologySpreadConstraints
      == [{maxSkew: 2, topologyKey: "example.com/rack", whenUnsatisfiable: "ScheduleAnyway"}]'
}
grace() { # what the operator says that it takes, and what it is answering then
  local spreads goodbye
  spreads=$(sed -n 's/^const SPREADS_WITHIN: Duration = Duration::from_secs(\([0-9]*\));/\1/p' "$here/../operator/src/stopping.rs")
  goodbye=$(sed -n 's/^const GOODBYE: Duration = Duration::from_secs(\([0-9]*\));/\1/p' "$here/../operator/src/listener.rs")
  in_every_mode "the(\"Deployment\").spec.template.spec.terminationGracePeriodSeconds > $spreads + $goodbye"
}
digests() {
  local digest said; digest=sha256:$(printf 'a%.0s' {1..64})
  image() { template "$@" | sed -n 's/^ *image: "\(.*\)"/\1/p' | sort -u; }
  said=$(image --set image.digest="$digest"; image --set image.digest="$digest" --set-string image.tag=1; image --set-string image.tag=1)
  [ "$said" = "wsc-operator@$digest
wsc-operator:1@$digest
wsc-operator:1" ] || { echo "$said"; return 1; }
  template --set gatewayImage=registry.example/gateway@"$digest" | grep -qF -- "--gateway-image=registry.example/gateway@$digest"
}
test_not_selected() {
  holds ha 'the("Deployment").spec.template.metadata.labels as $operator
    | the("Job").spec.template.metadata.labels as $test
    | [the("Deployment").spec.selector.matchLabels, the("PodDisruptionBudget").spec.selector.matchLabels,
       the("Service").spec.selector] | all(within($operator) and (within($test) | not))'
}
test_asks_the_same() {
  in_every_mode 'the("Deployment").spec.template.spec as $operator | the("Job") as $job | $job.spec.template.spec
    | $job.metadata.annotations["helm.sh/hook"] == "test" and .containers[0].args[0] == "check"
    and (.serviceAccountName == $operator.serviceAccountName) and (.containers[0].image == $operator.containers[0].image)
    and ([.containers[0].args[] | select(startswith("--namespace"))]
      == [$operator.containers[0].args[] | select(startswith("--namespace"))])
    and (.containers[0].env == $operator.containers[0].env)'
}
monitored() {
  holds default 'of("PodMonitor") | length == 0' &&
    holds everything 'the("Deployment").spec.template as $pod | the("Job").spec.template.metadata.labels as $test | the("PodMonitor")
      | .metadata.labels.release == "prometheus" and (.spec.selector.matchLabels | within($pod.metadata.labels) and (within($test) | not))
      and (.spec.podMetricsEndpoints == [{port: "admin", path: "/metrics", interval: "15s"}])
      and ($pod.spec.containers[0].ports | any(.name == "admin"))' &&
    holds everything 'the("PrometheusRule") | .metadata.labels.release == "prometheus" and ([.spec.groups[].rules[].alert] | any(. == "WscPodsNotInjected"))' &&
    ! template --set monitor.enabled=true | grep -qE 'interval|WscPodsNotInjected' &&
    ! template --set monitor.enabled=true --set monitor.alerts=false | grep -q PrometheusRule
}
closed() {
  local named='networkPolicy.metrics[0].podSelector.matchLabels.app=prometheus'
  holds default 'of("NetworkPolicy") | length == 0' &&
    holds everything 'the("Deployment") as $operator | the("NetworkPolicy").spec
      | .podSelector == $operator.spec.selector and .policyTypes == ["Ingress"] and (.ingress | length == 2
        and .[0] == {from: [{namespaceSelector: {matchLabels: {"kubernetes.io/metadata.name": "monitoring"}}}], ports: [{port: "admin", protocol: "TCP"}]}
        and .[1] == {ports: [{port: "metrics-api", protocol: "TCP"}, {port: "injector", protocol: "TCP"}]})' &&
    # Without a peer there is no rule; `from: []` would let everybody in.
    rendered closed --set networkPolicy.enabled=true && holds closed 'the("NetworkPolicy").spec.ingress == []' &&
    rendered named --set networkPolicy.enabled=true --set "$named" &&
    holds named 'the("NetworkPolicy").spec.ingress | length == 1 and .[0].from == [{podSelector: {matchLabels: {app: "prometheus"}}}]'
}
alone_recreates() {
  holds alone 'the("Deployment").spec | .strategy == {type: "Recreate"}
    and (.template.spec.containers[0].args | all(startswith("--leader-election") | not))' &&
    holds default 'the("Deployment").spec | .strategy.rollingUpdate == {maxSurge: 1, maxUnavailable: 0}
      and (.template.spec.containers[0].args | any(. == "--leader-election"))'
}
ports() {
  holds default 'the("Service").spec.ports[0] as $service | the("Deployment").spec.template.spec.containers[0]
    | .ports[0].containerPort as $port | (.args | any(. == "--admin-port=\($port)"))
    and ([.livenessProbe.httpGet, .readinessProbe.httpGet] | map([.path, .port])
      == [["/livez", "admin"], ["/readyz", "admin"]])
    and .ports[0].name == "admin" and $service.targetPort == "admin" and $service.port == $port' &&
    ! template --set metricsService.enabled=false | grep -q '^kind: Service$'
}
flags_known() { # the operator says so itself only once it runs; this is for a renamed flag, before anything is built
  local cli=$here/../operator/src/cli.rs flag
  for flag in $(jq -r "$prelude"' pods[].spec.containers[].args[] | select(startswith("--")) | sub("=.*"; "") | ltrimstr("--")' "$out/everything.json"); do
    grep -qE "^ +pub ${flag//-/_}:|long = \"$flag\"" "$cli" || { echo "--$flag is not in $cli"; return 1; }
  done
}
everything_arrives() {
  holds everything 'the("Deployment").spec | .replicas == 3 and .template.metadata.annotations == {"example.com/note": "a note"}
    and (.template.spec.containers[0] | .image == "registry.example:5000/team/operator:9.9.9@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
      and .imagePullPolicy == "Always"
      and .resources == {requests: {cpu: "1", memory: "1Gi"}, limits: {cpu: "2", memory: "2Gi"}}
      and (.args | sort) == (["--admin-port=9100", "--log-level=info,wsc_operator=debug", "--log-format=text", "--otlp-endpoint=http://collector.monitoring:4317",
        "--gateway-image=registry.example/gateway:1", "--redis-image=registry.example/redis:2", "--pod-user=assigned", "--leader-election",
        "--metrics-service=wsc-operator-metrics", "--metrics-api-port=9443",
        "--metrics-api-service=wsc-operator-metrics-api", "--injector-service=wsc-operator-injector",
        "--injector-configuration=wsc-operator.wsc-system", "--injector-port=9444", "--namespace=shop"] | sort))' &&
    holds everything 'pods | all(.spec | .serviceAccountName == "given" and .imagePullSecrets == [{name: "pull"}]
      and .nodeSelector == {"kubernetes.io/os": "linux"} and .tolerations[0].key == "spot"
      and (.affinity | has("nodeAffinity")) and .priorityClassName == "system-cluster-critical"
      and .securityContext == {runAsNonRoot: true, seccompProfile: {type: "RuntimeDefault"}, fsGroupChangePolicy: "OnRootMismatch"}
      and .containers[0].securityContext.runAsNonRoot == true)' &&
    holds everything '(of("ServiceAccount") | length == 0)
      and (of("Service") | map(select(.metadata.name == "wsc-operator-metrics")) | .[0].metadata.annotations
        == {"prometheus.io/scrape": "true"})' &&
    holds default 'pods | all(.spec.containers[0].image == "wsc-operator:0.1.0")'
}
in_their_namespace() {
  in_every_mode 'map(select(.kind | startswith("Cluster") or . == "APIService" or . == "MutatingWebhookConfiguration" | not) | select(.metadata.namespace != "wsc-system"))
    | all(.kind == "Role" or .kind == "RoleBinding")' &&
    holds default 'map(select(.kind | startswith("Cluster") | not)) | all(.metadata.namespace == "wsc-system")'
}
other_release() {
  local said
  said=$(helm template blue "$chart" --namespace "$namespace" | json | jq -c '[.[].metadata.name] | all(startswith("blue-wsc-operator"))')
  [ "$said" = true ] || { echo "$said"; return 1; }
}
value_keys() { # the schema has every key, and Helm compares it with values.yaml
  jq -r '.properties | del(.global) | to_entries[] | .key as $key | (.value.properties // {} | keys) as $inner
    | if ($key == "affinity" or $key == "resources" or ($key | endswith("ecurityContext")) or $inner == []) then $key else $inner[] | "\($key).\(.)" end' \
    "$chart/values.schema.json" | sort
}
readme_table() {
  diff <(sed -n 's/^| `\([A-Za-z.]*\)` .*/\1/p' "$chart/README.md" | sort) <(value_keys)
}
installed() { helm install "$release" "$chart" --namespace "$namespace" --dry-run=client -o json "$@"; }
each_value_matters() { # put back to its default among all that differ, or the other way round where it does not differ
  local key default value defaults values count=0
  defaults=$(installed | jq .chart.values) values=$(installed --values "$out/everything.values.yaml" | jq .config)
  for key in $(value_keys); do
    count=$((count + 1))
    default=$(jq -c --arg key "$key" 'getpath($key / ".")' <<<"$defaults")
    value=$(jq -c --arg key "$key" --argjson default "$default" 'getpath($key / ".")
      | if . == null or . == $default then $default | not else $default end' <<<"$values")
    case $key in
      # One that is not made is needed in the other mode, and several replicas need an election.
      serviceAccount.name) template --set serviceAccount.name=given >"$out/one.yaml"; cp "$out/default.yaml" "$out/other.yaml" ;;
      leaderElection) cp "$out/alone.yaml" "$out/one.yaml"; cp "$out/default.yaml" "$out/other.yaml" ;;
      *) template --values "$out/everything.values.yaml" --set-json "$key=$value" >"$out/one.yaml" || return 1
        cp "$out/everything.yaml" "$out/other.yaml" ;;
    esac
    ! cmp -s "$out/one.yaml" "$out/other.yaml" || { echo "$key: $value changes nothing"; return 1; }
  done
  [ $count -gt 25 ] || { echo "only $count values"; return 1; }
}
templates_rendered() {
  diff <(cd "$chart" && find templates -name '*.yaml' | sort) \
    <(sed -n "s/^# Source: wsc-operator\///p" "$out"/{default,ha,everywhere,namespaced,everything}.yaml | grep ^templates/ | sort -u)
}
notes() {
  local said; said=$(installed | jq -r .info.notes)
  grep -q "looks after the WebSocketGateways of wsc-system" <<<"$said" && grep -q "helm test wsc-operator --namespace wsc-system" <<<"$said" \
    && grep -q "kubectl get wsg --namespace wsc-system" <<<"$said" || { echo "$said"; return 1; }
  said=$(installed --set 'watchNamespaces={*}' | jq -r .info.notes)
  grep -q "of all namespaces" <<<"$said" && grep -q "kubectl get wsg --all-namespaces" <<<"$said" || { echo "$said"; return 1; }
  said=$(installed --set 'watchNamespaces={shop,desk}' | jq -r .info.notes)
  grep -q "of shop, desk" <<<"$said" && grep -q "kubectl apply --namespace shop -f -" <<<"$said" || { echo "$said"; return 1; }
}
notes_warn() {
  local said on placed=(--set image.repository=registry.example/operator --set gatewayImage=registry.example/gateway:1)
  for on in sidecars metricsApi; do
    said=$(installed "${placed[@]}" --set $on.enabled=true | jq -r .info.notes)
    [ "$(grep -c "WARNING: watchNamespaces is empty.* in wsc-system alone" <<<"$said")" = 1 ] || { echo "$on: $said"; return 1; }
    said=$(installed "${placed[@]}" --set $on.enabled=true --set 'watchNamespaces={shop}' | jq -r .info.notes)
    ! grep -q WARNING <<<"$said" || { echo "$on: $said"; return 1; }
  done
  said=$(installed "${placed[@]}" | jq -r .info.notes)
  ! grep -q WARNING <<<"$said" || { echo "$said"; return 1; }
}
notes_of_images() {
  local said
  said=$(installed | jq -r .info.notes)
  grep -q "WARNING: image.repository and gatewayImage name no registry" <<<"$said" || { echo "$said"; return 1; }
  said=$(installed --set image.repository=registry.example/operator | jq -r .info.notes)
  grep -q "WARNING: gatewayImage names no registry" <<<"$said" || { echo "$said"; return 1; }
}
notes_of_uninstall() {
  local said
  said=$(installed --set sidecars.enabled=true | jq -r .info.notes)
  grep -q '^`helm uninstall` takes away the operator, its rights, the webhook .* It leaves the CRD,$' <<<"$said" &&
    grep -q "kubectl delete wsg --all --namespace wsc-system$" <<<"$said" &&
    grep -q "kubectl delete crd websocketgateways.wsc.dev; kubectl delete lease wsc-operator --namespace wsc-system" <<<"$said" || { echo "$said"; return 1; }
  said=$(installed --set 'watchNamespaces={shop,desk}' | jq -r .info.notes)
  grep -q "wsg --all --namespace shop; kubectl delete wsg --all --namespace desk$" <<<"$said" || { echo "$said"; return 1; }
  in_every_mode 'all(.metadata.annotations // {} | has("helm.sh/resource-policy") | not)'
}
readme_installs() { # as the root README does
  local file
  for file in "$chart/README.md" "$here/../README.md" "$here/../docs/operations.md"; do
    awk '/^helm install/, !/\\$/' "$file" | tr -d '\\\n' | grep -E 'set image.repository=[a-z.]+/\S+ .*--set gatewayImage=[a-z.]+/' || { echo "$file: no images"; return 1; }
  done
}
annotations() {
  local said crd; crd=$(json <"$chart/crds/websocketgateways.yaml" | jq -c '.[0] | [.spec.names.kind, .spec.versions[0].name, .metadata.name]')
  said=$(sed -n '/artifacthub.io.crds: |/,/displayName/s/^ *\(- \)\{0,1\}\(kind\|version\|name\): //p' "$chart/Chart.yaml" | jq -Rsc 'split("\n")[:-1]')
  [ "$said" = "$crd" ] || { echo "$said is not $crd"; return 1; }
  grep -qx "  artifacthub.io/license: $(sed -n 's/^license = "\(.*\)"/\1/p' "$here/../Cargo.toml")" "$chart/Chart.yaml" || { echo "the licence is another"; return 1; }
  said=$(sed -n 's/^ *image: \(redis:.*\)/\1/p' "$chart/Chart.yaml")
  grep -qF "default_value = \"$said\"" "$here/../operator/src/cli.rs" || { echo "the operator's Redis is not $said"; return 1; }
  # The kinds that Artifact Hub knows.
  ! sed -n '/artifacthub.io.changes: |/,/^  [a-z]/s/^    - kind: //p' "$chart/Chart.yaml" | grep -vxE 'added|changed|deprecated|removed|fixed|security'
}
capability_levels() { # [`BINARY::FILE::NAME`](../PATH): a test of this name in this file; [`PATH`](../PATH): a script
  local page=$here/../docs/capability-levels.md proof file name count=0
  while read -r proof file; do
    count=$((count + 1))
    if [ "$proof" = "$file" ]; then
      [ -x "$here/../$file" ] || { echo "$file is no script"; return 1; }
      continue
    fi
    name=${proof##*::}
    [[ ${file//\//::} == *::tests::${proof%::*}.rs ]] || { echo "$proof does not name $file"; return 1; }
    awk -v name="$name" '
      /^#\[((tokio::)?test)/ { test = 1; next }
      test && /^ *(#|\/\/)/ { next }
      test { if ($0 ~ "^(async )?fn " name "\\(") found = 1; test = 0 }
      END { exit !found }' "$here/../$file" || { echo "$name is no test in $file"; return 1; }
  done < <(grep -o '\[`[^`]*`\](\.\./[^)]*)' "$page" | sed 's/^\[`\(.*\)`\](\.\.\/\(.*\))$/\1 \2/')
  [ "$count" -gt 15 ] || { echo "only $count proofs"; return 1; }
  grep -qF "**The level that is claimed: $(sed -n 's/^ *artifacthub.io.operatorCapabilities: //p' "$chart/Chart.yaml").**" "$page" || { echo "the chart claims another level"; return 1; }
}
versions() {
  local version
  version=$(sed -n '/^\[workspace.package\]/,/^\[/s/^version = "\(.*\)"/\1/p' "$here/../Cargo.toml")
  [ -n "$version" ] || { echo "no version in Cargo.toml"; return 1; }
  [ "$(grep -cxE "(version|appVersion): $version" "$chart/Chart.yaml")" = 2 ] || { echo "is not $version"; return 1; }
  ! grep -E 'image: wsc-' "$chart/Chart.yaml" | grep -vF ":$version"
}
