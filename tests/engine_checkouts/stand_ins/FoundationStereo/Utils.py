"""What such files do to a process that imports them."""

import importlib
import logging
import os
import random
import sys

import joblib  # noqa: F401  # as published code imports what only its scripts need
import open3d

sys.path.append(os.path.dirname(os.path.realpath(__file__)))  # noqa: PTH120  # as published code does


def loud(level=logging.DEBUG):
    importlib.reload(logging)
    logging.basicConfig(level=level, format="%(message)s")
    logging.getLogger().setLevel(level)


loud()
os.environ["STAND_IN"] = "was here"


def cloud(points):
    return open3d.geometry.PointCloud(points)


def freeze(model):
    for parameter in model.parameters():
        parameter.requires_grad = False
    return model.eval()


def unused_seed():
    random.seed(0)
