"""Importing gouache is nearly free: what is heavy is imported where it is used."""

import subprocess
import sys

TIME = """
import time, torch
start = time.perf_counter()
import gouache
print(time.perf_counter() - start)
"""
HEAVY = """
import sys, gouache
for package in dir(gouache):
    getattr(gouache, package)
heavy = "lightning lightning_fabric matplotlib sklearn skimage scipy diffusers torchvision pandas"
print(*[name for name in heavy.split() if name in sys.modules])
"""


def output_of(code):
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_import_costs_less_than_three_tenths_of_a_second_beyond_torch():
    assert min(float(output_of(TIME)) for _ in range(3)) < 0.3


def test_no_package_imports_what_is_heavy():
    assert output_of(HEAVY) == ""
