"""JSON <-> values: the only place that knows the API's field names and quirks."""
