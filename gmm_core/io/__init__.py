"""Models as files, and as objects of other libraries and versions."""
