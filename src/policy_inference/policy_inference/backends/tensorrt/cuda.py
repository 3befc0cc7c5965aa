# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The CUDA package of this machine: cuda-python, or pycuda where only that is installed."""

from __future__ import annotations

from policy_inference.backends.tensorrt.cuda_python import CudaPython
from policy_inference.backends.tensorrt.device import Device
from policy_inference.backends.tensorrt.pycuda_device import PyCuda
from policy_inference.errors import BackendError

INSTALL = ("install one: JetPack 5 `pip install pycuda`, JetPack 6 `pip install "
           "'cuda-python==12.*'`, JetPack 7 `pip install 'cuda-python==13.*'`")


def open_device() -> Device:
    """Open the first GPU.

    Raises:
        BackendError: No CUDA package is installed, or there is no driver or GPU.
    """
    missing = list[str]()
    for opener in (_cuda_python, _older_cuda_python, _pycuda):
        try:
            return opener()
        except ImportError as error:
            missing.append(str(error))
    raise BackendError(f"tensorrt: expected cuda-python or pycuda, found neither "
                       f"({'; '.join(missing)}); {INSTALL}")


def _cuda_python() -> Device:
    from cuda.bindings import runtime

    return CudaPython(runtime)


def _older_cuda_python() -> Device:
    from cuda import cudart

    return CudaPython(cudart)


def _pycuda() -> Device:
    import pycuda.driver

    return PyCuda(pycuda.driver)
