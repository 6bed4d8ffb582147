"""EBS direct: blocks written to snapshots. Requests are read and replies written by botocore's model of the service.

Its protocol (rest-json) keeps what a call says in four places: the path, the query, headers, and the body.
"""

import base64
import json
import re
from collections.abc import Callable, Mapping
from functools import partial
from hashlib import sha256
from typing import Any, Final, NamedTuple
from urllib.parse import parse_qsl, unquote

from botocore.loaders import Loader
from botocore.model import OperationModel, ServiceModel

from tests.fakes.ec2.errors import AwsError, OwnMistake
from tests.fakes.ec2.reading import Asked, read_json
from tests.fakes.ec2.settings import ACCOUNT
from tests.fakes.ec2.snapshots import BLOCK_SIZE
from tests.fakes.ec2.tables import Snapshot
from tests.fakes.ec2.tags import read_tags, written
from tests.fakes.ec2.tokens import digest
from tests.fakes.ec2.world import World
from tests.fakes.ec2.writing import Reply, as_json

_INTEGERS: Final = frozenset({"integer", "long"})
_STATUS: Final[Mapping[str, int]] = {"ResourceNotFoundException": 404, "ConflictException": 409}


class Written(NamedTuple):
    """An answer in rest-json."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes


class Blocks:
    """The service's operations by method and path."""

    def __init__(self, world: World) -> None:
        self._world = world
        model = ServiceModel(Loader().load_service_model("ebs", "service-2"), "ebs")
        self._operations = [model.operation_model(name) for name in _HANDLERS]

    def answer(
        self, method: str, path: str, headers: Mapping[str, str], body: bytes, count: Callable[[str], None]
    ) -> Written:
        """Answer a request. AwsError for what AWS refuses."""
        bare, _, query = path.partition("?")
        for operation in self._operations:
            asked_at = operation.http["requestUri"]
            match = re.fullmatch(re.sub(r"\{(\w+)\}", r"(?P<\1>[^/]+)", asked_at), bare)
            if match is not None and operation.http["method"] == method:
                count(operation.name)
                asked = _read(operation, match.groupdict(), dict(parse_qsl(query)), headers, body)
                self._world.settle()
                return _write(operation, _HANDLERS[operation.name](self._world, asked))
        raise AwsError("UnknownOperationException", f"there is no {method} {bare}", 404)


def refused(error: AwsError) -> Written:
    """Write an error in rest-json."""
    status = _STATUS.get(error.code, error.status)
    return Written(status, [("x-amzn-errortype", error.code)], json.dumps({"Message": error.message}).encode())


def _read(
    operation: OperationModel,
    path: Mapping[str, str],
    query: Mapping[str, str],
    headers: Mapping[str, str],
    body: bytes,
) -> Asked:
    """Read a request. Those of this service say all in the body, or nothing but a block."""
    shape = operation.input_shape
    assert shape is not None
    places = {"uri": path, "querystring": query, "header": headers}
    located = {name: one.serialization for name, one in shape.members.items() if "location" in one.serialization}
    payload = shape.serialization.get("payload")
    if not located and payload is None:
        return read_json(shape, json.loads(body or b"{}"))
    asked: dict[str, Any] = {payload: body} if payload is not None else {}
    for name, said in located.items():
        written_as = said["name"].lower() if said["location"] == "header" else said["name"]
        text = places[said["location"]].get(written_as)
        if text is not None:
            asked[name] = int(text) if shape.members[name].type_name in _INTEGERS else unquote(text)
    for name in shape.required_members:
        if name not in asked:
            raise AwsError("ValidationException", f"{name} is missing")
    return asked


def _write(operation: OperationModel, reply: Reply) -> Written:
    shape = operation.output_shape
    assert shape is not None
    headers: list[tuple[str, str]] = [("Content-Type", "application/json")]
    inside = {}
    for name, value in reply.items():
        if name not in shape.members:
            raise OwnMistake(f"{shape.name} has no member {name}")
        member = shape.members[name]
        if member.serialization.get("location") == "header":
            headers.append((member.serialization["name"], str(value)))
        else:
            inside[name] = value
    return Written(int(operation.http["responseCode"]), headers, json.dumps(as_json(shape, inside)).encode())


def start_snapshot(world: World, asked: Asked) -> Reply:
    token = asked.get("ClientToken", "")
    known = world.tokens.get(("StartSnapshot", token)) if token else None
    if known is not None and known[0] != digest(asked):
        raise AwsError("ConflictException", "The client token was used with other parameters.")
    if known is None:
        if asked.get("KmsKeyArn") and not asked.get("Encrypted"):
            raise AwsError("ValidationException", "KmsKeyArn needs Encrypted")
        snapshot = Snapshot(
            world.new_id("snap"),
            asked["VolumeSize"],
            world.now(),
            tags=read_tags(asked.get("Tags", ())),
            description=asked.get("Description", ""),
            encrypted=asked.get("Encrypted", False) or world.encrypts_by_default,
            kms_key=asked.get("KmsKeyArn"),
            written_at=world.now(),
        )
        world.snapshots[snapshot.id] = snapshot
        _give_up_later(world, snapshot, 60.0 * asked.get("Timeout", 60))
        known = world.tokens["StartSnapshot", token] = (digest(asked), snapshot.id)
    found = world.snapshots.get(known[1])
    return {
        "SnapshotId": known[1],
        "OwnerId": ACCOUNT,
        "Status": found.state if found else "pending",  # what was answered before is answered again
        "StartTime": found.created_at if found else 0.0,
        "VolumeSize": asked["VolumeSize"],
        "BlockSize": BLOCK_SIZE,
        "Tags": written(found.tags) if found else [],
    }


def put_snapshot_block(world: World, asked: Asked) -> Reply:
    snapshot, block = _pending(world, asked["SnapshotId"]), asked["BlockData"]
    if asked["DataLength"] != BLOCK_SIZE or len(block) != BLOCK_SIZE:
        raise AwsError("ValidationException", f"a block has {BLOCK_SIZE} bytes, not {len(block)}")
    if not 0 <= asked["BlockIndex"] < snapshot.gibibytes * 2048:
        raise AwsError("ValidationException", f"there is no block {asked['BlockIndex']}")
    checksum = base64.b64encode(sha256(block).digest()).decode()
    if asked["Checksum"] != checksum or asked["ChecksumAlgorithm"] != "SHA256":
        raise AwsError("ValidationException", "the checksum is not that of the block")
    snapshot.blocks[asked["BlockIndex"]], snapshot.written_at = block, world.now()
    return {"Checksum": checksum, "ChecksumAlgorithm": "SHA256"}


def complete_snapshot(world: World, asked: Asked) -> Reply:
    snapshot = _pending(world, asked["SnapshotId"])
    if asked["ChangedBlocksCount"] != len(snapshot.blocks):
        raise AwsError("ValidationException", f"{len(snapshot.blocks)} blocks were written")
    if asked.get("Checksum") is not None:
        linear = b"".join(sha256(snapshot.blocks[index]).digest() for index in sorted(snapshot.blocks))
        if asked["Checksum"] != base64.b64encode(sha256(linear).digest()).decode():
            raise AwsError("ValidationException", "the checksum is not that of the blocks")
    snapshot.sealed = True
    world.later(world.now() + world.settings.snapshot_seconds, partial(_complete, snapshot))
    world.settle()
    return {"Status": snapshot.state}


def _pending(world: World, snapshot_id: str) -> Snapshot:
    snapshot = world.snapshots.get(snapshot_id)
    if snapshot is None:
        raise AwsError("ResourceNotFoundException", f"The snapshot '{snapshot_id}' does not exist.")
    if snapshot.state != "pending" or snapshot.sealed:
        raise AwsError("ValidationException", f"The snapshot '{snapshot_id}' is not in the pending state.")
    return snapshot


def _complete(snapshot: Snapshot) -> None:
    if snapshot.state == "pending":
        snapshot.state = "completed"


def _give_up_later(world: World, snapshot: Snapshot, seconds: float) -> None:
    """Let a snapshot fail so long after its last block, unless it is completed by then."""

    def look() -> None:
        if snapshot.state != "pending" or snapshot.sealed:
            return
        if world.now() - snapshot.written_at >= seconds:
            snapshot.state, snapshot.message = "error", "no block was written for too long"
        else:
            world.later(snapshot.written_at + seconds, look)

    world.later(world.now() + seconds, look)


_HANDLERS: Final[Mapping[str, Callable[[World, Asked], Reply]]] = {
    "StartSnapshot": start_snapshot,
    "PutSnapshotBlock": put_snapshot_block,
    "CompleteSnapshot": complete_snapshot,
}
