"""Where the optimization starts: two views, growth frame by frame, one camera, the focal length."""
