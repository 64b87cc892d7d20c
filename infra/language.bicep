// A Language resource without keys. You create and deploy its project in Microsoft Foundry (until March 2027 also
// Language Studio), with documents in a container of the linked storage account.
param name string
param location string
param tags object

@description('Storage account that holds the documents for training.')
param storageName string
param isPrivate bool
param allowedAddresses array

resource storage 'Microsoft.Storage/storageAccounts@2023-05-01' existing = {
  name: storageName
}

resource account 'Microsoft.CognitiveServices/accounts@2024-10-01' = {
  name: name
  location: location
  tags: tags
  kind: 'TextAnalytics'
  sku: { name: 'S' }
  identity: { type: 'SystemAssigned' }
  properties: {
    // Microsoft Entra ID requires a custom subdomain.
    customSubDomainName: name
    disableLocalAuth: true
    // A custom NER project can be created only in a resource with linked storage.
    userOwnedStorage: [{ resourceId: storage.id }]
    publicNetworkAccess: 'Enabled'
    networkAcls: {
      defaultAction: isPrivate ? 'Deny' : 'Allow'
      ipRules: [for address in allowedAddresses: { value: address }]
    }
  }
}

output name string = account.name
output principalId string = account.identity.principalId
