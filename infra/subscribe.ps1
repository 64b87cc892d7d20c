# Subscribes the deployed app to Event Grid's events of new files, then checks the app. azd runs it after each
# deployment, with the outputs of main.bicep in the environment. To run it by hand: azd hooks run postdeploy
$ErrorActionPreference = 'Stop'
# main.bicep has then made the subscription: its events go into a queue, not to the app.
if ($env:BLOB_TRIGGER_SOURCE -eq 'EventGridQueue') {
    & (Join-Path $PSScriptRoot 'check.ps1')
    exit $LASTEXITCODE
}
foreach ($try in 1..6) {
    az deployment group create --only-show-errors --output none `
        --subscription $env:AZURE_SUBSCRIPTION_ID --resource-group $env:AZURE_RESOURCE_GROUP --name uploads `
        --template-file (Join-Path $PSScriptRoot 'subscription.bicep') --parameters `
        functionAppName=$env:FUNCTION_APP_NAME eventTopicName=$env:EVENT_TOPIC_NAME storageAccountName=$env:STORAGE_ACCOUNT_NAME `
        inputContainer=$env:INPUT_CONTAINER deadLetterContainer=$env:DEAD_LETTER_CONTAINER
    if ($LASTEXITCODE -eq 0) {
        & (Join-Path $PSScriptRoot 'check.ps1')
        exit $LASTEXITCODE
    }
    # The webhook and its key are there only when the app has started.
    Write-Host 'The app is not ready for events yet. Trying again in 20 seconds.'
    Start-Sleep -Seconds 20
}
Write-Error 'Event Grid does not notify the app of new files yet. When the app is running, run: azd hooks run postdeploy'
