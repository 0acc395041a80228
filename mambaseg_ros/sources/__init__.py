"""What goes beside an image: windows of events, or the pictures of a second camera."""
