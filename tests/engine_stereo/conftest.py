"""Tests on real files are collected where the environment says where those lie."""

from __future__ import annotations

import os

collect_ignore_glob = [] if os.environ.get("ENGINE_SHARED_DATA") else ["test_stereo_real_*.py"]
