// The Event Grid subscription to uploads that delivers into a queue of the account. It needs no running app and no key.
param topicName string

@description('Principal id of the topic, which delivers with its own identity.')
param topicPrincipalId string
param storageName string
param eventQueue string
param inputContainer string
param deadLetterContainer string

var noIdentity = 'The system topic has no system-assigned identity, so it cannot deliver into a queue. Give it one: az eventgrid system-topic update --name ... --resource-group ... --identity systemassigned'
var principalId = empty(topicPrincipalId) ? fail(noIdentity) : topicPrincipalId
// Source: https://learn.microsoft.com/azure/role-based-access-control/built-in-roles
var storageQueueDataMessageSender = 'c6a89b2d-59bc-44d0-9896-0f6e12d7b80a'

resource storage 'Microsoft.Storage/storageAccounts@2023-05-01' existing = {
  name: storageName

  resource queueService 'queueServices' existing = {
    name: 'default'

    resource queue 'queues' existing = {
      name: eventQueue
    }
  }
}

resource topic 'Microsoft.EventGrid/systemTopics@2022-06-15' existing = {
  name: topicName
}

// The principal is part of the name, because a topic that is created again has another one.
resource access 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  scope: storage::queueService::queue
  name: guid(storage::queueService::queue.id, topicPrincipalId, storageQueueDataMessageSender)
  properties: {
    principalId: principalId
    principalType: 'ServicePrincipal'
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', storageQueueDataMessageSender)
  }
}

// It has the name of the subscription that delivers to the webhook, so each replaces the other one.
resource uploads 'Microsoft.EventGrid/systemTopics/eventSubscriptions@2022-06-15' = {
  parent: topic
  name: 'uploads'
  properties: {
    deliveryWithResourceIdentity: {
      identity: { type: 'SystemAssigned' }
      destination: {
        endpointType: 'StorageQueue'
        properties: {
          resourceId: storage.id
          queueName: eventQueue
          // Events never expire, however long the app is down.
          queueMessageTimeToLiveInSeconds: -1
        }
      }
    }
    eventDeliverySchema: 'EventGridSchema'
    filter: {
      includedEventTypes: ['Microsoft.Storage.BlobCreated']
      // Without this filter, the app would log an error for each outcome.
      subjectBeginsWith: '/blobServices/default/containers/${inputContainer}/blobs/'
    }
    retryPolicy: {
      maxDeliveryAttempts: 30
      eventTimeToLiveInMinutes: 1440
    }
    deadLetterWithResourceIdentity: {
      identity: { type: 'SystemAssigned' }
      deadLetterDestination: {
        endpointType: 'StorageBlob'
        properties: {
          resourceId: storage.id
          blobContainerName: deadLetterContainer
        }
      }
    }
  }
  dependsOn: [access]
}
