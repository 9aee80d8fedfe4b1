"""The lens of a video that is not undistorted, found from its flow: model, coefficients and focal length together."""
