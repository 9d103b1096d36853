"""OpenFlexure microscopes, over the HTTP API of their server: version 2, and version 3."""
