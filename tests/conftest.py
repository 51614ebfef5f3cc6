"""Settings for every test: two threads, no network, no window."""

import os
import sys
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("MPLBACKEND", "Agg")
os.environ.setdefault("GOMP_SPINCOUNT", "1000")  # threads wait asleep: the machine may be busy
sys.path.insert(0, str(Path(__file__).parent / "contract"))  # the toys, also for child processes

import torch

torch.set_num_threads(2)
