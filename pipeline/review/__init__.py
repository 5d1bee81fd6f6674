"""What a person looks at: overlays, charts, the report page, and the exported tables."""
