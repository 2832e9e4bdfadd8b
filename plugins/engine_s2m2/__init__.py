"""The S2M2 stereo network, written from its published description.

Min et al., "S2M2: Scalable Stereo Matching Model for Reliable Depth Estimation", ICCV 2025, arXiv 2507.13229.
"""
