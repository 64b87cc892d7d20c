// The storage account: files, outcomes, state, queues and the deployed package.
@minLength(13)
@maxLength(13)
param suffix string
param location string
param tags object
param inputContainer string
param resultsContainer string
param stateContainer string
param queue string

@description('Queue into which Event Grid delivers the events of uploads. Empty: none.')
param eventQueue string

@description('Principal id of the app.')
param appPrincipalId string
param operatorId string
param operatorType string
param isPrivate bool
param allowedAddresses array

@description('Name of the Language resource that reads documents for training from this account. Empty: none.')
param trainingLanguageName string

var deploymentContainer = 'deployments'
var deadLetterContainer = 'event-dead-letters'
var trainingContainer = 'training'
var appContainers = [inputContainer, resultsContainer, stateContainer, deploymentContainer, deadLetterContainer]
var languageRule = {
  tenantId: tenant().tenantId
  resourceId: resourceId('Microsoft.CognitiveServices/accounts', trainingLanguageName)
}
var roles = {
  // Source: https://learn.microsoft.com/azure/role-based-access-control/built-in-roles
  storageBlobDataOwner: 'b7e6dc6d-f1e8-4753-8033-0f276bb0955b'
  storageBlobDataContributor: 'ba92f5b4-2d11-453d-a403-e96b0029c9fe'
  storageQueueDataContributor: '974c5e8b-45b9-4653-ba55-5f855dd0fb88'
  storageTableDataContributor: '0a9a7e1f-b9d0-4cc4-a60d-0319b160aaa3'
}
// The triggers of the host need the owner role for blobs; its diagnostics need the role for tables.
var appRoles = [roles.storageBlobDataOwner, roles.storageQueueDataContributor, roles.storageTableDataContributor]
var eventQueues = empty(eventQueue) ? [] : [eventQueue, '${eventQueue}-poison']
var operatorRoles = empty(operatorId) ? [] : [roles.storageBlobDataContributor, roles.storageQueueDataContributor]

resource account 'Microsoft.Storage/storageAccounts@2023-05-01' = {
  name: 'st${suffix}'
  location: location
  tags: tags
  kind: 'StorageV2'
  sku: { name: 'Standard_LRS' }
  properties: {
    accessTier: 'Hot'
    allowBlobPublicAccess: false
    allowCrossTenantReplication: false
    allowSharedKeyAccess: false
    defaultToOAuthAuthentication: true
    minimumTlsVersion: 'TLS1_2'
    supportsHttpsTrafficOnly: true
    // Event Grid writes dead letters as a trusted service, so the public endpoint stays on and the firewall protects it.
    networkAcls: {
      bypass: 'AzureServices'
      defaultAction: isPrivate ? 'Deny' : 'Allow'
      ipRules: [for address in allowedAddresses: { value: address, action: 'Allow' }]
      resourceAccessRules: empty(trainingLanguageName) ? [] : [languageRule]
    }
  }
}

resource blobs 'Microsoft.Storage/storageAccounts/blobServices@2023-05-01' = {
  parent: account
  name: 'default'
  properties: {
    // The app deletes a record for each file. Azure charges for deleted blobs as long as it keeps them.
    deleteRetentionPolicy: { enabled: true, days: 3 }
  }
}

resource containers 'Microsoft.Storage/storageAccounts/blobServices/containers@2023-05-01' = [
  for name in concat(appContainers, empty(trainingLanguageName) ? [] : [trainingContainer]): {
    parent: blobs
    name: name
    properties: { publicAccess: 'None' }
  }
]

resource lifecycle 'Microsoft.Storage/storageAccounts/managementPolicies@2023-05-01' = {
  parent: account
  name: 'default'
  properties: {
    policy: {
      rules: [
        {
          name: 'delete-event-dead-letters'
          enabled: true
          type: 'Lifecycle'
          definition: {
            filters: { blobTypes: ['blockBlob'], prefixMatch: ['${deadLetterContainer}/'] }
            actions: { baseBlob: { delete: { daysAfterCreationGreaterThan: 30 } } }
          }
        }
      ]
    }
  }
  dependsOn: [blobs]
}

resource queueService 'Microsoft.Storage/storageAccounts/queueServices@2023-05-01' = {
  parent: account
  name: 'default'
}

// The host creates poison queues only when it needs them, so create them with the others.
resource queues 'Microsoft.Storage/storageAccounts/queueServices/queues@2023-05-01' = [
  for name in concat([queue, '${queue}-poison', 'webjobs-blobtrigger-poison'], eventQueues): {
    parent: queueService
    name: name
  }
]

resource appAccess 'Microsoft.Authorization/roleAssignments@2022-04-01' = [
  for role in appRoles: {
    scope: account
    name: guid(account.id, appPrincipalId, role)
    properties: {
      principalId: appPrincipalId
      principalType: 'ServicePrincipal'
      roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', role)
    }
  }
]

resource operatorAccess 'Microsoft.Authorization/roleAssignments@2022-04-01' = [
  for role in operatorRoles: {
    scope: account
    name: guid(account.id, operatorId, role)
    properties: {
      principalId: operatorId
      principalType: operatorType
      roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', role)
    }
  }
]

output id string = account.id
output name string = account.name
output deploymentContainer string = deploymentContainer
output deadLetterContainer string = deadLetterContainer
