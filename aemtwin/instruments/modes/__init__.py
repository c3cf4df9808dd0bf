"""Modes that are computed from maps of the specimen rather than played back."""
