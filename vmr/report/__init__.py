"""The report: one page that shows what the table only counts."""
