{{/* The name of everything in the release's own namespace. */}}
{{- define "weir.name" -}}
{{- if eq .Release.Name "weir" }}weir-operator{{ else }}{{ printf "%s-weir-operator" .Release.Name | trunc 63 | trimSuffix "-" }}{{ end }}
{{- end }}

{{/* The name of what is not in a namespace, or in somebody else's. */}}
{{- define "weir.wideName" -}}
{{- printf "%s-%s" .Release.Namespace (include "weir.name" .) | trunc 63 | trimSuffix "-" }}
{{- end }}

{{- define "weir.selector" -}}
app.kubernetes.io/name: weir-operator
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "weir.labels" -}}
{{ include "weir.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/part-of: weir
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end }}

{{/* The image of a component: (list $ "operator" .Values.operator.image) */}}
{{- define "weir.image" -}}
{{- $root := index . 0 }}{{ $component := index . 1 }}{{ $own := index . 2 -}}
{{- if $own }}{{ $own }}{{ else -}}
{{ $root.Values.images.registry }}/{{ $component }}:{{ $root.Values.images.tag | default $root.Chart.AppVersion }}
{{- end }}
{{- end }}

{{/*
What the operator may do in a namespace that it looks after. It reads no Secret. What routers may
read is here too, because nobody may grant what they do not have.
*/}}
{{- define "weir.rules" -}}
- apiGroups: [weir.dev]
  resources: [slmdeployments, routepolicies]
  verbs: [get, list, watch]
- apiGroups: [weir.dev]
  resources: [slmdeployments/status, routepolicies/status]
  verbs: [patch]
# Some clusters ask this of whoever sets an owner that its deletion waits for.
- apiGroups: [weir.dev]
  resources: [slmdeployments/finalizers, routepolicies/finalizers]
  verbs: [update]
- apiGroups: [apps]
  resources: [deployments]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [""]
  resources: [services, serviceaccounts, configmaps]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [rbac.authorization.k8s.io]
  resources: [roles, rolebindings]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [networking.k8s.io]
  resources: [networkpolicies]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [policy]
  resources: [poddisruptionbudgets]
  verbs: [get, list, watch, create, patch, delete]
# An annotation has kubelets look at the list of adapters at once.
- apiGroups: [""]
  resources: [pods]
  verbs: [get, list, watch, patch]
- apiGroups: [discovery.k8s.io]
  resources: [endpointslices]
  verbs: [get, list, watch]
- apiGroups: [events.k8s.io]
  resources: [events]
  verbs: [create, patch]
{{- end }}
