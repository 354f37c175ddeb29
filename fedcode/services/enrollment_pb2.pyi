from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class EnrollRequest(_message.Message):
    __slots__ = ("certificate_request", "signing_key", "node_key", "signature")
    CERTIFICATE_REQUEST_FIELD_NUMBER: _ClassVar[int]
    SIGNING_KEY_FIELD_NUMBER: _ClassVar[int]
    NODE_KEY_FIELD_NUMBER: _ClassVar[int]
    SIGNATURE_FIELD_NUMBER: _ClassVar[int]
    certificate_request: bytes
    signing_key: str
    node_key: bytes
    signature: str
    def __init__(self, certificate_request: _Optional[bytes] = ..., signing_key: _Optional[str] = ..., node_key: _Optional[bytes] = ..., signature: _Optional[str] = ...) -> None: ...

class RenewRequest(_message.Message):
    __slots__ = ("certificate_request",)
    CERTIFICATE_REQUEST_FIELD_NUMBER: _ClassVar[int]
    certificate_request: bytes
    def __init__(self, certificate_request: _Optional[bytes] = ...) -> None: ...

class Certificate(_message.Message):
    __slots__ = ("certificate", "member", "federation", "coordinator", "fleet_port")
    CERTIFICATE_FIELD_NUMBER: _ClassVar[int]
    MEMBER_FIELD_NUMBER: _ClassVar[int]
    FEDERATION_FIELD_NUMBER: _ClassVar[int]
    COORDINATOR_FIELD_NUMBER: _ClassVar[int]
    FLEET_PORT_FIELD_NUMBER: _ClassVar[int]
    certificate: bytes
    member: str
    federation: str
    coordinator: str
    fleet_port: int
    def __init__(self, certificate: _Optional[bytes] = ..., member: _Optional[str] = ..., federation: _Optional[str] = ..., coordinator: _Optional[str] = ..., fleet_port: _Optional[int] = ...) -> None: ...

class StandingRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class MemberStanding(_message.Message):
    __slots__ = ("member", "state", "expires", "clock")
    MEMBER_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    EXPIRES_FIELD_NUMBER: _ClassVar[int]
    CLOCK_FIELD_NUMBER: _ClassVar[int]
    member: str
    state: str
    expires: int
    clock: int
    def __init__(self, member: _Optional[str] = ..., state: _Optional[str] = ..., expires: _Optional[int] = ..., clock: _Optional[int] = ...) -> None: ...

class LeaveRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class LeaveReply(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class OffersRequest(_message.Message):
    __slots__ = ("open",)
    OPEN_FIELD_NUMBER: _ClassVar[int]
    open: bool
    def __init__(self, open: _Optional[bool] = ...) -> None: ...

class OfferList(_message.Message):
    __slots__ = ("offers",)
    OFFERS_FIELD_NUMBER: _ClassVar[int]
    offers: _containers.RepeatedCompositeFieldContainer[Offer]
    def __init__(self, offers: _Optional[_Iterable[_Union[Offer, _Mapping]]] = ...) -> None: ...

class Offer(_message.Message):
    __slots__ = ("run", "federation", "agreements", "files", "state")
    RUN_FIELD_NUMBER: _ClassVar[int]
    FEDERATION_FIELD_NUMBER: _ClassVar[int]
    AGREEMENTS_FIELD_NUMBER: _ClassVar[int]
    FILES_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    run: str
    federation: bytes
    agreements: _containers.RepeatedScalarFieldContainer[bytes]
    files: _containers.RepeatedCompositeFieldContainer[StartFile]
    state: str
    def __init__(self, run: _Optional[str] = ..., federation: _Optional[bytes] = ..., agreements: _Optional[_Iterable[bytes]] = ..., files: _Optional[_Iterable[_Union[StartFile, _Mapping]]] = ..., state: _Optional[str] = ...) -> None: ...

class StartFile(_message.Message):
    __slots__ = ("name", "size", "digest")
    NAME_FIELD_NUMBER: _ClassVar[int]
    SIZE_FIELD_NUMBER: _ClassVar[int]
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    name: str
    size: int
    digest: str
    def __init__(self, name: _Optional[str] = ..., size: _Optional[int] = ..., digest: _Optional[str] = ...) -> None: ...

class AnswerRequest(_message.Message):
    __slots__ = ("run", "accept", "signatures")
    RUN_FIELD_NUMBER: _ClassVar[int]
    ACCEPT_FIELD_NUMBER: _ClassVar[int]
    SIGNATURES_FIELD_NUMBER: _ClassVar[int]
    run: str
    accept: bool
    signatures: _containers.RepeatedCompositeFieldContainer[Signature]
    def __init__(self, run: _Optional[str] = ..., accept: _Optional[bool] = ..., signatures: _Optional[_Iterable[_Union[Signature, _Mapping]]] = ...) -> None: ...

class Signature(_message.Message):
    __slots__ = ("agreement", "signature")
    AGREEMENT_FIELD_NUMBER: _ClassVar[int]
    SIGNATURE_FIELD_NUMBER: _ClassVar[int]
    agreement: str
    signature: str
    def __init__(self, agreement: _Optional[str] = ..., signature: _Optional[str] = ...) -> None: ...

class AnswerReply(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class StartRequest(_message.Message):
    __slots__ = ("run", "name", "offset")
    RUN_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    OFFSET_FIELD_NUMBER: _ClassVar[int]
    run: str
    name: str
    offset: int
    def __init__(self, run: _Optional[str] = ..., name: _Optional[str] = ..., offset: _Optional[int] = ...) -> None: ...

class Piece(_message.Message):
    __slots__ = ("content",)
    CONTENT_FIELD_NUMBER: _ClassVar[int]
    content: bytes
    def __init__(self, content: _Optional[bytes] = ...) -> None: ...

class Head(_message.Message):
    __slots__ = ("ledger", "head", "previous")
    LEDGER_FIELD_NUMBER: _ClassVar[int]
    HEAD_FIELD_NUMBER: _ClassVar[int]
    PREVIOUS_FIELD_NUMBER: _ClassVar[int]
    ledger: str
    head: str
    previous: str
    def __init__(self, ledger: _Optional[str] = ..., head: _Optional[str] = ..., previous: _Optional[str] = ...) -> None: ...

class CountersignedHead(_message.Message):
    __slots__ = ("ledger", "head", "signature")
    LEDGER_FIELD_NUMBER: _ClassVar[int]
    HEAD_FIELD_NUMBER: _ClassVar[int]
    SIGNATURE_FIELD_NUMBER: _ClassVar[int]
    ledger: str
    head: str
    signature: str
    def __init__(self, ledger: _Optional[str] = ..., head: _Optional[str] = ..., signature: _Optional[str] = ...) -> None: ...

class CountersignedRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class CountersignedHeads(_message.Message):
    __slots__ = ("heads",)
    HEADS_FIELD_NUMBER: _ClassVar[int]
    heads: _containers.RepeatedCompositeFieldContainer[CountersignedHead]
    def __init__(self, heads: _Optional[_Iterable[_Union[CountersignedHead, _Mapping]]] = ...) -> None: ...
