"""The queries of alerts and workbook, run on rows as a Log Analytics workspace has them."""
