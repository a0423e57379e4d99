{{/* The name of every object: the release's own, if it says what it is. */}}
{{- define "wsc-operator.fullname" -}}
{{- if contains .Chart.Name .Release.Name -}}
{{- .Release.Name | trunc 50 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name .Chart.Name | trunc 50 | trimSuffix "-" -}}
{{- end -}}
{{- end }}

{{/* What a selector uses; it never changes in a release's life. */}}
{{- define "wsc-operator.selector" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: operator
{{- end }}

{{/* What every object carries, but its component. */}}
{{- define "wsc-operator.common" -}}
app.kubernetes.io/part-of: wsc
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end }}

{{- define "wsc-operator.labels" -}}
{{ include "wsc-operator.selector" . }}
{{ include "wsc-operator.common" . }}
{{- end }}

{{/* The test's: no selector of the operator's matches them. */}}
{{- define "wsc-operator.testLabels" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: test
{{ include "wsc-operator.common" . }}
{{- end }}

{{- define "wsc-operator.serviceAccount" -}}
{{- .Values.serviceAccount.name | default (include "wsc-operator.fullname" .) -}}
{{- end }}

{{/* What belongs to external.metrics.k8s.io: Service, Secret, roles. */}}
{{- define "wsc-operator.metricsApi" -}}
{{- include "wsc-operator.fullname" . }}-metrics-api
{{- end }}

{{- define "wsc-operator.image" -}}
{{- with .Values.image -}}
{{- .repository -}}
{{- if or .tag (not .digest) }}:{{ .tag | default $.Chart.AppVersion }}{{ end -}}
{{- with .digest }}@{{ . }}{{ end -}}
{{- end -}}
{{- end }}

{{/* Who the rights are given to. */}}
{{- define "wsc-operator.subjects" -}}
- kind: ServiceAccount
  name: {{ include "wsc-operator.serviceAccount" . }}
  namespace: {{ .Release.Namespace }}
{{- end }}

{{/* What is done in the watched namespaces, without the file's comments. */}}
{{- define "wsc-operator.watchedRules" -}}
{{- .Files.Get "files/watched-rules.yaml" | fromYamlArray | toYaml -}}
{{- end }}

{{/* Pod Security "restricted", for a pod; where the platform says as whom, nothing is said of it. */}}
{{- define "wsc-operator.podSecurity" -}}
{{- $security := .Values.podSecurityContext -}}
{{- if eq .Values.podUser "Assigned" -}}
{{- $security = omit $security "runAsUser" "runAsGroup" "fsGroup" -}}
{{- end -}}
{{- toYaml $security -}}
{{- end }}

{{/* The same, for a container. */}}
{{- define "wsc-operator.containerSecurity" -}}
{{- $security := .Values.securityContext -}}
{{- if eq .Values.podUser "Assigned" -}}
{{- $security = omit $security "runAsUser" "runAsGroup" -}}
{{- end -}}
{{- toYaml $security -}}
{{- end }}

{{/* The Service of the webhook that puts gateways into pods, and the Secret of its certificate. */}}
{{- define "wsc-operator.injector" -}}
{{ include "wsc-operator.fullname" . }}-injector
{{- end }}

{{/* Its configuration: of the cluster, where a release of the same name in another namespace has one of its own. */}}
{{- define "wsc-operator.injectorConfiguration" -}}
{{ include "wsc-operator.fullname" . }}.{{ .Release.Namespace }}
{{- end }}

{{/* What the operator must know of itself. */}}
{{- define "wsc-operator.env" -}}
- name: POD_NAME
  valueFrom:
    fieldRef:
      fieldPath: metadata.name
- name: POD_NAMESPACE
  valueFrom:
    fieldRef:
      fieldPath: metadata.namespace
- name: WSC_LEASE_NAME
  value: {{ include "wsc-operator.fullname" . }}
{{- end }}

{{/* Where the operator and the test of its rights run. */}}
{{- define "wsc-operator.placement" -}}
{{- with .Values.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- with .Values.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.affinity }}
affinity:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{/* The namespaces whose gateways are looked after, as JSON; none: all. */}}
{{- define "wsc-operator.namespaces" -}}
{{- if has "*" .Values.watchNamespaces -}}
[]
{{- else -}}
{{ .Values.watchNamespaces | default (list .Release.Namespace) | toJson }}
{{- end -}}
{{- end }}

{{/* How several are spread. */}}
{{- define "wsc-operator.spread" -}}
{{- with .Values.topologySpreadConstraints -}}
{{- toYaml . -}}
{{- else -}}
{{- if gt (int .Values.replicas) 1 -}}
# On different nodes, unless only one takes them: one that is cordoned or gone does not count. Each revision for itself, so that
# an upgrade finds room.
- maxSkew: 1
  topologyKey: kubernetes.io/hostname
  whenUnsatisfiable: DoNotSchedule
  nodeTaintsPolicy: Honor
  labelSelector:
    matchLabels:
      {{- include "wsc-operator.selector" . | nindent 6 }}
  matchLabelKeys: [pod-template-hash]
- maxSkew: 1
  topologyKey: topology.kubernetes.io/zone
  whenUnsatisfiable: ScheduleAnyway
  labelSelector:
    matchLabels:
      {{- include "wsc-operator.selector" . | nindent 6 }}
  matchLabelKeys: [pod-template-hash]
{{- end -}}
{{- end -}}
{{- end }}
