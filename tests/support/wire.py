"""Framed strict Binary, read and written a second time.

Independent of the product and of libthrift, so that tests can make every wrong byte on purpose
and look at every forwarded byte. A value is given with its type code:

    STRUCT  list of (id, type, value)       MAP   (key type, value type, [(key, value), ...])
    STRING  str or bytes                    LIST, SET  (element type, [value, ...])
    Raw(b"...") stands for any value and goes out as it is
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field as dataclass_field
from typing import Any, Iterable, Optional, Union

STOP, VOID, BOOL, I8, DOUBLE = 0, 1, 2, 3, 4
I16, I32, I64, STRING, STRUCT, MAP, SET, LIST, UUID = 6, 8, 10, 11, 12, 13, 14, 15, 16
CALL, REPLY, EXCEPTION, ONEWAY = 1, 2, 3, 4
STRICT = 0x80010000

REMAIN = "RPC_PERSIST_DDL_REMAIN_TIME"
STAMP = "RPC_PERSIST_INGRESS_START_TIME"

NUMBERS = {BOOL: ">b", I8: ">b", DOUBLE: ">d", I16: ">h", I32: ">i", I64: ">q"}


class Raw(bytes):
    """Bytes of a value that are no value: goes out unchanged."""


# ---- writing ---------------------------------------------------------------------------------


def text(value: Union[str, bytes]) -> bytes:
    return value.encode() if isinstance(value, str) else bytes(value)


def encode(type_: int, value: Any) -> bytes:
    if isinstance(value, Raw):
        return value
    if type_ in NUMBERS:
        return struct.pack(NUMBERS[type_], value)
    if type_ == STRING:
        data = text(value)
        return struct.pack(">i", len(data)) + data
    if type_ == STRUCT:
        return b"".join(field(*f) for f in value) + b"\0"
    if type_ == MAP:
        key_type, value_type, pairs = value
        pairs = list(pairs.items()) if isinstance(pairs, dict) else list(pairs)
        head = struct.pack(">BBi", key_type, value_type, len(pairs))
        return head + b"".join(encode(key_type, k) + encode(value_type, v) for k, v in pairs)
    if type_ in (LIST, SET):
        element, values = value
        return struct.pack(">Bi", element, len(values)) + b"".join(encode(element, v) for v in values)
    if type_ == UUID:
        return bytes(value)
    raise ValueError(f"type {type_}")


def field(id_: int, type_: int, value: Any) -> bytes:
    return struct.pack(">Bh", type_, id_) + encode(type_, value)


def message(name: Union[str, bytes], args: Any, seqid: int = 0, type_: int = CALL,
            version: int = STRICT) -> bytes:
    """A frame's body: header and one struct (fields, or Raw bytes including the STOP)."""
    return (struct.pack(">I", version | type_) + encode(STRING, name) + struct.pack(">i", seqid)
            + encode(STRUCT, args))


def frame(body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + body


def string_map(pairs: Union[dict, Iterable]) -> tuple:
    return (STRING, STRING, pairs)


def base(log_id: Optional[Union[str, bytes]] = "log-1",
         caller: Optional[Union[str, bytes]] = "app.feed",
         extra: Union[dict, list, Raw, None] = None, extra_id: int = 6,
         canonical: bool = True) -> list:
    """Fields of Base; canonical ones (Addr 3, Client 4) as Kitex and Python clients write them."""
    fields: list = []
    if log_id is not None:
        fields.append((1, STRING, log_id))
    if caller is not None:
        fields.append((2, STRING, caller))
    if canonical:
        fields += [(3, STRING, ""), (4, STRING, "")]
    if extra is not None:
        fields.append((extra_id, MAP, extra if isinstance(extra, Raw) else string_map(extra)))
    return fields


TO = "example.service"
_UNSET: Any = object()


def call(method: Union[str, bytes] = "Visit", *, to: Optional[str] = TO, to_cluster=None,
         from_cluster=None, extra: Union[dict, list, None] = None, seqid: int = 0,
         type_: int = CALL, say: Union[str, bytes] = "hello", number: int = 0,
         blob: Optional[bytes] = None, base_fields: Any = _UNSET, direct: bool = False,
         **base_args) -> bytes:
    """A whole frame: Demo.<method>(Request{1: text, 2: number, 3: blob, 255: Base}).

    to, to_cluster and from_cluster go into Base.Extra; base_fields replaces Base (None: none);
    direct puts Base into field 255 of the arguments themselves.
    """
    if base_fields is _UNSET:
        entries = []
        if to is not None:
            entries.append(("dest_service", to))
        if to_cluster is not None:
            entries.append(("dest_cluster", to_cluster))
        if from_cluster is not None:
            entries.append(("cluster", from_cluster))
        if extra is not None:
            entries += list(extra.items()) if isinstance(extra, dict) else list(extra)
        base_fields = base(extra=entries if entries else None, **base_args)
    request: list = [(1, STRING, say), (2, I32, number)]
    if blob is not None:
        request.append((3, STRING, blob))
    in_args = base_fields is not None and direct
    if base_fields is not None and not direct:
        request.append((255, STRUCT, base_fields))
    args: list = [(1, STRUCT, request)] + ([(255, STRUCT, base_fields)] if in_args else [])
    return frame(message(method, args, seqid, type_))


# ---- reading ---------------------------------------------------------------------------------


class Fields(list):
    """A struct as read: (id, type, value) in order of the wire."""

    def get(self, *path: int) -> Any:
        """The value behind field ids, the last one of a duplicate; None where absent."""
        here: Any = self
        for id_ in path:
            found = [value for fid, _, value in here if fid == id_] if isinstance(here, Fields) else []
            if not found:
                return None
            here = found[-1]
        return here


class Cut(AssertionError):
    """The bytes end before the value does."""


class Reader:
    def __init__(self, data: bytes):
        self.data, self.pos = data, 0

    def take(self, n: int) -> bytes:
        assert n >= 0, f"{n} bytes wanted at {self.pos}"
        if n > len(self.data) - self.pos:
            raise Cut(f"cut at {self.pos}: {n} bytes wanted")
        self.pos += n
        return self.data[self.pos - n:self.pos]

    def unpack(self, layout: str) -> Any:
        return struct.unpack(layout, self.take(struct.calcsize(layout)))[0]

    def value(self, type_: int) -> Any:
        if type_ in NUMBERS:
            return self.unpack(NUMBERS[type_])
        if type_ == STRING:
            return self.take(self.unpack(">i"))
        if type_ == STRUCT:
            fields = Fields()
            while True:
                kind = self.unpack(">B")
                if kind == STOP:
                    return fields
                id_ = self.unpack(">h")
                fields.append((id_, kind, self.value(kind)))
        if type_ == MAP:
            key_type, value_type, count = self.unpack(">B"), self.unpack(">B"), self.unpack(">i")
            return {self.value(key_type): self.value(value_type) for _ in range(count)}
        if type_ in (LIST, SET):
            element, count = self.unpack(">B"), self.unpack(">i")
            return [self.value(element) for _ in range(count)]
        if type_ == UUID:
            return self.take(16)
        raise AssertionError(f"type {type_} at {self.pos}")


@dataclass
class Message:
    type: int
    name: bytes
    seqid: int
    args: Fields
    body: bytes = dataclass_field(repr=False, default=b"")

    @property
    def base(self) -> Optional[Fields]:
        found = self.args.get(255)
        return found if found is not None else self.args.get(1, 255)

    @property
    def extra(self) -> dict[str, str]:
        """Base.Extra, wherever this Base has it."""
        for id_, type_, value in self.base or ():
            if id_ in (1, 3, 5, 6) and type_ == MAP:
                return {k.decode(): v.decode("utf-8", "replace") for k, v in value.items()}
        return {}

    @property
    def is_exception(self) -> bool:
        return self.type == EXCEPTION

    @property
    def exception(self) -> tuple[int, str]:
        """(type, message) of a TApplicationException."""
        assert self.type == EXCEPTION, f"no exception: {self}"
        return self.args.get(2), (self.args.get(1) or b"").decode("utf-8", "surrogateescape")

    @property
    def reason(self) -> Optional[str]:
        """X of a message "[tside X] ...", None where tside did not answer itself."""
        if self.type != EXCEPTION:
            return None
        said = self.exception[1]
        return said[len("[tside "):said.index("]")] if said.startswith("[tside ") else None

    @property
    def server(self) -> Optional[str]:
        """Which callee served: its own name in Response field 1."""
        name = self.args.get(0, 1) if self.type == REPLY else None
        return name.decode() if name is not None else None


def bodies(frames: bytes) -> list[bytes]:
    """What stands in these frames, without their lengths."""
    found = []
    while frames:
        (length,) = struct.unpack(">I", frames[:4])
        found.append(frames[4:4 + length])
        frames = frames[4 + length:]
    return found


# ---- TTHeader --------------------------------------------------------------------------------

LOG_ID, FROM_SERVICE, FROM_CLUSTER, TO_SERVICE, TO_CLUSTER, TO_METHOD = 2, 3, 4, 6, 7, 9
RPC_TIMEOUT, MESSAGE_TYPE = 12, 22


@dataclass
class Header:
    """What a TTHeader says; entries in the order of the wire."""

    sequence: int = 0
    ints: dict[int, str] = dataclass_field(default_factory=dict)
    texts: dict[str, str] = dataclass_field(default_factory=dict)
    token: Optional[str] = None
    flags: int = 0

    def encode(self, body: bytes, inner: bool = False) -> bytes:
        """The whole frame around a message."""
        def short(value: Union[str, bytes]) -> bytes:
            return struct.pack(">H", len(text(value))) + text(value)

        info = b"\0\0"
        if self.token is not None:
            info += b"\x11" + short(self.token)
        if self.texts:
            info += struct.pack(">BH", 1, len(self.texts)) + b"".join(short(k) + short(v) for k, v in self.texts.items())
        if self.ints:
            info += struct.pack(">BH", 16, len(self.ints)) + b"".join(struct.pack(">H", k) + short(v) for k, v in self.ints.items())
        info += b"\0" * (-len(info) % 4)
        payload = frame(body) if inner else body
        rest = struct.pack(">HHiH", 0x1000, self.flags, self.sequence, len(info) // 4) + info + payload
        return struct.pack(">I", len(rest)) + rest


def read_header(data: bytes) -> tuple[Header, bytes, bool]:
    """Of a whole frame: its header, its message, and whether that had a length of its own."""
    reader = Reader(data)
    assert reader.unpack(">I") == len(data) - 4
    assert reader.unpack(">H") == 0x1000
    header = Header(flags=reader.unpack(">H"), sequence=reader.unpack(">i"))
    end = 14 + 4 * reader.unpack(">H")
    assert reader.take(2) == b"\0\0"  # Binary, no transforms
    while reader.pos < end:
        kind = reader.unpack(">B")
        if kind == 0x11:
            header.token = reader.take(reader.unpack(">H")).decode()
        elif kind in (1, 16):
            for _ in range(reader.unpack(">H")):
                key = reader.unpack(">H") if kind == 16 else reader.take(reader.unpack(">H")).decode()
                (header.ints if kind == 16 else header.texts)[key] = reader.take(reader.unpack(">H")).decode()
        else:
            assert kind == 0, f"info block {kind:#x}"
    body = data[end:]
    inner = len(body) >= 4 and struct.unpack(">I", body[:4])[0] == len(body) - 4
    return header, body[4:] if inner else body, inner


def message_length(data: bytes) -> Optional[int]:
    """How long the message is that data begins with; None where it is cut."""
    reader = Reader(data)
    try:
        reader.take(4)
        reader.take(reader.unpack(">i"))
        reader.take(4)
        reader.value(STRUCT)
    except Cut:
        return None
    return reader.pos


def read_message(body: bytes) -> Message:
    reader = Reader(body)
    word = reader.unpack(">I")
    assert word & 0xffff0000 == STRICT, f"no strict message: {word:#x}"
    name = reader.take(reader.unpack(">i"))
    seqid = reader.unpack(">i")
    args = reader.value(STRUCT)
    assert reader.pos == len(body), f"{len(body) - reader.pos} bytes behind the message"
    return Message(word & 0xff, name, seqid, args, body)


# ---- replies ---------------------------------------------------------------------------------


def reply(request: Message, result: Any, type_: int = REPLY, name: Optional[bytes] = None,
          seqid: Optional[int] = None) -> bytes:
    """A whole frame that answers request; a multiplexed name loses its prefix, as servers do."""
    bare = request.name.split(b":", 1)[-1]
    return frame(message(bare if name is None else name, result,
                         request.seqid if seqid is None else seqid, type_))


def response(server: str, said: Union[str, bytes] = "", code: Optional[int] = None,
             blob: Optional[bytes] = None) -> list:
    """The result struct of Demo's methods: {0: Response{1: server, 2: text, 4: blob, 255: BaseResp}}."""
    fields: list = [(1, STRING, server), (2, STRING, said)]
    if blob is not None:
        fields.append((4, STRING, blob))
    if code is not None:
        fields.append((255, STRUCT, [(1, STRING, "said so"), (2, I32, code)]))
    return [(0, STRUCT, fields)]


def application_exception(said: str, type_: int = 6) -> list:
    return [(1, STRING, said), (2, I32, type_)]
