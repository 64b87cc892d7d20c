# Checks the deployed app as check.sh does, in the Windows Subsystem for Linux: `ner` does not run on Windows itself.
# subscribe.ps1 runs it at its end. The variables are those that check.sh and the settings read.
$names = 'STORAGE_ACCOUNT_NAME', 'INPUT_CONTAINER', 'RESULTS_CONTAINER', 'LANGUAGE_ENDPOINT', 'BLOB_TRIGGER_SOURCE',
    'NER_CHECK', 'NER_OPERATOR_ID', 'NER_PRIVATE_NETWORK', 'NER_ALLOWED_ADDRESSES', 'NER_PROJECT_NAME', 'NER_DEPLOYMENT_NAME',
    'NER_API_VERSION', 'NER_MODEL_ID', 'NER_LANGUAGE', 'NER_LOGGING_OPT_OUT'
$found = $false
if (Get-Command wsl -ErrorAction SilentlyContinue) {
    wsl --exec true
    $found = $LASTEXITCODE -eq 0
}
if (-not $found) {
    Write-Host "The deployed app was not checked, because WSL is not set up. Run 'ner check' in the dev container."
    exit 0
}
$env:WSLENV = (@($env:WSLENV) + $names | Where-Object { $_ }) -join ':'
Set-Location (Split-Path $PSScriptRoot)
wsl --exec sh infra/check.sh
exit $LASTEXITCODE
