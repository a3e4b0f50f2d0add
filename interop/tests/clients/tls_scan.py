"""What sslyze finds about a TLS server, as lines.

    tls_scan.py HOST:PORT [--early-data]

    accepted VERSION SUITE      a cipher suite that can be used
    weak WHAT                   what should not be there

Fails if a part of the scan could not be done. With --early-data it looks for that too, which
takes a server that speaks HTTP.
"""

import json
import os
import subprocess
import sys

OLD = ["ssl_2_0", "ssl_3_0", "tls_1_0", "tls_1_1"]
NEW = ["tls_1_2", "tls_1_3"]
SCANS = (
    "--sslv2 --sslv3 --tlsv1 --tlsv1_1 --tlsv1_2 --tlsv1_3 --heartbleed --openssl_ccs --robot "
    "--compression --reneg --fallback --ems --elliptic_curves"
).split()

# What each result must say.
EXPECTED = {
    "tls_compression": {"supports_compression": False},
    "tls_1_3_early_data": {"supports_early_data": False},
    "openssl_ccs_injection": {"is_vulnerable_to_ccs_injection": False},
    "tls_fallback_scsv": {"supports_fallback_scsv": True},
    "heartbleed": {"is_vulnerable_to_heartbleed": False},
    "robot": {"robot_result": "NOT_VULNERABLE_RSA_NOT_SUPPORTED"},
    "session_renegotiation": {
        "supports_secure_renegotiation": True,
        "is_vulnerable_to_client_renegotiation_dos": False,
    },
    "tls_extended_master_secret": {"supports_ems_extension": True},
}


def scan(address, options):
    sslyze = os.path.join(os.path.dirname(sys.executable), "sslyze")
    command = [sslyze, "--json_out=-", "--mozilla_config=disable", *options, address]
    output = subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout
    [result] = json.loads(output)["server_scan_results"]
    assert result["scan_status"] == "COMPLETED", result["connectivity_error_trace"]
    for name, part in result["scan_result"].items():
        if part is None or part["status"] == "NOT_SCHEDULED":
            continue
        assert part["status"] == "COMPLETED", (name, part["error_trace"])
        yield name, part["result"]


def is_strong(suite):
    """Authenticated encryption, forward secrecy, at least 128 bits."""
    name = suite["name"]
    has_aead = "_GCM_" in name or "CHACHA20_POLY1305" in name
    has_forward_secrecy = name.startswith(("TLS_ECDHE_", "TLS_AES_", "TLS_CHACHA20_"))
    return has_aead and has_forward_secrecy and suite["key_size"] >= 128


def look(name, result):
    version = name.removesuffix("_cipher_suites")
    if version in OLD + NEW:
        suites = [accepted["cipher_suite"] for accepted in result["accepted_cipher_suites"]]
        if version in OLD and suites:
            yield f"weak {version} is accepted"
        for suite in suites:
            yield f"accepted {version} {suite['name']}"
            if not is_strong(suite):
                yield f"weak {version} {suite['name']}"
    elif name == "elliptic_curves":
        for curve in result["supported_curves"]:
            if curve["name"] not in ["X25519", "X448", "secp256r1", "secp384r1", "secp521r1"]:
                yield f"weak curve {curve['name']}"
    else:
        for key, value in EXPECTED[name].items():
            if result[key] != value:
                yield f"weak {name}: {key} is {result[key]}"


def main(address, *options):
    wanted = SCANS + (["--early_data"] if "--early-data" in options else [])
    for name, result in scan(address, wanted):
        for line in look(name, result):
            print(line)


if __name__ == "__main__":
    main(*sys.argv[1:])
