#!/usr/bin/env python3
"""Signs standard input with a key behind Lastmile, with stock gRPC and nothing of ours but the .proto files.

    python3 sign.py --instance .lastmile --as payments --key payments/jwt < message

Prints the signature in hex. When the request is refused, prints the reason and what is known of the key's use to
standard error, and exits with code 1. Needs python3-grpcio, python3-protobuf, protobuf-compiler, libprotobuf-dev
and protobuf-compiler-grpc of Debian or Ubuntu, or the same from elsewhere.
"""

import argparse
import json
import pathlib
import subprocess
import sys
import tempfile

import grpc

HERE = pathlib.Path(__file__).resolve().parent
PROTO = HERE.parents[2] / "broker" / "proto"


def load_stubs(proto, plugin):
    """Generates the message and service modules into a directory of their own, and imports them."""
    with tempfile.TemporaryDirectory(prefix="lastmile-stubs-") as output:
        subprocess.run(
            [
                "protoc",
                f"--proto_path={proto}",
                f"--python_out={output}",
                f"--grpc_out={output}",
                f"--plugin=protoc-gen-grpc={plugin}",
                "google/rpc/status.proto",
                "lastmile/v1/common.proto",
                "lastmile/v1/key_use.proto",
            ],
            check=True,
        )
        # Another `google` package may be installed, and a package can span several directories: ours goes first in it.
        import google

        google.__path__ = [str(pathlib.Path(output) / "google"), *google.__path__]
        sys.path.insert(0, output)
        try:
            from google.rpc import status_pb2
            from lastmile.v1 import key_use_pb2, key_use_pb2_grpc
        finally:
            sys.path.remove(output)
    return key_use_pb2, key_use_pb2_grpc, status_pb2


def open_channel(instance, profile):
    """A channel that proves who we are with our X.509-SVID, and that the peer is the broker.

    Stock gRPC does not compare SPIFFE IDs; it compares a DNS name, which no certificate but the broker's has.
    """
    credentials = grpc.ssl_channel_credentials(
        root_certificates=(instance / profile["trustBundle"]).read_bytes(),
        private_key=(instance / profile["key"]).read_bytes(),
        certificate_chain=(instance / profile["certificate"]).read_bytes(),
    )
    options = [("grpc.ssl_target_name_override", profile["brokerDnsName"])]
    return grpc.secure_channel(profile["target"], credentials, options)


def error_info(error, status_pb2, error_info_class):
    """google.rpc.ErrorInfo out of the trailers, or None: a connection that failed has none."""
    for name, value in error.trailing_metadata() or ():
        if name != "grpc-status-details-bin":
            continue
        for detail in status_pb2.Status.FromString(value).details:
            info = error_info_class()
            if detail.Unpack(info):
                return info
    return None


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--instance", type=pathlib.Path, default=pathlib.Path(".lastmile"))
    parser.add_argument("--as", dest="name", default="payments", help="profile in the instance's client directory")
    parser.add_argument("--target", help="host:port, when it is not the profile's")
    parser.add_argument("--key", default="payments/jwt")
    parser.add_argument("--algorithm", default="ES256")
    parser.add_argument("--der", action="store_true", help="ECDSA as DER, the way openssl reads it")
    parser.add_argument("--deadline", type=float, default=5, help="seconds")
    parser.add_argument("--proto", type=pathlib.Path, default=PROTO)
    parser.add_argument("--plugin", default="/usr/bin/grpc_python_plugin")
    arguments = parser.parse_args()

    profile = json.loads((arguments.instance / "client" / f"{arguments.name}.json").read_text())
    if arguments.target:
        profile["target"] = arguments.target
    key_use, key_use_grpc, status = load_stubs(arguments.proto, arguments.plugin)

    request = key_use.SignRequest(
        key=arguments.key,
        algorithm=arguments.algorithm,
        message=sys.stdin.buffer.read(),
        signature_format=key_use.SIGNATURE_FORMAT_DER if arguments.der else key_use.SIGNATURE_FORMAT_RAW,
    )
    with open_channel(arguments.instance, profile) as channel:
        try:
            response = key_use_grpc.KeyUseStub(channel).Sign(request, timeout=arguments.deadline)
        except grpc.RpcError as error:
            info = error_info(error, status, status.ErrorInfo)
            reason = info.reason if info else "no answer from the broker"
            performed = info.metadata.get("performed", "unknown") if info else "unknown"
            print(f"refused: {reason} ({error.code().name}): {error.details()}", file=sys.stderr)
            print(f"performed: {performed}", file=sys.stderr)
            return 1
    print(response.signature.hex())
    print(
        f"version {response.version}, entry {response.log.leaf_index} of {response.log.origin}",
        file=sys.stderr,
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
