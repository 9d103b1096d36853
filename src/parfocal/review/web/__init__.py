"""The pages, and the HTTP interface that they and others use."""
