# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""A TLS client over the system's libssl: it sends what Python's ssl cannot."""

from __future__ import annotations

import ctypes
import ctypes.util
import socket

LIBRARY = ctypes.util.find_library("ssl")
_VERIFY_NONE, _KEY_UPDATE_NOT_REQUESTED, _KEY_UPDATE_REQUESTED = 0, 0, 1


class OpensslClient:
    """A connection over a connected socket, which stays the caller's to close."""

    def __init__(self, connected: socket.socket) -> None:
        """Make the handshake; waits for the other end.

        Raises:
            OSError: libssl is missing, or the handshake failed.
        """
        if LIBRARY is None:
            raise OSError("no libssl")
        self._lib = lib = ctypes.CDLL(LIBRARY)
        lib.TLS_client_method.restype = lib.SSL_CTX_new.restype = ctypes.c_void_p
        lib.SSL_new.restype = lib.BIO_s_mem.restype = lib.BIO_new.restype = ctypes.c_void_p
        lib.BIO_new.argtypes = [ctypes.c_void_p]
        self._context = ctypes.c_void_p(lib.SSL_CTX_new(ctypes.c_void_p(lib.TLS_client_method())))
        lib.SSL_CTX_set_verify(self._context, _VERIFY_NONE, None)
        self._ssl = ctypes.c_void_p(lib.SSL_new(self._context))
        connected.setblocking(True)
        lib.SSL_set_fd(self._ssl, connected.fileno())
        if lib.SSL_connect(self._ssl) != 1:
            raise OSError("the handshake failed")

    def key_updates(self, count: int, *, answered: bool = False) -> bytes:
        """Return records of so many KeyUpdates, in the order in which they are to be sent.

        Args:
            count: How many.
            answered: Whether the other end shall update its key for each as well.
        """
        lib, memory = self._lib, ctypes.c_void_p(self._lib.BIO_new(self._lib.BIO_s_mem()))
        lib.SSL_set0_wbio(self._ssl, memory)
        kind = _KEY_UPDATE_REQUESTED if answered else _KEY_UPDATE_NOT_REQUESTED
        for _ in range(count):
            assert lib.SSL_key_update(self._ssl, kind) == 1
            assert lib.SSL_do_handshake(self._ssl) == 1
        records = ctypes.create_string_buffer(64 * count)
        length = lib.BIO_read(memory, records, len(records))
        return records.raw[:length]

    def close(self) -> None:
        """Free what libssl holds; sends nothing."""
        self._lib.SSL_free(self._ssl)
        self._lib.SSL_CTX_free(self._context)
