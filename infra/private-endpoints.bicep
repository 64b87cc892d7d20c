// Private endpoints of storage and the Language resource in the virtual network.
param suffix string
param location string
param tags object
param storageId string
param languageId string
param networkId string
param subnetId string

var storageDomain = environment().suffixes.storage
var services = [
  { name: 'blob', id: storageId, zone: 'privatelink.blob.${storageDomain}' }
  { name: 'queue', id: storageId, zone: 'privatelink.queue.${storageDomain}' }
  { name: 'table', id: storageId, zone: 'privatelink.table.${storageDomain}' }
  { name: 'account', id: languageId, zone: 'privatelink.cognitiveservices.azure.com' }
]

resource zones 'Microsoft.Network/privateDnsZones@2020-06-01' = [
  for service in services: {
    name: service.zone
    location: 'global'
    tags: tags
  }
]

resource links 'Microsoft.Network/privateDnsZones/virtualNetworkLinks@2020-06-01' = [
  for (service, index) in services: {
    parent: zones[index]
    name: 'link-${suffix}'
    location: 'global'
    tags: tags
    properties: {
      registrationEnabled: false
      virtualNetwork: { id: networkId }
    }
  }
]

resource endpoints 'Microsoft.Network/privateEndpoints@2024-05-01' = [
  for service in services: {
    name: 'pep-${service.name}-${suffix}'
    location: location
    tags: tags
    properties: {
      subnet: { id: subnetId }
      privateLinkServiceConnections: [
        {
          name: service.name
          properties: {
            privateLinkServiceId: service.id
            groupIds: [service.name]
          }
        }
      ]
    }
  }
]

resource zoneGroups 'Microsoft.Network/privateEndpoints/privateDnsZoneGroups@2024-05-01' = [
  for (service, index) in services: {
    parent: endpoints[index]
    name: 'default'
    properties: {
      privateDnsZoneConfigs: [
        {
          name: service.name
          properties: { privateDnsZoneId: zones[index].id }
        }
      ]
    }
  }
]
