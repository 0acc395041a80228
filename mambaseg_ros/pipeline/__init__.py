"""The threads between the callbacks and the publishers."""
