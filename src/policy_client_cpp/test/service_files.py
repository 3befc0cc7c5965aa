#!/usr/bin/env python3
# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Make what the tests against the real service need, in a folder: `service_files.py FOLDER`.

model.onnx answers an observation of three values with their sum and the last one; ca.pem signs
server.pem (of 127.0.0.1) and client.pem, with keys beside them; other_ca.pem signs nothing.
"""

from __future__ import annotations

import datetime
import ipaddress
import sys
from pathlib import Path

import numpy as np
import onnx
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from onnx import TensorProto, helper, numpy_helper


def write_model(file: Path) -> None:
    weights = np.array([[1, 0], [1, 0], [1, 1]], dtype=np.float32)
    inputs = [helper.make_tensor_value_info("obs", TensorProto.FLOAT, ["n", 3])]
    outputs = [helper.make_tensor_value_info("action", TensorProto.FLOAT, ["n", 2])]
    node = helper.make_node("MatMul", ["obs", "weights"], ["action"])
    graph = helper.make_graph(
        [node], "sum", inputs, outputs, [numpy_helper.from_array(weights, "weights")]
    )
    onnx.save(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), file
    )


def write_certificates(folder: Path) -> None:
    ca_key = ec.generate_private_key(ec.SECP256R1())
    ca_name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "ca of a test")])
    write_certificate(folder / "ca.pem", ca_name, ca_key, ca_name, ca_key)
    other_key = ec.generate_private_key(ec.SECP256R1())
    other_name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "another ca")])
    write_certificate(folder / "other_ca.pem", other_name, other_key, other_name, other_key)
    for who in ("server", "client"):
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, who)])
        write_certificate(folder / f"{who}.pem", name, key, ca_name, ca_key)
        private = key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        file = folder / f"{who}.key"
        file.touch(mode=0o600)
        file.write_bytes(private)


def write_certificate(
    file: Path,
    name: x509.Name,
    key: ec.EllipticCurvePrivateKey,
    signer: x509.Name,
    signer_key: ec.EllipticCurvePrivateKey,
) -> None:
    now = datetime.datetime.now(datetime.timezone.utc)
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(signer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=name == signer, path_length=None), True)
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), False
        )
    )
    certificate = builder.sign(signer_key, hashes.SHA256())
    file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))


if __name__ == "__main__":
    write_model(Path(sys.argv[1]) / "model.onnx")
    write_certificates(Path(sys.argv[1]))
