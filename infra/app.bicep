// The function app on Flex Consumption.
param suffix string
param location string
param tags object
param identityId string
param identityClientId string
param storageName string
param deploymentContainer string
param insightsConnectionString string

@description('Resource id of the subnet for the calls of the app. Empty: no virtual network.')
param subnetId string
param pythonVersion string
param maximumInstanceCount int
param instanceMemoryMB int

@description('Whether an instance for uploads and one for polls are always running.')
param alwaysReady bool

@description('App settings that the app itself reads.')
param nerSettings object

@description('App settings of the user. They do not replace those of the template.')
param furtherSettings object

var storageDomain = environment().suffixes.storage
var blobs = 'https://${storageName}.blob.${storageDomain}'
var queues = 'https://${storageName}.queue.${storageDomain}'
var tables = 'https://${storageName}.table.${storageDomain}'
// A blob trigger has a group of instances for all functions with one, a queue trigger has one for each function.
var uploadsGroup = nerSettings.NER_BLOB_TRIGGER_SOURCE == 'EventGridQueue' ? 'function:submit' : 'blob'
var readyInstances = [{ name: uploadsGroup, instanceCount: 1 }, { name: 'function:poll', instanceCount: 1 }]
// Without a sampler, the host exports hundreds of spans per minute of its own. No alert and no panel reads spans.
var samplingSettings = { OTEL_TRACES_SAMPLER: 'parentbased_traceidratio', OTEL_TRACES_SAMPLER_ARG: '0.1' }

resource plan 'Microsoft.Web/serverfarms@2024-04-01' = {
  name: 'plan-${suffix}'
  location: location
  tags: tags
  kind: 'functionapp'
  sku: { name: 'FC1', tier: 'FlexConsumption' }
  properties: { reserved: true }
}

resource app 'Microsoft.Web/sites@2024-04-01' = {
  name: 'func-${suffix}'
  location: location
  tags: union(tags, { 'azd-service-name': 'app' })
  kind: 'functionapp,linux'
  identity: {
    type: 'UserAssigned'
    userAssignedIdentities: { '${identityId}': {} }
  }
  properties: {
    serverFarmId: plan.id
    httpsOnly: true
    virtualNetworkSubnetId: empty(subnetId) ? null : subnetId
    functionAppConfig: {
      deployment: {
        storage: {
          type: 'blobContainer'
          value: '${blobs}/${deploymentContainer}'
          authentication: {
            type: 'UserAssignedIdentity'
            userAssignedIdentityResourceId: identityId
          }
        }
      }
      runtime: { name: 'python', version: pythonVersion }
      scaleAndConcurrency: {
        maximumInstanceCount: maximumInstanceCount
        instanceMemoryMB: instanceMemoryMB
        alwaysReady: alwaysReady ? readyInstances : []
      }
    }
    siteConfig: { minTlsVersion: '1.2', http20Enabled: true }
  }
}

resource settings 'Microsoft.Web/sites/config@2024-04-01' = {
  parent: app
  name: 'appsettings'
  // Each deployment replaces all settings. In a union, the last value of a name counts.
  properties: union(samplingSettings, furtherSettings, nerSettings, {
    AzureWebJobsStorage__blobServiceUri: blobs
    AzureWebJobsStorage__queueServiceUri: queues
    AzureWebJobsStorage__tableServiceUri: tables
    AzureWebJobsStorage__credential: 'managedidentity'
    AzureWebJobsStorage__clientId: identityClientId
    NER_STORAGE__blobServiceUri: blobs
    NER_STORAGE__queueServiceUri: queues
    NER_STORAGE__credential: 'managedidentity'
    NER_STORAGE__clientId: identityClientId
    // The identity with which the app calls the NER API.
    AZURE_CLIENT_ID: identityClientId
    APPLICATIONINSIGHTS_CONNECTION_STRING: insightsConnectionString
    // The app sends its logs itself, with fields. Without this setting, the host would send them a second time.
    PYTHON_ENABLE_OPENTELEMETRY: 'true'
    APPLICATIONINSIGHTS_AUTHENTICATION_STRING: 'ClientId=${identityClientId};Authorization=AAD'
  })
}

// Publishing uses Microsoft Entra ID as well, not passwords.
resource publishingByFtp 'Microsoft.Web/sites/basicPublishingCredentialsPolicies@2024-04-01' = {
  parent: app
  name: 'ftp'
  properties: { allow: false }
}

resource publishingByScm 'Microsoft.Web/sites/basicPublishingCredentialsPolicies@2024-04-01' = {
  parent: app
  name: 'scm'
  properties: { allow: false }
}

output name string = app.name
