"""The API's calls as methods: one file for each family of calls."""
