"""Motion masks: which pixels move relative to the static world."""

if __name__ == "masks":  # found through the working directory, not through the package
    raise ImportError("import recon4d.masks, not masks")
