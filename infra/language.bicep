// A Language resource without keys. You create and deploy its project in Microsoft Foundry (until March 2027 also
// Language Studio).
param name string
param location string
param tags object
param isPrivate bool
param allowedAddresses array

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
    publicNetworkAccess: 'Enabled'
    networkAcls: {
      defaultAction: isPrivate ? 'Deny' : 'Allow'
      ipRules: [for address in allowedAddresses: { value: address }]
    }
  }
}

output name string = account.name
