// What a new Language resource needs for a project: access to the documents, and a person who may create it.
param languageName string

@description('Principal id of the Language resource.')
param languagePrincipalId string
param storageName string

@description('Principal id of the person who creates the project. Empty: nobody.')
param operatorId string
param operatorType string

// Source: https://learn.microsoft.com/azure/role-based-access-control/built-in-roles
var storageBlobDataContributor = 'ba92f5b4-2d11-453d-a403-e96b0029c9fe'
var cognitiveServicesLanguageOwner = 'f07febfe-79bc-46b1-8b37-790e26e6e498'

resource account 'Microsoft.CognitiveServices/accounts@2024-10-01' existing = {
  name: languageName
}

resource storage 'Microsoft.Storage/storageAccounts@2023-05-01' existing = {
  name: storageName
}

resource documents 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  scope: storage
  name: guid(storage.id, languagePrincipalId, storageBlobDataContributor)
  properties: {
    principalId: languagePrincipalId
    principalType: 'ServicePrincipal'
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', storageBlobDataContributor)
  }
}

resource author 'Microsoft.Authorization/roleAssignments@2022-04-01' = if (!empty(operatorId)) {
  scope: account
  name: guid(account.id, operatorId, cognitiveServicesLanguageOwner)
  properties: {
    principalId: operatorId
    principalType: operatorType
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', cognitiveServicesLanguageOwner)
  }
}
