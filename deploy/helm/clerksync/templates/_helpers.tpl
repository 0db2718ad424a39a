{{/* The name of the release's objects, with room for the longest suffix. */}}
{{- define "clerksync.fullname" -}}
{{- $name := ternary .Release.Name (printf "%s-clerksync" .Release.Name) (contains "clerksync" .Release.Name) -}}
{{- .Values.fullnameOverride | default $name | trunc 45 | trimSuffix "-" -}}
{{- end -}}

{{/* The roles that have a Deployment, as JSON. */}}
{{- define "clerksync.roles" -}}
{{- ternary (list "receiver" "worker" "api") (list "receiver" "worker") .Values.api.enabled | toJson -}}
{{- end -}}

{{/* Labels that select pods, of all components or of one: list root component. */}}
{{- define "clerksync.selector" -}}
app.kubernetes.io/name: clerksync
app.kubernetes.io/instance: {{ (index . 0).Release.Name | quote }}
{{- with index . 1 }}
app.kubernetes.io/component: {{ . }}
{{- end }}
{{- end -}}

{{/* All labels of an object: list root component. */}}
{{- define "clerksync.labels" -}}
{{ include "clerksync.selector" . }}
app.kubernetes.io/version: {{ (index . 0).Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ (index . 0).Release.Service }}
helm.sh/chart: {{ printf "%s-%s" (index . 0).Chart.Name (index . 0).Chart.Version | replace "+" "_" }}
{{- end -}}

{{- define "clerksync.image" -}}
{{- $tag := printf ":%s" (.Values.image.tag | default .Chart.AppVersion) -}}
{{- .Values.image.repository }}{{ ternary (printf "@%s" .Values.image.digest) $tag (ne .Values.image.digest "") -}}
{{- end -}}

{{/* The secrets that a role needs, as JSON. */}}
{{- define "clerksync.secretsOf" -}}
{{- $root := index . 0 -}}
{{- $nats := list "NATS_URL" "CLERKSYNC_NATS_CREDS" -}}
{{- $names := dict
  "receiver" (concat $nats (list "CLERK_WEBHOOK_SIGNING_SECRET"))
  "worker" (concat $nats (list "CLERK_SECRET_KEY" "DATABASE_URL"))
  "api" (list "DATABASE_URL") -}}
{{- /* To fetch a user whose webhook has not come, the API asks Clerk and writes to the log. */ -}}
{{- $names = hasKey $root.Values.secrets "CLERK_SECRET_KEY" | ternary (set $names "api" (concat $nats (list "CLERK_SECRET_KEY" "DATABASE_URL"))) $names -}}
{{- append (get $names (index . 1)) "CLERKSYNC_ADMIN_TOKEN" | toJson -}}
{{- end -}}

{{/* Variables that are no secrets: list root settings. A number of a values file is a
     float, which would print 8589934592 as 8.589934592e+09. */}}
{{- define "clerksync.settings" -}}
{{- range $name, $value := index . 1 }}
- name: {{ $name }}
  value: {{ kindIs "float64" $value | ternary (int64 $value) $value | toString | quote }}
{{- end }}
{{- if (index . 0).Values.trustedCA.configMap }}
# Go trusts the certificates in this folder besides those of the image's file.
- name: SSL_CERT_DIR
  value: /etc/clerksync/ca
{{- end }}
{{- end -}}

{{/* One variable of a secret: list name reference. */}}
{{- define "clerksync.secret" -}}
- name: {{ index . 0 }}
  valueFrom:
    secretKeyRef:
      name: {{ (index . 1).existingSecret }}
      key: {{ (index . 1).key | default (index . 0) }}
{{- end -}}

{{/* What the pods of the Deployments and of the migration have in common. */}}
{{- define "clerksync.pod" -}}
automountServiceAccountToken: false
# The variables that Kubernetes makes of Services would begin with CLERKSYNC_.
enableServiceLinks: false
securityContext:
  runAsNonRoot: true
  runAsUser: 65532
  runAsGroup: 65532
  fsGroup: 65532
  seccompProfile: {type: RuntimeDefault}
{{- with .Values.imagePullSecrets }}
imagePullSecrets: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.nodeSelector }}
nodeSelector: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.tolerations }}
tolerations: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- end -}}

{{- define "clerksync.container" -}}
image: {{ include "clerksync.image" . | quote }}
imagePullPolicy: {{ .Values.image.pullPolicy }}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities: {drop: [ALL]}
{{- end -}}

{{/* Mounts and volumes that all pods have, if any. */}}
{{- define "clerksync.mounts" -}}
{{- if .Values.trustedCA.configMap }}
- {name: trusted-ca, mountPath: /etc/clerksync/ca, readOnly: true}
{{- end }}
{{- end -}}

{{- define "clerksync.volumes" -}}
{{- with .Values.trustedCA.configMap }}
- name: trusted-ca
  configMap: {name: {{ . }}}
{{- end }}
{{- end -}}

{{/* An HPA or a KEDA object with more than its most pods: list path values. */}}
{{- define "clerksync.checkRange" -}}
{{- if gt (int64 (index . 1).minReplicas) (int64 (index . 1).maxReplicas) -}}
{{- fail (printf "%s.minReplicas is greater than %s.maxReplicas" (index . 0) (index . 0)) -}}
{{- end -}}
{{- end -}}

{{/* One rule of a NetworkPolicy, to networkPolicy.egress.NAME: list root name. */}}
{{- define "clerksync.egress" -}}
{{- $name := index . 1 -}}
{{- $target := get (index . 0).Values.networkPolicy.egress $name -}}
- ports:
{{- range $port := $target.ports }}
{{- range ternary (list "UDP" "TCP") (list "TCP") (eq $name "dns") }}
    - {protocol: {{ . }}, port: {{ int $port }}}
{{- end }}
{{- end }}
{{- with $target.to }}
  to: {{- toYaml . | nindent 4 }}
{{- end }}
{{- end -}}
