"""OpenCV's semi-global matching as a base that has nothing to train."""
