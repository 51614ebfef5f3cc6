"""Runs of the toys as a process of their own: several in turn, on one rank or two.

``python _job.py JOBS OUT``: JOBS is a JSON list of mappings (``model``, ``train``, and what is
optional in ``run``); OUT is a folder that gets ``rank-R.json`` with the losses of every job.
"""

import atexit
import json
import os
import signal
import sys
from pathlib import Path

import torch
from _toys import Blobs, build

from gouache import random, train


def run(job):
    """Carry out one job and return what this rank saw."""
    model = build(job["model"], job.get("dropout", 0.0))
    if "kill" in job:
        kill_at_call(model, job["kill"])
    config = train.TrainConfig(**{"accelerator": "cpu", "precision": "32", **job["train"]})
    folder, resume = job.get("folder"), job.get("resume", False)
    seen = {"losses": [], "rank": 0, "seen": 0}
    for step in train.fit(model, Blobs(), config, folder=folder, resume=resume):
        seen["losses"].append(dict(step.losses))
        seen["rank"] = step.rank
        if job.get("preview"):
            preview(step)
    return seen


def preview(step):
    """Sample from the average and use up numbers of the global generator, as a caller may."""
    step.average.sample(2, rng=random.generator(step.number))
    step.average.sample(1)
    torch.rand(step.number)


def kill_at_call(model, call):
    """Kill this process, without warning, at a forward pass of the model."""
    count = iter(range(1, call + 1))

    def hook(*_):
        if next(count) == call:
            os.kill(os.getpid(), signal.SIGKILL)

    model.register_forward_pre_hook(hook)


def watch_writes(folder):
    """Return a list that collects every event of this process that changes ``folder``."""
    changed = []

    def hook(event, args):
        path = str(args[0]) if args else ""
        writes = event == "open" and len(args) > 2 and args[2] & (os.O_WRONLY | os.O_RDWR)
        if folder in path and (writes or event in {"os.mkdir", "os.rename", "os.remove"}):
            changed.append(f"{event} {path}")

    sys.addaudithook(hook)
    return changed


def note_threads(out):
    """Write the names of this process's threads."""
    names = [file.read_text().strip() for file in Path("/proc/self/task").glob("*/comm")]
    (out / f"threads-{os.environ.get('LOCAL_RANK', 0)}.json").write_text(json.dumps(names))


def main():
    torch.set_num_threads(int(os.environ.get("THREADS", "1")))
    jobs, out = json.loads(sys.argv[1]), Path(sys.argv[2])
    atexit.register(note_threads, out)  # it comes after what a run registers
    changed = watch_writes(next((job["folder"] for job in jobs if "folder" in job), "\0"))
    seen = [run(job) for job in jobs]
    text = json.dumps({"jobs": seen, "changed": changed})
    (out / f"rank-{seen[0]['rank']}.json").write_text(text)


if __name__ == "__main__":
    main()
