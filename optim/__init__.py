"""The batch optimizer: cameras and depth from flow on static pixels."""

if __name__ == "optim":  # found through the working directory, not through the package
    raise ImportError("import recon4d.optim, not optim")
