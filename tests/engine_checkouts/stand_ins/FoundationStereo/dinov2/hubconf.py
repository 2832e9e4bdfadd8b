"""What torch.hub looks for."""

from dinov2.hub import dinov2_vitl14, dinov2_vits14  # noqa: F401  # torch.hub takes them from here

dependencies = ["torch"]
