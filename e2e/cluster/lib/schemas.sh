# Schemas of Kubernetes' objects, made from the OpenAPI that its own module carries, and of CRDs from the CRDs. Sourced by
# `up` and by scripts/schema-check. What a schema does not name is refused, as a field that is mistyped or too new would be.

# What the definitions of Kubernetes lack: that a number may stand for a string where either is taken, and that there are no
# other fields.
strictly='
  def strictly: walk(if type == "object" then
      (if .format == "int-or-string" or ."x-kubernetes-int-or-string" == true
        then del(.format, .type, .anyOf) + {anyOf: [{type: "integer"}, {type: "string"}]} else . end)
      | (if (.properties | type) == "object" and (has("additionalProperties") | not)
          and (."x-kubernetes-preserve-unknown-fields" | not) then .additionalProperties = false else . end)
      | (if .nullable == true and (.type | type) == "string" then .type = [.type, "null"] else . end)
    else . end);
'

# What kubeconform calls the file of a kind: {{.ResourceKind}}{{.KindSuffix}}.json.
kind_file='
  def kind_file: ([.kind, (.group | split(".") | .[:1][] | select(. != "")), .version] | join("-") | ascii_downcase) + ".json";
'

schemas_of_kubernetes() { # schemas_of_kubernetes VERSION DIRECTORY: a file per kind, as kubeconform calls them
  local from to=$2 line
  from=$(module "k8s.io/kubernetes@$1")/api/openapi-spec/swagger.json
  rm -rf "$to"
  mkdir -p "$to"
  jq "$strictly"' {definitions: (.definitions | strictly
      | .["io.k8s.apimachinery.pkg.api.resource.Quantity"] |= {anyOf: [{type: "number"}, {type: "string"}]})}' \
    "$from" >"$to/definitions.json"
  jq -r "$kind_file"' .definitions | to_entries[] | .key as $name | (.value["x-kubernetes-group-version-kind"] // [])
      | select(length == 1) | .[0] | "\(kind_file) \($name)"' "$to/definitions.json" |
    while read -r line; do
      printf '{"$ref": "definitions.json#/definitions/%s"}\n' "${line#* }" >"$to/${line% *}"
    done
}
schemas_of_crds() { # schemas_of_crds DIRECTORY FILE...
  local to=$1 file one; shift
  mkdir -p "$to"
  for file in "$@"; do
    KUBECONFIG=/dev/null kubectl label --local -f "$file" -o json wsc.dev/read-by=test | jq -c "$strictly$kind_file"'
      .spec | .group as $group | .names.kind as $kind | .versions[] | .name as $version
      | {file: ({group: $group, kind: $kind, version: $version} | kind_file),
        schema: (.schema.openAPIV3Schema | .properties += {apiVersion: {}, kind: {}, metadata: {type: "object"}} | strictly)}' |
      while read -r one; do jq .schema <<<"$one" >"$to/$(jq -r .file <<<"$one")"; done
  done
}
