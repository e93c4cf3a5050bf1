{{- define "cdn-issuer.name" -}}
{{ .Values.nameOverride | default .Chart.Name | trunc 50 | trimSuffix "-" }}
{{- end }}

{{/* Names every object, and the Lease. */}}
{{- define "cdn-issuer.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{ .Values.fullnameOverride | trunc 50 | trimSuffix "-" }}
{{- else -}}
{{- $name := include "cdn-issuer.name" . -}}
{{- if contains $name .Release.Name -}}
{{ .Release.Name | trunc 50 | trimSuffix "-" }}
{{- else -}}
{{ printf "%s-%s" .Release.Name $name | trunc 50 | trimSuffix "-" }}
{{- end -}}
{{- end -}}
{{- end }}

{{/* Names what is outside the release's namespace, so that releases of one name in two namespaces share nothing. */}}
{{- define "cdn-issuer.globalName" -}}
{{- $name := include "cdn-issuer.fullname" . -}}
{{- if eq .Release.Namespace (printf "%s-system" $name) -}}
{{ $name }}
{{- else -}}
{{ .Release.Namespace }}:{{ $name }}
{{- end -}}
{{- end }}

{{- define "cdn-issuer.serviceAccountName" -}}
{{- if .Values.serviceAccount.create -}}
{{ .Values.serviceAccount.name | default (include "cdn-issuer.fullname" .) }}
{{- else -}}
{{ .Values.serviceAccount.name | required "serviceAccount.name is needed where serviceAccount.create is false" }}
{{- end -}}
{{- end }}

{{- define "cdn-issuer.clusterResourceNamespace" -}}
{{ .Values.clusterResourceNamespace | default .Release.Namespace }}
{{- end }}

{{- define "cdn-issuer.image" -}}
{{ .Values.image.repository }}
{{- if .Values.image.digest -}}
@{{ .Values.image.digest }}
{{- else -}}
:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end -}}
{{- end }}

{{- define "cdn-issuer.selector" -}}
app.kubernetes.io/name: {{ include "cdn-issuer.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "cdn-issuer.labels" -}}
{{ include "cdn-issuer.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- with .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "cdn-issuer.subject" -}}
- kind: ServiceAccount
  name: {{ include "cdn-issuer.serviceAccountName" . }}
  namespace: {{ .Release.Namespace }}
{{- end }}

{{/* What the controller may do where it serves requests and CDNIssuers. */}}
{{- define "cdn-issuer.rules" -}}
{{- $cluster := and .Values.scope.clusterIssuers (not .Values.scope.namespaces) -}}
- apiGroups: [cert-manager.io]
  resources: [certificaterequests]
  verbs: [get, list, watch]
- apiGroups: [cert-manager.io]
  resources: [certificaterequests/status]
  verbs: [patch]
{{- if .Values.cleanup.enabled }}
- apiGroups: [cert-manager.io]
  resources: [certificaterequests]
  verbs: [delete]
{{- end }}
{{- if or .Values.recovery.enabled .Values.failback.enabled }}
- apiGroups: [cert-manager.io]
  resources: [certificates]
  verbs: [get]
- apiGroups: [cert-manager.io]
  resources: [certificates/status]
  verbs: [patch]
{{- end }}
{{- if .Values.certificateHealth.enabled }}
- apiGroups: [cert-manager.io]
  resources: [certificates]
  verbs: [list, watch]
{{- end }}
- apiGroups: [cdn-issuer.io]
  resources: [cdnissuers{{ if $cluster }}, cdnclusterissuers{{ end }}]
  verbs: [list, watch]
- apiGroups: [cdn-issuer.io]
  resources: [cdnissuers/status{{ if $cluster }}, cdnclusterissuers/status{{ end }}]
  verbs: [patch]
- apiGroups: [""]
  resources: [secrets]
  verbs: [get]
- apiGroups: [events.k8s.io]
  resources: [events]
  verbs: [create, patch]
{{- end }}

{{/* What it takes to ask other issuers where requests are served. */}}
{{- define "cdn-issuer.issuerRefRules" -}}
- apiGroups: [cert-manager.io]
  resources: [certificaterequests]
  verbs: [get, list, watch, create, delete]
- apiGroups: [cert-manager.io]
  resources: [issuers{{ if not .Values.scope.namespaces }}, clusterissuers{{ end }}]
  verbs: [get, list]
{{- range .Values.issuerRefs.kinds }}
- apiGroups: [{{ .group | quote }}]
  resources: {{ toJson .resources }}
  verbs: [get, list]
{{- end }}
{{- end }}

{{- define "cdn-issuer.env" -}}
{{- if or .Values.caBundle.configMapName .Values.caBundle.secretName }}
- name: SSL_CERT_FILE
  value: /etc/cdn-issuer/ca/{{ .Values.caBundle.key }}
{{- end }}
{{- with .Values.http_proxy }}
- name: HTTP_PROXY
  value: {{ . | quote }}
{{- end }}
{{- with .Values.https_proxy }}
- name: HTTPS_PROXY
  value: {{ . | quote }}
{{- end }}
{{- if or .Values.http_proxy .Values.https_proxy .Values.no_proxy }}
- name: NO_PROXY
  value: {{ list "$(KUBERNETES_SERVICE_HOST)" .Values.no_proxy | compact | join "," | quote }}
{{- end }}
{{- with .Values.extraEnv }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "cdn-issuer.volumeMounts" -}}
{{- if or .Values.caBundle.configMapName .Values.caBundle.secretName }}
- name: ca-bundle
  mountPath: /etc/cdn-issuer/ca
  readOnly: true
{{- end }}
{{- with .Values.volumeMounts }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "cdn-issuer.volumes" -}}
{{- with .Values.caBundle }}
{{- if and .configMapName .secretName }}
{{- fail "caBundle.configMapName and caBundle.secretName: give one of them" }}
{{- end }}
{{- if .configMapName }}
- name: ca-bundle
  configMap:
    name: {{ .configMapName }}
{{- else if .secretName }}
- name: ca-bundle
  secret:
    secretName: {{ .secretName }}
{{- end }}
{{- end }}
{{- with .Values.volumes }}
{{ toYaml . }}
{{- end }}
{{- end }}
