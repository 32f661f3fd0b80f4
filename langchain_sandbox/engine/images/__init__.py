"""The images that containers are made from: the package's own, those derived from it, and which one a run takes."""
