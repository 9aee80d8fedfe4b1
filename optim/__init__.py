"""The batch optimizer: bundle adjustment of cameras and depth on flow instead of tracks, on pixels that do not move.

It may use `recon4d.core` and nothing else. `align` is the way in (`between`: among held keyframes), `setting` the one
set-up of an optimization; `objective` what is minimised, `solve` how, `start` where from; `triangulate` and `dense` the
depth of every pixel; `stitch` pieces of long videos; `pairwise` the alignment of networks' pairs; `given_poses` and
`register` poses that are known beforehand.
"""

if __name__ == "optim":  # found through the working directory, not through the package
    raise ImportError("import recon4d.optim, not optim")
