// The Event Grid topic of uploads, and the subscription if it delivers into a queue. A subscription to the webhook of the
// app is created after the app is deployed: subscription.bicep.
param suffix string
param location string
param tags object
param storageName string
param inputContainer string
param deadLetterContainer string
param workspaceId string

@description('Name of the system topic that the account already has. Empty: create it.')
param existingTopicName string

@description('Queue into which events are delivered. Empty: the webhook of the app gets them.')
param eventQueue string

resource account 'Microsoft.Storage/storageAccounts@2023-05-01' existing = {
  name: storageName
}

resource made 'Microsoft.EventGrid/systemTopics@2022-06-15' = if (empty(existingTopicName)) {
  name: 'evgt-${suffix}'
  location: location
  tags: tags
  identity: { type: 'SystemAssigned' }
  properties: {
    source: account.id
    topicType: 'Microsoft.Storage.StorageAccounts'
  }
}

resource given 'Microsoft.EventGrid/systemTopics@2022-06-15' existing = if (!empty(existingTopicName)) {
  name: existingTopicName
}

module failures 'event-failures.bicep' = {
  params: {
    topicName: empty(existingTopicName) ? made.name : given.name
    // A topic that another service made may have no identity. It then keeps no dead letters.
    topicPrincipalId: empty(existingTopicName) ? made!.identity.principalId : given!.?identity.?principalId ?? ''
    storageName: storageName
    deadLetterContainer: deadLetterContainer
    workspaceId: workspaceId
  }
}

module subscription 'queue-subscription.bicep' = if (!empty(eventQueue)) {
  params: {
    topicName: empty(existingTopicName) ? made.name : given.name
    topicPrincipalId: empty(existingTopicName) ? made!.identity.principalId : given!.?identity.?principalId ?? ''
    storageName: storageName
    eventQueue: eventQueue
    inputContainer: inputContainer
    deadLetterContainer: deadLetterContainer
  }
  // The topic needs its role for dead letters first.
  dependsOn: [failures]
}

output topicId string = empty(existingTopicName) ? made.id : given.id
output topicName string = empty(existingTopicName) ? made.name : given.name
