{{- define "media.image" -}}
{{ required "image.repository is required" .Values.image.repository }}@{{ required "image.digest is required: sha256:..." .Values.image.digest }}
{{- end }}

{{/* The candidate's, where it has one of its own. */}}
{{- define "media.canaryImage" -}}
{{ .Values.canary.image.repository | default (required "image.repository is required" .Values.image.repository) }}@{{ include "media.canaryDigest" . }}
{{- end }}

{{- define "media.canaryDigest" -}}
{{ .Values.canary.image.digest | default (required "image.digest is required: sha256:..." .Values.image.digest) }}
{{- end }}

{{- define "media.gpuImage" -}}
{{- if ne .Values.runs.executor "k8s_job" }}{{ fail "gpu.steps: only runs.executor k8s_job gives a workload a pod, and so an image, of its own" }}{{ end -}}
{{ .Values.gpu.image.repository | default (required "image.repository is required" .Values.image.repository) }}@{{ required "gpu.image.digest is required: sha256:... of the image built with VARIANT=gpu" .Values.gpu.image.digest }}
{{- end }}

{{- define "media.canaryGpuImage" -}}
{{- $own := .Values.canary.gpuImage -}}
{{- if and .Values.canary.image.digest (not $own.digest) }}{{ fail "canary.gpuImage.digest is required: the candidate has an image of its own, and workloads of gpu.steps would not run it" }}{{ end -}}
{{- if $own.digest -}}
{{ $own.repository | default .Values.gpu.image.repository | default .Values.image.repository }}@{{ $own.digest }}
{{- else -}}
{{ include "media.gpuImage" . }}
{{- end -}}
{{- end }}

{{/* What pods of single workloads have beside what all have, JSON: (dict "root" . "image" "gpuImage"). */}}
{{- define "media.stepConfig" -}}
{{- $steps := deepCopy .root.Values.runs.stepConfig -}}
{{- range .root.Values.gpu.steps -}}
{{- $image := include (print "media." $.image) $.root -}}
{{- $digest := dict "name" "MEDIA_PIPELINE_IMAGE_DIGEST" "value" (splitList "@" $image | last) -}}
{{- $step := get $steps . | default dict -}}
{{- $container := get $step "container_config" | default dict -}}
{{- $_ := set $container "image" $image -}}
{{- /* After those of the launcher: of two variables of one name the last counts. */ -}}
{{- $_ := set $container "env" (append (get $container "env" | default list) $digest) -}}
{{- $_ := set $step "container_config" $container -}}
{{- $_ := set $steps . $step -}}
{{- end -}}
{{ $steps | toJson }}
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

{{/* Variables of every long-lived container, secrets by name only: (dict "root" . "component" "code"). */}}
{{- define "media.env" -}}
{{- $canary := eq .component "canary" -}}
{{- $digest := $canary | ternary (include "media.canaryDigest" .root) .root.Values.image.digest -}}
envFrom:
  - configMapRef: {name: media-pipeline-settings}
  {{- if $canary }}
  - configMapRef: {name: media-pipeline-canary-settings}
  {{- end }}
  - secretRef: {name: {{ .root.Values.secrets.dagsterStorage }}}
  - secretRef: {name: {{ .root.Values.secrets.pipeline }}}
env:
  - {name: DAGSTER_HOME, value: /opt/dagster/dagster_home}
  - {name: DAGSTER_CURRENT_IMAGE, value: {{ include ($canary | ternary "media.canaryImage" "media.image") .root | quote }}}
  - {name: MEDIA_PIPELINE_IMAGE_DIGEST, value: {{ $digest | quote }}}
  {{- if has .component (list "code" "canary") }}
  # What Dagster adds to the pods of this code location's runs.
  - {name: DAGSTER_CONTAINER_CONTEXT, value: {{ include "media.runContext" (dict "root" .root "canary" $canary "digest" $digest) | quote }}}
  {{- end }}
{{- end }}

{{- define "media.runContext" -}}
{{- $context := dict "env" (list (dict "name" "MEDIA_PIPELINE_IMAGE_DIGEST" "value" .digest)) -}}
{{- if .canary -}}
{{- $_ := set $context "env_config_maps" (list "media-pipeline-canary-settings") -}}
{{- if .root.Values.canary.models.registry -}}
{{- $_ := set $context "volumes" (list (dict "name" "canary-models" "config_map" (dict "name" "media-pipeline-canary-models"))) -}}
{{- $_ := set $context "volume_mounts" (list (dict "name" "canary-models" "mount_path" (include "media.canaryModels" .root) "read_only" true)) -}}
{{- end -}}
{{- end -}}
{{ dict "k8s" $context | toJson }}
{{- end }}

{{/* Whose rights a component has: a candidate those of what it may replace. */}}
{{- define "media.role" -}}
{{ get .root.Values.vaultAuth.roles (eq .component "canary" | ternary "code" .component) }}
{{- end }}

{{/* Who a component is for Vault, ledger and object store: (dict "root" . "component" "code"). */}}
{{- define "media.identity" -}}
{{- $auth := .root.Values.vaultAuth -}}
{{- $role := include "media.role" . -}}
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
  {{- if and (eq .component "canary") .root.Values.canary.models.registry }}
  - name: canary-models
    configMap: {name: media-pipeline-canary-models}
  {{- end }}
  {{- if and .root.Values.vaultAuth.enabled (include "media.role" .) }}
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
  {{- if and (eq .component "canary") .root.Values.canary.models.registry }}
  - {name: canary-models, mountPath: {{ include "media.canaryModels" . }}, readOnly: true}
  {{- end }}
  {{- if and .root.Values.vaultAuth.enabled (include "media.role" .) }}
  - {name: vault-identity, mountPath: {{ include "media.vaultIdentity" . }}, readOnly: true}
  {{- end }}
{{- end }}

{{- define "media.models" -}}
/etc/media-pipeline/models
{{- end }}

{{- define "media.canaryModels" -}}
/etc/media-pipeline/canary-models
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
