// Alerts for the operator, and a workbook. docs/operations.md says what to do about each alert.
param suffix string
param location string
param tags object
param workspaceId string
param eventTopicId string
param email string

@description('Alert if a file is in flight for longer than this number of seconds.')
param oldestSeconds int = 3600

@description('Alert if more than this number of files fail within an hour.')
param failedFiles int = 10

var alerts = [
  {
    name: 'oldest-waiting'
    title: 'A file is in flight for too long'
    severity: 2
    frequency: 'PT5M'
    window: 'PT15M'
    query: loadTextContent('queries/oldest-waiting.kql')
    threshold: oldestSeconds
  }
  {
    name: 'failed-outcomes'
    title: 'Many files failed'
    severity: 3
    frequency: 'PT15M'
    window: 'PT1H'
    query: loadTextContent('queries/failed-outcomes.kql')
    threshold: failedFiles
  }
  {
    name: 'gave-up'
    title: 'The app gave up on a file'
    severity: 2
    frequency: 'PT5M'
    window: 'PT15M'
    query: loadTextContent('queries/gave-up.kql')
    threshold: 0
  }
  {
    name: 'swept'
    title: 'Many files had to be found by the sweep'
    severity: 2
    frequency: 'PT15M'
    window: 'PT1H'
    query: loadTextContent('queries/swept.kql')
    threshold: 5
  }
  {
    name: 'sweep-stopped'
    title: 'No sweep has finished for an hour'
    severity: 1
    frequency: 'PT15M'
    window: 'PT1H'
    query: loadTextContent('queries/sweep-stopped.kql')
    threshold: 0
  }
  {
    name: 'stuck'
    title: 'No file has ended for an hour'
    severity: 1
    frequency: 'PT15M'
    window: 'PT2H'
    query: loadTextContent('queries/stuck.kql')
    threshold: 0
  }
  {
    name: 'poisoned'
    title: 'Messages failed again and again'
    severity: 2
    frequency: 'PT5M'
    window: 'PT15M'
    query: loadTextContent('queries/poisoned.kql')
    threshold: 0
  }
  {
    name: 'settings'
    title: 'The service rejects the app settings'
    severity: 1
    frequency: 'PT5M'
    window: 'PT15M'
    query: loadTextContent('queries/settings.kql')
    threshold: 0
  }
]

resource recipients 'Microsoft.Insights/actionGroups@2023-01-01' = if (!empty(email)) {
  name: 'ag-${suffix}'
  location: 'global'
  tags: tags
  properties: {
    enabled: true
    groupShortName: 'ner'
    emailReceivers: [
      {
        name: 'operator'
        emailAddress: email
        useCommonAlertSchema: true
      }
    ]
  }
}

resource rules 'Microsoft.Insights/scheduledQueryRules@2023-12-01' = [
  for alert in alerts: {
    name: 'alert-${alert.name}-${suffix}'
    location: location
    tags: tags
    properties: {
      displayName: alert.title
      enabled: true
      autoMitigate: true
      severity: alert.severity
      scopes: [workspaceId]
      evaluationFrequency: alert.frequency
      windowSize: alert.window
      // A new workspace does not have the tables yet.
      skipQueryValidation: true
      criteria: {
        allOf: [
          {
            query: alert.query
            timeAggregation: 'Maximum'
            metricMeasureColumn: 'Value'
            operator: 'GreaterThan'
            threshold: alert.threshold
            failingPeriods: {
              numberOfEvaluationPeriods: 1
              minFailingPeriodsToAlert: 1
            }
          }
        ]
      }
      actions: { actionGroups: empty(email) ? [] : [recipients.id] }
    }
  }
]

resource deadLetters 'Microsoft.Insights/metricAlerts@2018-03-01' = {
  name: 'alert-dead-letters-${suffix}'
  location: 'global'
  tags: tags
  properties: {
    // After a day, or immediately if the endpoint responded with 401 or 403: Event Grid does not try again then.
    description: 'Upload events were given up'
    enabled: true
    autoMitigate: true
    severity: 2
    scopes: [eventTopicId]
    evaluationFrequency: 'PT5M'
    windowSize: 'PT15M'
    criteria: {
      'odata.type': 'Microsoft.Azure.Monitor.SingleResourceMultipleMetricCriteria'
      allOf: [
        {
          criterionType: 'StaticThresholdCriterion'
          name: 'dead letters'
          metricNamespace: 'Microsoft.EventGrid/systemTopics'
          metricName: 'DeadLetteredCount'
          timeAggregation: 'Total'
          operator: 'GreaterThan'
          threshold: 0
        }
      ]
    }
    actions: empty(email) ? [] : [{ actionGroupId: recipients.id }]
  }
}

resource failedDeliveries 'Microsoft.Insights/metricAlerts@2018-03-01' = {
  name: 'alert-failed-deliveries-${suffix}'
  location: 'global'
  tags: tags
  properties: {
    description: 'Upload events cannot be delivered'
    enabled: true
    autoMitigate: true
    severity: 1
    scopes: [eventTopicId]
    evaluationFrequency: 'PT5M'
    windowSize: 'PT30M'
    criteria: {
      'odata.type': 'Microsoft.Azure.Monitor.SingleResourceMultipleMetricCriteria'
      allOf: [
        {
          criterionType: 'StaticThresholdCriterion'
          name: 'failed deliveries'
          metricNamespace: 'Microsoft.EventGrid/systemTopics'
          metricName: 'DeliveryAttemptFailCount'
          timeAggregation: 'Total'
          operator: 'GreaterThan'
          // Event Grid tries to deliver an event about six times within half an hour.
          threshold: 4
        }
      ]
    }
    actions: empty(email) ? [] : [{ actionGroupId: recipients.id }]
  }
}

resource workbook 'Microsoft.Insights/workbooks@2023-06-01' = {
  name: guid(workspaceId, 'workbook')
  location: location
  tags: tags
  kind: 'shared'
  properties: {
    displayName: 'Files and their entities'
    category: 'workbook'
    sourceId: workspaceId
    serializedData: loadTextContent('workbook.json')
  }
}
