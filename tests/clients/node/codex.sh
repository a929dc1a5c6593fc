#!/bin/sh
# codex reads no variable that says where its models are: its configuration does.
here=$(dirname "$0")
exec "$here/node_modules/.bin/codex" exec ${CODEX_MODEL:+-m "$CODEX_MODEL"} --skip-git-repo-check --dangerously-bypass-approvals-and-sandbox \
    -c model_provider=atlas \
    -c "model_providers.atlas={name=\"atlas\",base_url=\"$OPENAI_BASE_URL\",env_key=\"OPENAI_API_KEY\",wire_api=\"responses\"}" \
    "$@"
