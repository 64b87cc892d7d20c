#!/bin/sh
# Checks the deployed app with one small file: `ner check`. subscribe.sh runs it at its end, with the outputs of
# main.bicep and the variables of azd in the environment. NER_CHECK is on, off, or unset: if this machine has access.
set -eu
cd "$(dirname "$0")/.."

skip() {
    echo "The deployed app was not checked, because $1" >&2
    exit 0
}

case ${NER_CHECK:-} in
    off) skip "NER_CHECK is off." ;;
    on) ;;
    *)
        [ "${NER_OPERATOR_ID:-}" != none ] || skip "NER_OPERATOR_ID gives no one access to the files."
        [ "${NER_PRIVATE_NETWORK:-false},${NER_ALLOWED_ADDRESSES:-[]}" != "true,[]" ] ||
            skip "only its network reaches the storage account. Run 'ner check' there."
        ;;
esac
[ -x .venv/bin/python ] || skip "'ner' is not set up. Run: make setup && azd hooks run postdeploy"

# Settings of other apps, in the environment or in local.settings.json, must not replace those of this one.
unset NER_STORAGE NER_STORAGE__blobServiceUri NER_STORAGE__queueServiceUri NER_STORAGE__clientId NER_KEY
unset NER_QUEUE NER_STATE_CONTAINER
export NER_LOCAL_SETTINGS=none
export NER_STORAGE__accountName="$STORAGE_ACCOUNT_NAME" NER_BLOB_TRIGGER_SOURCE="$BLOB_TRIGGER_SOURCE"
export NER_INPUT_CONTAINER="$INPUT_CONTAINER" NER_RESULTS_CONTAINER="$RESULTS_CONTAINER"
export NER_ENDPOINT="${LANGUAGE_ENDPOINT:?Run azd provision first}"
if ! .venv/bin/python -m local check; then
    echo "The app is deployed, but the check found a problem. Fix it, then run: azd hooks run postdeploy" >&2
    exit 1
fi
