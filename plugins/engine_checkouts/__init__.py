"""A stereo network from its authors' own checkout on the user's disk: never copied, never changed there."""
