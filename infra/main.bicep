// Everything that the function app needs, in a resource group of its own: `azd up`.
// No setting holds a key: the app, the host and Event Grid use managed identities.
targetScope = 'subscription'

@description('Name of the azd environment. The resource group is named after it, so it must not end in a dot.')
@minLength(1)
@maxLength(64)
param environmentName string

@description('Region of all resources. It must offer Flex Consumption: az functionapp list-flexconsumption-locations')
@minLength(1)
param location string

@description('Resource id of the Language resource that contains the project. Empty: create a resource that is linked to the storage account, in which you then create a project.')
param languageResourceId string = ''

@description('Name of the project in Microsoft Foundry (until March 2027 also Language Studio); case matters.')
@minLength(1)
param projectName string

@description('Name of the deployment of the project; case matters.')
@minLength(1)
param deploymentName string

@description('Language of documents that do not specify one, as a BCP-47 tag; auto lets the service detect it, from API version 2025-11-01 on.')
param documentLanguage string = 'en'

@description('Whether the service must not keep the texts, which it may do for up to 48 hours for troubleshooting.')
param loggingOptOut bool = false

@description('Version of the custom NER API.')
param apiVersion string = '2023-04-01'

@description('Model, for the API version v3.1-preview.ct.1 only. That version ignores project and deployment.')
param modelId string = ''

@description('Further app settings, such as NER_POLL_MAX_SECONDS. Those that the template sets itself take precedence.')
param appSettings object = {}

@description('Version of Python.')
@allowed(['3.11', '3.12', '3.13', '3.14'])
param pythonVersion string = '3.13'

@description('Maximum number of instances of each function. More instances do not make the service faster: it accepts 1,000 calls per minute. Some regions require at least 40.')
@minValue(1)
@maxValue(1000)
param maximumInstanceCount int = 2

@description('Whether one instance for uploads and one for polls are always running, so that no file waits for a cold start. They are charged all the time.')
param alwaysReady bool = false

@description('Memory of an instance, in MB. It must be several times as large as eight files of NER_MAX_BLOB_BYTES.')
@allowed([512, 2048, 4096])
param instanceMemoryMB int = 2048

@description('Whether storage, and a Language resource that is created here, can be reached through a virtual network only. Event Grid still delivers to the public URL of the app.')
param privateNetwork bool = false

@description('Public IPv4 addresses, or ranges up to /30, that can reach storage and a new Language resource although the network is private. Storage refuses /31 and /32: list single addresses without a prefix.')
param allowedAddresses string[] = []

@description('How Event Grid reports uploads: to the webhook of the blob trigger, or by messages in a queue of the storage account, which wait while the app is down and need no key.')
@allowed(['EventGrid', 'EventGridQueue'])
param blobTriggerSource string = 'EventGrid'

@description('Name of an Event Grid system topic that the storage account already has: it can have only one. Empty: create it.')
param eventTopicName string = ''

@description('Email address for alerts. Empty: alerts are shown in the portal only.')
param alertEmail string = ''

@description('Object id of a user or group that may upload files, read outcomes, and run ner status and ner redrive. "none": no access.')
param operatorId string = 'none'

@description('Type of the operator.')
@allowed(['User', 'Group', 'ServicePrincipal'])
param operatorType string = 'User'

var suffix = toLower(uniqueString(subscription().id, environmentName, location))
var tags = { 'azd-env-name': environmentName }
var isNewLanguage = empty(languageResourceId)
var newLanguageName = 'lang-${suffix}'
var groupName = 'rg-${environmentName}'
var lowerId = toLower(languageResourceId)
var isInGroup = startsWith(lowerId, '/subscriptions/') && contains(lowerId, '/resourcegroups/')
var isLanguageId = isInGroup && contains(lowerId, '/providers/microsoft.cognitiveservices/accounts/')
var wrongLanguageId = 'languageResourceId must be /subscriptions/.../resourceGroups/.../providers/Microsoft.CognitiveServices/accounts/..., not an endpoint or a name. Set NER_LANGUAGE_RESOURCE_ID to the output of: az cognitiveservices account show --name ... --resource-group ... --query id --output tsv'
var languageId = isNewLanguage || isLanguageId ? languageResourceId : fail(wrongLanguageId)
// /subscriptions/{2}/resourceGroups/{4}/providers/Microsoft.CognitiveServices/accounts/{8}
var languageParts = split(isNewLanguage ? '////////' : languageId, '/')
var operator = operatorId == 'none' ? '' : operatorId
var needsModel = apiVersion == 'v3.1-preview.ct.1' && empty(modelId)
var model = needsModel ? fail('The API version v3.1-preview.ct.1 needs a model. Set NER_MODEL_ID.') : modelId
var languageSubscription = isNewLanguage ? subscription().subscriptionId : languageParts[2]
var languageGroup = isNewLanguage ? groupName : languageParts[4]
var inputContainer = 'incoming'
var resultsContainer = 'results'
var stateContainer = 'ner-state'
var queue = 'ner-jobs'
// The app derives the same name from that of its queue.
var eventQueue = blobTriggerSource == 'EventGridQueue' ? '${queue}-events' : ''

resource group 'Microsoft.Resources/resourceGroups@2024-03-01' = {
  name: groupName
  location: location
  tags: tags
}

module identity 'identity.bicep' = {
  scope: group
  params: {
    name: 'id-${suffix}'
    location: location
    tags: tags
  }
}

module monitoring 'monitoring.bicep' = {
  scope: group
  params: {
    suffix: suffix
    location: location
    tags: tags
    publisherId: identity.outputs.principalId
  }
}

module network 'network.bicep' = if (privateNetwork) {
  scope: group
  params: {
    suffix: suffix
    location: location
    tags: tags
  }
}

module storage 'storage.bicep' = {
  scope: group
  params: {
    suffix: suffix
    location: location
    tags: tags
    inputContainer: inputContainer
    resultsContainer: resultsContainer
    stateContainer: stateContainer
    queue: queue
    eventQueue: eventQueue
    appPrincipalId: identity.outputs.principalId
    operatorId: operator
    operatorType: operatorType
    isPrivate: privateNetwork
    allowedAddresses: allowedAddresses
    trainingLanguageName: isNewLanguage ? newLanguageName : ''
  }
}

module events 'events.bicep' = {
  scope: group
  params: {
    suffix: suffix
    location: location
    tags: tags
    storageName: storage.outputs.name
    deadLetterContainer: storage.outputs.deadLetterContainer
    workspaceId: monitoring.outputs.workspaceId
    inputContainer: inputContainer
    existingTopicName: eventTopicName
    eventQueue: eventQueue
  }
}

module newLanguage 'language.bicep' = if (isNewLanguage) {
  scope: group
  params: {
    name: newLanguageName
    location: location
    tags: tags
    storageName: storage.outputs.name
    isPrivate: privateNetwork
    allowedAddresses: allowedAddresses
  }
}

module training 'training.bicep' = if (isNewLanguage) {
  scope: group
  params: {
    languageName: newLanguage!.outputs.name
    languagePrincipalId: newLanguage!.outputs.principalId
    storageName: storage.outputs.name
    operatorId: operator
    operatorType: operatorType
  }
}

module languageAccess 'language-access.bicep' = {
  scope: resourceGroup(languageSubscription, languageGroup)
  params: {
    name: isNewLanguage ? newLanguage!.outputs.name : languageParts[8]
    readerId: identity.outputs.principalId
  }
}

module privateEndpoints 'private-endpoints.bicep' = if (privateNetwork) {
  scope: group
  params: {
    suffix: suffix
    location: location
    tags: tags
    storageId: storage.outputs.id
    languageId: languageAccess.outputs.id
    networkId: network!.outputs.id
    subnetId: network!.outputs.endpointsSubnetId
  }
}

module app 'app.bicep' = {
  scope: group
  params: {
    suffix: suffix
    location: location
    tags: tags
    identityId: identity.outputs.id
    identityClientId: identity.outputs.clientId
    storageName: storage.outputs.name
    deploymentContainer: storage.outputs.deploymentContainer
    insightsConnectionString: monitoring.outputs.insightsConnectionString
    subnetId: privateNetwork ? network!.outputs.appSubnetId : ''
    pythonVersion: pythonVersion
    maximumInstanceCount: maximumInstanceCount
    instanceMemoryMB: instanceMemoryMB
    alwaysReady: alwaysReady
    furtherSettings: appSettings
    nerSettings: {
      NER_INPUT_CONTAINER: inputContainer
      NER_RESULTS_CONTAINER: resultsContainer
      NER_STATE_CONTAINER: stateContainer
      NER_QUEUE: queue
      NER_BLOB_TRIGGER_SOURCE: blobTriggerSource
      NER_ENDPOINT: languageAccess.outputs.endpoint
      NER_API_VERSION: apiVersion
      NER_PROJECT_NAME: projectName
      NER_DEPLOYMENT_NAME: deploymentName
      NER_MODEL_ID: model
      NER_LANGUAGE: documentLanguage
      NER_LOGGING_OPT_OUT: loggingOptOut ? 'true' : 'false'
    }
  }
}

module alerts 'alerts.bicep' = {
  scope: group
  params: {
    suffix: suffix
    location: location
    tags: tags
    workspaceId: monitoring.outputs.workspaceId
    eventTopicId: events.outputs.topicId
    email: alertEmail
  }
}

output AZURE_LOCATION string = location
output AZURE_RESOURCE_GROUP string = group.name
output FUNCTION_APP_NAME string = app.outputs.name
output EVENT_TOPIC_NAME string = events.outputs.topicName
output BLOB_TRIGGER_SOURCE string = blobTriggerSource
output STORAGE_ACCOUNT_NAME string = storage.outputs.name
output INPUT_CONTAINER string = inputContainer
output LANGUAGE_ENDPOINT string = languageAccess.outputs.endpoint
output RESULTS_CONTAINER string = resultsContainer
output DEAD_LETTER_CONTAINER string = storage.outputs.deadLetterContainer
