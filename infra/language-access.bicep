// Access to the Language resource, which may be in another resource group: submit, read and cancel jobs.
param name string

@description('Principal id of the app.')
param readerId string

// Source: https://learn.microsoft.com/azure/role-based-access-control/built-in-roles
var cognitiveServicesLanguageReader = '7628b7b8-a8b2-4cdc-b46f-e9b35248918e'

var noSubdomain = 'The Language resource has no custom subdomain, so it accepts no token of Microsoft Entra ID. Add one: az cognitiveservices account update --name ... --resource-group ... --custom-domain ...'

resource account 'Microsoft.CognitiveServices/accounts@2024-10-01' existing = {
  name: name
}

resource access 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  scope: account
  name: guid(account.id, readerId, cognitiveServicesLanguageReader)
  properties: {
    principalId: readerId
    principalType: 'ServicePrincipal'
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', cognitiveServicesLanguageReader)
  }
}

var hasSubdomain = !empty(account.properties.?customSubDomainName)

output id string = account.id
output endpoint string = hasSubdomain ? account.properties.endpoint : fail(noSubdomain)
