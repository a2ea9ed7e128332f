import sys

from setuptools import setup

# The load generator stands on epoll.
LOAD = ["simulators/load/ffi_build.py:ffi"] if sys.platform == "linux" else []

setup(
    cffi_modules=["csrc/ffi_build.py:ffi", *LOAD],
    options={"bdist_wheel": {"py_limited_api": "cp311"}},
)
