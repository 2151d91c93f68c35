{{- define "media.image" -}}
{{ required "image.repository is required" .Values.image.repository }}@{{ required "image.digest is required: sha256:..." .Values.image.digest }}
{{- end }}

{{- define "media.labels" -}}
app.kubernetes.io/name: media-pipeline
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
{{- end }}

{{- define "media.selector" -}}
app.kubernetes.io/name: media-pipeline
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- end }}

{{- define "media.podSecurity" -}}
runAsNonRoot: true
runAsUser: 10001
runAsGroup: 10001
fsGroup: 10001
seccompProfile: {type: RuntimeDefault}
{{- end }}

{{- define "media.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end }}

{{/* Variables of every long-lived container; secrets by name only. */}}
{{- define "media.env" -}}
envFrom:
  - configMapRef: {name: media-pipeline-settings}
  - secretRef: {name: {{ .Values.secrets.dagsterStorage }}}
  - secretRef: {name: {{ .Values.secrets.pipeline }}}
env:
  - {name: DAGSTER_HOME, value: /opt/dagster/dagster_home}
  - {name: DAGSTER_CURRENT_IMAGE, value: {{ include "media.image" . | quote }}}
  - {name: MEDIA_PIPELINE_IMAGE_DIGEST, value: {{ .Values.image.digest | quote }}}
{{- end }}

{{/* Who a component is for Vault, ledger and object store: (dict "root" . "component" "code"). */}}
{{- define "media.identity" -}}
{{- $auth := .root.Values.vaultAuth -}}
{{- $role := get $auth.roles .component -}}
{{- if and $auth.enabled $role }}
- {name: MEDIA_PIPELINE_VAULT__ROLE, value: {{ $role | quote }}}
{{- if eq $auth.mode "workload_identity" }}
- {name: MEDIA_PIPELINE_VAULT__IDENTITY_ROLE, value: {{ $role | quote }}}
- {name: MEDIA_PIPELINE_OBJECT_STORE__STS_ROLE_ARN, value: {{ print "arn:aws:iam::role/" $role | quote }}}
{{- end }}
{{- end }}
{{- end }}

{{/* Volumes and mounts: (dict "root" . "component" "code"); who has no role gets no token. */}}
{{- define "media.volumes" -}}
volumes:
  - name: instance
    configMap: {name: media-pipeline-dagster-instance}
  - name: scratch
    emptyDir: {sizeLimit: 2Gi}
  {{- if .root.Values.models.registry }}
  - name: models
    configMap: {name: media-pipeline-models}
  {{- end }}
  {{- if and .root.Values.vaultAuth.enabled (get .root.Values.vaultAuth.roles .component) }}
  - name: vault-identity
    projected:
      sources:
        - serviceAccountToken:
            path: token
            audience: {{ .root.Values.vaultAuth.audience }}
            expirationSeconds: {{ int .root.Values.vaultAuth.expirationSeconds }}
  {{- end }}
{{- end }}

{{- define "media.mounts" -}}
volumeMounts:
  - {name: instance, mountPath: /opt/dagster/dagster_home/dagster.yaml, subPath: dagster.yaml}
  - {name: instance, mountPath: /opt/dagster/dagster_home/workspace.yaml, subPath: workspace.yaml}
  - {name: scratch, mountPath: /tmp}
  {{- if .root.Values.models.registry }}
  - {name: models, mountPath: {{ include "media.models" . }}, readOnly: true}
  {{- end }}
  {{- if and .root.Values.vaultAuth.enabled (get .root.Values.vaultAuth.roles .component) }}
  - {name: vault-identity, mountPath: {{ include "media.vaultIdentity" . }}, readOnly: true}
  {{- end }}
{{- end }}

{{- define "media.models" -}}
/etc/media-pipeline/models
{{- end }}

{{- define "media.vaultIdentity" -}}
/var/run/secrets/vault
{{- end }}

{{/* dagster_home/dagster.k8s.yaml with the sizes of this installation. */}}
{{- define "media.instance" -}}
{{- $instance := .Files.Get "files/dagster.yaml" | fromYaml -}}
{{- $_ := set $instance.concurrency.runs "max_concurrent_runs" (int .Values.runs.maxConcurrent) -}}
{{- $limit := int .Values.runs.backfillLimit -}}
{{- range $instance.concurrency.runs.tag_concurrency_limits }}{{ $_ := set . "limit" $limit }}{{ end -}}
{{- $launcher := $instance.run_launcher.config -}}
{{- $_ := set $launcher "env_secrets" (list .Values.secrets.dagsterStorage .Values.secrets.pipeline) -}}
{{- $_ := set $launcher.run_k8s_config.container_config "resources" (dict "requests" (dict "cpu" .Values.runs.cpu "memory" .Values.runs.memory) "limits" (dict "memory" .Values.runs.memoryLimit)) -}}
{{- $pod := $launcher.run_k8s_config.pod_spec_config -}}
{{- $_ := set $pod "volumes" (list (dict "name" "scratch" "empty_dir" (dict "size_limit" .Values.runs.scratch))) -}}
{{- $container := $launcher.run_k8s_config.container_config -}}
{{- if .Values.models.registry -}}
{{- $_ := set $pod "volumes" (append $pod.volumes (dict "name" "models" "config_map" (dict "name" "media-pipeline-models"))) -}}
{{- $_ := set $container "volume_mounts" (append $container.volume_mounts (dict "name" "models" "mount_path" (include "media.models" .) "read_only" true)) -}}
{{- end -}}
{{- if .Values.vaultAuth.enabled -}}
{{- $token := dict "path" "token" "audience" .Values.vaultAuth.audience "expiration_seconds" (int .Values.vaultAuth.expirationSeconds) -}}
{{- $volume := dict "name" "vault-identity" "projected" (dict "sources" (list (dict "service_account_token" $token))) -}}
{{- $_ := set $pod "volumes" (append $pod.volumes $volume) -}}
{{- $_ := set $container "volume_mounts" (append $container.volume_mounts (dict "name" "vault-identity" "mount_path" (include "media.vaultIdentity" .) "read_only" true)) -}}
{{- end -}}
{{- with include "media.identity" (dict "root" . "component" "run") | fromYamlArray }}{{ $_ := set $container "env" . }}{{ end -}}
{{- if .Values.priorityClasses.use }}{{ $_ := set $pod "priority_class_name" "media-live" }}{{ end -}}
{{- if .Values.runs.nodeSelector }}{{ $_ := set $pod "node_selector" .Values.runs.nodeSelector }}{{ end -}}
{{- if .Values.runs.tolerations }}{{ $_ := set $pod "tolerations" .Values.runs.tolerations }}{{ end -}}
{{- if eq .Values.runs.executor "k8s_job" }}{{ $_ := set $pod "automount_service_account_token" true }}{{ end -}}
{{ toYaml $instance }}
{{- end }}
