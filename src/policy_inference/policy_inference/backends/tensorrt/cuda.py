# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The CUDA package of this machine: cuda-python, or pycuda where only that is installed."""

from __future__ import annotations

from policy_core.errors import BackendError
from policy_inference.backends.tensorrt.cuda_python import CudaPython
from policy_inference.backends.tensorrt.device import Device
from policy_inference.backends.tensorrt.pycuda_device import PyCuda

INSTALL = (
    "install one: JetPack 5 `pip install pycuda`, which needs CUDA's headers and nvcc on "
    "the PATH, JetPack 6 `pip install 'cuda-python==12.*'`, JetPack 7 "
    "`pip install 'cuda-python==13.*'`"
)


def open_device() -> Device:
    """Open the first GPU.

    Raises:
        BackendError: No CUDA package is installed, or the libraries below one are missing, or
            there is no driver or GPU.
    """
    missing, broken = list[str](), list[str]()
    for opener in (_cuda_python, _older_cuda_python, _pycuda):
        try:
            return opener()
        except ModuleNotFoundError as error:
            missing.append(str(error))
        except (ImportError, OSError) as error:
            broken.append(str(error))
    if broken:
        raise BackendError(
            f"tensorrt: a Python package for CUDA is there, and does not load: "
            f"{'; '.join(broken)}; without libcuda.so there is no driver (in a "
            "container: run it with the NVIDIA runtime), for another library "
            "install the package of the driver's CUDA version"
        )
    raise BackendError(
        f"tensorrt: expected cuda-python or pycuda, found neither ({'; '.join(missing)}); {INSTALL}"
    )


def _cuda_python() -> Device:
    from cuda.bindings import runtime

    return CudaPython(runtime)


def _older_cuda_python() -> Device:
    import cuda.cudart

    return CudaPython(cuda.cudart)


def _pycuda() -> Device:
    import pycuda.driver

    return PyCuda(pycuda.driver)
