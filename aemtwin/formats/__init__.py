"""Files and what they hold: NSID by our own codec, the twin catalogue, sidpy."""
