// Storage for logs, traces and metrics. It has no keys: the app writes to it with its identity.
param suffix string
param location string
param tags object

@description('Principal of the app, which writes the telemetry.')
param publisherId string

@description('Retention of all telemetry, in days.')
param retentionDays int = 30

@description('Daily limit of ingested telemetry, in GB; -1 for no limit.')
param dailyQuotaGb int = 5

// Source: https://learn.microsoft.com/azure/role-based-access-control/built-in-roles
var monitoringMetricsPublisher = '3913510d-42f4-4e42-8a64-420c390055eb'

resource workspace 'Microsoft.OperationalInsights/workspaces@2023-09-01' = {
  name: 'log-${suffix}'
  location: location
  tags: tags
  properties: {
    sku: { name: 'PerGB2018' }
    retentionInDays: retentionDays
    workspaceCapping: { dailyQuotaGb: dailyQuotaGb }
    features: { disableLocalAuth: true }
  }
}

resource insights 'Microsoft.Insights/components@2020-02-02' = {
  name: 'appi-${suffix}'
  location: location
  tags: tags
  kind: 'web'
  properties: {
    Application_Type: 'web'
    WorkspaceResourceId: workspace.id
    DisableLocalAuth: true
  }
}

// The tables of Application Insights have a retention of their own, which is 90 days by default.
@batchSize(1)
resource tables 'Microsoft.OperationalInsights/workspaces/tables@2023-09-01' = [
  for name in ['AppTraces', 'AppExceptions', 'AppRequests', 'AppDependencies', 'AppMetrics']: {
    parent: workspace
    name: name
    properties: {
      retentionInDays: retentionDays
      totalRetentionInDays: retentionDays
    }
    // The tables are in the workspace once a component uses it.
    dependsOn: [insights]
  }
]

resource access 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  scope: insights
  name: guid(insights.id, publisherId, monitoringMetricsPublisher)
  properties: {
    principalId: publisherId
    principalType: 'ServicePrincipal'
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', monitoringMetricsPublisher)
  }
}

output workspaceId string = workspace.id
output insightsConnectionString string = insights.properties.ConnectionString
