{{- /* The username of the operator, as the API server knows it: what the policies exempt. */ -}}
{{- define "quorate.operatorUsername" -}}
{{- .Values.operatorUsername | default (printf "system:serviceaccount:%s:%s" .Release.Namespace .Values.serviceAccount.name) -}}
{{- end -}}

{{- /* Who the rights of the operator are bound to. */ -}}
{{- define "quorate.operatorSubject" -}}
{{- if .Values.operatorUsername -}}
- kind: User
  apiGroup: rbac.authorization.k8s.io
  name: {{ .Values.operatorUsername | quote }}
{{- else -}}
- kind: ServiceAccount
  name: {{ .Values.serviceAccount.name }}
  namespace: {{ .Release.Namespace }}
{{- end -}}
{{- end -}}

{{- define "quorate.selectorLabels" -}}
app.kubernetes.io/name: quorate
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: operator
{{- end -}}

{{- define "quorate.labels" -}}
app.kubernetes.io/name: quorate
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end -}}

{{- /* "true" where the policies that fill in the actor are installed, else nothing. */ -}}
{{- define "quorate.mutating" -}}
{{- $wanted := .Values.policies.mutating | toString -}}
{{- if eq $wanted "auto" -}}
{{- if .Capabilities.APIVersions.Has "admissionregistration.k8s.io/v1/MutatingAdmissionPolicy" -}}true{{- end -}}
{{- else if eq $wanted "true" -}}true{{- end -}}
{{- end -}}

{{- /* "true" where impersonation is limited to listed resources, else nothing. */ -}}
{{- define "quorate.constrained" -}}
{{- $wanted := .Values.execution.automatic.constrained | toString -}}
{{- if eq $wanted "auto" -}}
{{- if semverCompare ">=1.36-0" .Capabilities.KubeVersion.Version -}}true{{- end -}}
{{- else if eq $wanted "true" -}}true{{- end -}}
{{- end -}}

{{- /* "true" where there is a file of endpoints, else nothing. */ -}}
{{- define "quorate.endpoints" -}}
{{- if or .Values.activities.endpoints .Values.activities.endpointsSecret -}}true{{- end -}}
{{- end -}}

{{- /* "true" where there is a file of channels, else nothing. */ -}}
{{- define "quorate.channels" -}}
{{- if or .Values.notifications.channels .Values.notifications.channelsSecret -}}true{{- end -}}
{{- end -}}

{{- /* "true" where SQLite is the store, else nothing. */ -}}
{{- define "quorate.sqlite" -}}
{{- if not (or (hasPrefix "postgres" .Values.store.url) .Values.store.urlSecret) -}}true{{- end -}}
{{- end -}}

{{- /* Secrets that the operator reads: a list of {name, secret, path}. */ -}}
{{- define "quorate.secretFiles" -}}
{{- $smtp := .Values.notifications.smtp -}}
{{- $files := list -}}
{{- if include "quorate.endpoints" . -}}
{{- $files = append $files (dict "name" "endpoints" "secret" (.Values.activities.endpointsSecret | default "quorate-endpoints")) -}}
{{- end -}}
{{- if include "quorate.gateClients" . -}}
{{- $files = append $files (dict "name" "gate-client-ca" "secret" .Values.gate.clientCASecret "key" "ca.crt") -}}
{{- end -}}
{{- if include "quorate.channels" . -}}
{{- $files = append $files (dict "name" "channels" "secret" (.Values.notifications.channelsSecret | default "quorate-channels")) -}}
{{- end -}}
{{- with $smtp.passwordSecret -}}
{{- $files = append $files (dict "name" "smtp-password" "secret" . "key" "password") -}}
{{- end -}}
{{- with $smtp.caSecret -}}
{{- $files = append $files (dict "name" "smtp-ca" "secret" . "key" "ca.crt") -}}
{{- end -}}
{{- with $smtp.dkim.secret -}}
{{- $files = append $files (dict "name" "dkim" "secret" . "key" "dkim.pem") -}}
{{- end -}}
{{- dict "files" $files | toJson -}}
{{- end -}}

{{- /* "true" where the gate asks the API server for a certificate, else nothing. */ -}}
{{- define "quorate.gateClients" -}}
{{- if and .Values.gate.enabled .Values.gate.clientCASecret -}}true{{- end -}}
{{- end -}}
