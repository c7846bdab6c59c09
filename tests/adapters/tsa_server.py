"""A real time-stamp authority on the loopback: OpenSSL's, with a certificate authority made for the test.

    python tsa_server.py DIRECTORY

It prints its port, and serves until its standard input is closed. ``DIRECTORY/ca.pem`` is its root; ``DIRECTORY/mood``
may hold a word that makes it answer wrongly.
"""

from __future__ import annotations

import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

CONFIG = """
[req]
distinguished_name = name
[name]
[authority]
basicConstraints = critical, CA:true
keyUsage = critical, keyCertSign
[stamper]
basicConstraints = CA:false
keyUsage = critical, digitalSignature
extendedKeyUsage = critical, timeStamping
[tsa]
default_tsa = here
[here]
dir = DIRECTORY
serial = DIRECTORY/serial
crypto_device = builtin
signer_cert = DIRECTORY/tsa.pem
signer_key = DIRECTORY/tsa.key
signer_digest = sha256
default_policy = 1.2.3.4.1
digests = sha256
accuracy = secs:1
ordering = yes
tsa_name = yes
ess_cert_id_chain = no
ess_cert_id_alg = sha256
"""

SHA256 = bytes.fromhex("0609608648016503040201")


def run(*arguments: str | Path) -> None:
    """OpenSSL."""
    subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True, timeout=60)


def make(directory: Path) -> None:
    """An authority, and a certificate of its for stamping."""
    config = directory / "tsa.cnf"
    config.write_text(CONFIG.replace("DIRECTORY", str(directory)))
    (directory / "serial").write_text("01\n")
    key = ("-newkey", "rsa:2048", "-nodes", "-config", config, "-days", "3650")
    authority = ("-x509", "-subj", "/CN=Test authority", "-extensions", "authority")
    run("req", *key, *authority, "-keyout", directory / "ca.key", "-out", directory / "ca.pem")
    run("req", *key[:-2], "-subj", "/CN=Test stamper", "-keyout", directory / "tsa.key", "-out", directory / "tsa.csr")
    signed = ("-CA", directory / "ca.pem", "-CAkey", directory / "ca.key", "-CAcreateserial", "-days", "3650")
    extra = ("-extfile", config, "-extensions", "stamper")
    run("x509", "-req", "-in", directory / "tsa.csr", *signed, *extra, "-out", directory / "tsa.pem")


class Authority(BaseHTTPRequestHandler):
    """Answers requests for a stamp."""

    directory: Path

    def log_message(self, *_: object) -> None:
        """Nothing."""

    def do_POST(self) -> None:
        """One request."""
        where = self.directory
        mood = (where / "mood").read_text() if (where / "mood").exists() else ""
        query, reply = where / "query.tsq", where / "reply.tsr"
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if mood != "replay" or not query.exists():
            query.write_bytes(body)
        if mood == "refuse":
            query.write_bytes(body.replace(SHA256, SHA256[:-1] + b"\x03"))  # a hash that it doesn't take
        run("ts", "-reply", "-config", where / "tsa.cnf", "-queryfile", query, "-out", reply)
        data = reply.read_bytes()
        if mood == "bit":
            data = data[:-20] + bytes([data[-20] ^ 1]) + data[-19:]
        if mood == "garbage":
            data = b"\x30\x03\x02\x01"
        self.send_response(500 if mood == "broken" else 200)
        self.send_header("Content-Type", "text/html" if mood == "html" else "application/timestamp-reply")
        self.end_headers()
        self.wfile.write(data)


def main() -> None:
    """Serve."""
    Authority.directory = Path(sys.argv[1])
    if not (Authority.directory / "tsa.pem").exists():
        make(Authority.directory)
    server = HTTPServer(("127.0.0.1", 0), Authority)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    sys.stdout.write(f"{server.server_port}\n")
    sys.stdout.flush()
    sys.stdin.read()


if __name__ == "__main__":
    main()
