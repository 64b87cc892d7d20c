// The Event Grid subscription to uploads. Deploy it after the code, because only a running app has the webhook key.
param functionAppName string
param eventTopicName string
param storageAccountName string
param inputContainer string
param deadLetterContainer string

resource app 'Microsoft.Web/sites@2024-04-01' existing = {
  name: functionAppName
}

resource storage 'Microsoft.Storage/storageAccounts@2023-05-01' existing = {
  name: storageAccountName
}

resource topic 'Microsoft.EventGrid/systemTopics@2022-06-15' existing = {
  name: eventTopicName
}

var deadLetters = {
  identity: { type: 'SystemAssigned' }
  deadLetterDestination: {
    endpointType: 'StorageBlob'
    properties: {
      resourceId: storage.id
      blobContainerName: deadLetterContainer
    }
  }
}

resource uploads 'Microsoft.EventGrid/systemTopics/eventSubscriptions@2022-06-15' = {
  parent: topic
  name: 'uploads'
  properties: {
    destination: {
      endpointType: 'WebHook'
      properties: {
        endpointUrl: 'https://${app.properties.defaultHostName}/runtime/webhooks/blobs?functionName=Host.Functions.submit&code=${uriComponent(listKeys('${app.id}/host/default', app.apiVersion).systemKeys.blobs_extension)}'
        maxEventsPerBatch: 10
        preferredBatchSizeInKilobytes: 64
      }
    }
    eventDeliverySchema: 'EventGridSchema'
    filter: {
      includedEventTypes: ['Microsoft.Storage.BlobCreated']
      // The host does not check the container: without this filter, each outcome would be reported as an upload.
      subjectBeginsWith: '/blobServices/default/containers/${inputContainer}/blobs/'
    }
    retryPolicy: {
      maxDeliveryAttempts: 30
      eventTimeToLiveInMinutes: 1440
    }
    // Keep events that Event Grid gives up. Only a topic with an identity can write them.
    deadLetterWithResourceIdentity: empty(topic.?identity.?principalId) ? null : deadLetters
  }
}
