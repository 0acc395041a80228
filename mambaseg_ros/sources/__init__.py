"""Second inputs: windows of events, or the images of a second camera."""
