#!/bin/sh
# Subscribes the deployed app to Event Grid's events of new files, then checks the app. azd runs it after each
# deployment, with the outputs of main.bicep in the environment. To run it by hand: azd hooks run postdeploy
set -eu
if [ "${BLOB_TRIGGER_SOURCE:-}" = EventGridQueue ]; then
    # main.bicep has made the subscription: its events go into a queue, not to the app.
    exec sh "$(dirname "$0")/check.sh"
fi
tries=6
until az deployment group create --only-show-errors --output none \
    --subscription "$AZURE_SUBSCRIPTION_ID" --resource-group "$AZURE_RESOURCE_GROUP" --name uploads \
    --template-file "$(dirname "$0")/subscription.bicep" --parameters \
    functionAppName="$FUNCTION_APP_NAME" eventTopicName="$EVENT_TOPIC_NAME" storageAccountName="$STORAGE_ACCOUNT_NAME" \
    inputContainer="$INPUT_CONTAINER" deadLetterContainer="$DEAD_LETTER_CONTAINER"
do
    tries=$((tries - 1))
    if [ "$tries" -eq 0 ]; then
        echo "Event Grid does not notify the app of new files yet. When the app is running, run: azd hooks run postdeploy" >&2
        exit 1
    fi
    # The webhook and its key are there only when the app has started.
    echo "The app is not ready for events yet. Trying again in 20 seconds."
    sleep 20
done
exec sh "$(dirname "$0")/check.sh"
