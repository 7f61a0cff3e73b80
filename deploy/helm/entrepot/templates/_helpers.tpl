{{- define "entrepot.labels" -}}
app.kubernetes.io/name: entrepot
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "entrepot.image" -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end }}

{{- /* A value of a settings file. Whole numbers come as floats from JSON; tables are written inline. */}}
{{- define "entrepot.toml" -}}
{{- if kindIs "slice" . -}}
[{{ range $index, $one := . }}{{ if $index }}, {{ end }}{{ include "entrepot.toml" $one }}{{ end }}]
{{- else if kindIs "map" . -}}
{ {{- range $index, $key := keys . | sortAlpha }}{{ if $index }},{{ end }} {{ $key }} = {{ include "entrepot.toml" (get $ $key) }}{{ end }} }
{{- else if and (kindIs "float64" .) (eq . (floor .)) -}}
{{ . | int64 }}
{{- else -}}
{{ toJson . }}
{{- end -}}
{{- end }}

{{- define "entrepot.pod" -}}
automountServiceAccountToken: false
securityContext:
  runAsNonRoot: true
  runAsUser: 10001
  runAsGroup: 10001
  fsGroup: 10001
  seccompProfile: {type: RuntimeDefault}
volumes:
  - name: settings
    configMap: {name: {{ .Release.Name }}}
  - name: access-key
    secret:
      secretName: {{ .Values.existingSecret }}
      defaultMode: 0440
      items: [{key: access.key, path: access.key}]
  - name: scratch
    emptyDir: {}
  - name: tmp
    emptyDir: {}
{{- end }}

{{- define "entrepot.container" -}}
image: {{ include "entrepot.image" . | quote }}
imagePullPolicy: {{ .Values.image.pullPolicy }}
env:
  - name: ENTREPOT_CATALOG_URL
    valueFrom: {secretKeyRef: {name: {{ .Values.existingSecret }}, key: catalog-url}}
  - name: ENTREPOT_STORAGE_ACCESS_KEY_ID
    valueFrom: {secretKeyRef: {name: {{ .Values.existingSecret }}, key: s3-key-id}}
  - name: ENTREPOT_STORAGE_SECRET_ACCESS_KEY
    valueFrom: {secretKeyRef: {name: {{ .Values.existingSecret }}, key: s3-secret}}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities: {drop: [ALL]}
volumeMounts:
  - {name: settings, mountPath: /etc/entrepot, readOnly: true}
  - {name: access-key, mountPath: /run/entrepot, readOnly: true}
  - {name: scratch, mountPath: /var/lib/entrepot}
  - {name: tmp, mountPath: /tmp}
{{- end }}
