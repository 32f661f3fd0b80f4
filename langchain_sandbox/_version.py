"""The version of the distribution, read by the build and by the image's tag."""

__version__ = "0.1.0"
