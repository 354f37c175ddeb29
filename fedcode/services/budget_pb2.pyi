from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Done(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class Document(_message.Message):
    __slots__ = ("json",)
    JSON_FIELD_NUMBER: _ClassVar[int]
    json: str
    def __init__(self, json: _Optional[str] = ...) -> None: ...

class AccountRequest(_message.Message):
    __slots__ = ("asset",)
    ASSET_FIELD_NUMBER: _ClassVar[int]
    asset: str
    def __init__(self, asset: _Optional[str] = ...) -> None: ...

class AccountReply(_message.Message):
    __slots__ = ("account",)
    ACCOUNT_FIELD_NUMBER: _ClassVar[int]
    account: str
    def __init__(self, account: _Optional[str] = ...) -> None: ...

class TotalsRequest(_message.Message):
    __slots__ = ("units",)
    UNITS_FIELD_NUMBER: _ClassVar[int]
    units: int
    def __init__(self, units: _Optional[int] = ...) -> None: ...

class HeadRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class Head(_message.Message):
    __slots__ = ("ledger", "head")
    LEDGER_FIELD_NUMBER: _ClassVar[int]
    HEAD_FIELD_NUMBER: _ClassVar[int]
    ledger: str
    head: str
    def __init__(self, ledger: _Optional[str] = ..., head: _Optional[str] = ...) -> None: ...

class WitnessedHead(_message.Message):
    __slots__ = ("ledger", "head", "witness", "signature")
    LEDGER_FIELD_NUMBER: _ClassVar[int]
    HEAD_FIELD_NUMBER: _ClassVar[int]
    WITNESS_FIELD_NUMBER: _ClassVar[int]
    SIGNATURE_FIELD_NUMBER: _ClassVar[int]
    ledger: str
    head: str
    witness: str
    signature: str
    def __init__(self, ledger: _Optional[str] = ..., head: _Optional[str] = ..., witness: _Optional[str] = ..., signature: _Optional[str] = ...) -> None: ...

class WitnessedHeads(_message.Message):
    __slots__ = ("heads",)
    HEADS_FIELD_NUMBER: _ClassVar[int]
    heads: _containers.RepeatedCompositeFieldContainer[WitnessedHead]
    def __init__(self, heads: _Optional[_Iterable[_Union[WitnessedHead, _Mapping]]] = ...) -> None: ...

class ChargeRequest(_message.Message):
    __slots__ = ("request", "cost_nano", "order", "noise_multiplier", "sampling_rate", "steps", "asset", "agreement", "purpose", "task", "round", "cohort", "allowance", "others")
    REQUEST_FIELD_NUMBER: _ClassVar[int]
    COST_NANO_FIELD_NUMBER: _ClassVar[int]
    ORDER_FIELD_NUMBER: _ClassVar[int]
    NOISE_MULTIPLIER_FIELD_NUMBER: _ClassVar[int]
    SAMPLING_RATE_FIELD_NUMBER: _ClassVar[int]
    STEPS_FIELD_NUMBER: _ClassVar[int]
    ASSET_FIELD_NUMBER: _ClassVar[int]
    AGREEMENT_FIELD_NUMBER: _ClassVar[int]
    PURPOSE_FIELD_NUMBER: _ClassVar[int]
    TASK_FIELD_NUMBER: _ClassVar[int]
    ROUND_FIELD_NUMBER: _ClassVar[int]
    COHORT_FIELD_NUMBER: _ClassVar[int]
    ALLOWANCE_FIELD_NUMBER: _ClassVar[int]
    OTHERS_FIELD_NUMBER: _ClassVar[int]
    request: str
    cost_nano: int
    order: float
    noise_multiplier: float
    sampling_rate: float
    steps: int
    asset: str
    agreement: str
    purpose: str
    task: str
    round: int
    cohort: int
    allowance: int
    others: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, request: _Optional[str] = ..., cost_nano: _Optional[int] = ..., order: _Optional[float] = ..., noise_multiplier: _Optional[float] = ..., sampling_rate: _Optional[float] = ..., steps: _Optional[int] = ..., asset: _Optional[str] = ..., agreement: _Optional[str] = ..., purpose: _Optional[str] = ..., task: _Optional[str] = ..., round: _Optional[int] = ..., cohort: _Optional[int] = ..., allowance: _Optional[int] = ..., others: _Optional[_Iterable[str]] = ...) -> None: ...

class Charged(_message.Message):
    __slots__ = ("charge", "unit", "epsilon", "delta", "seeded")
    CHARGE_FIELD_NUMBER: _ClassVar[int]
    UNIT_FIELD_NUMBER: _ClassVar[int]
    EPSILON_FIELD_NUMBER: _ClassVar[int]
    DELTA_FIELD_NUMBER: _ClassVar[int]
    SEEDED_FIELD_NUMBER: _ClassVar[int]
    charge: ChargeId
    unit: str
    epsilon: float
    delta: float
    seeded: bool
    def __init__(self, charge: _Optional[_Union[ChargeId, _Mapping]] = ..., unit: _Optional[str] = ..., epsilon: _Optional[float] = ..., delta: _Optional[float] = ..., seeded: _Optional[bool] = ...) -> None: ...

class ChargeId(_message.Message):
    __slots__ = ("seq", "hash")
    SEQ_FIELD_NUMBER: _ClassVar[int]
    HASH_FIELD_NUMBER: _ClassVar[int]
    seq: int
    hash: str
    def __init__(self, seq: _Optional[int] = ..., hash: _Optional[str] = ...) -> None: ...

class Round(_message.Message):
    __slots__ = ("asset", "agreement", "round")
    ASSET_FIELD_NUMBER: _ClassVar[int]
    AGREEMENT_FIELD_NUMBER: _ClassVar[int]
    ROUND_FIELD_NUMBER: _ClassVar[int]
    asset: str
    agreement: str
    round: int
    def __init__(self, asset: _Optional[str] = ..., agreement: _Optional[str] = ..., round: _Optional[int] = ...) -> None: ...

class ArmPart(_message.Message):
    __slots__ = ("header", "content")
    HEADER_FIELD_NUMBER: _ClassVar[int]
    CONTENT_FIELD_NUMBER: _ClassVar[int]
    header: ArmHeader
    content: bytes
    def __init__(self, header: _Optional[_Union[ArmHeader, _Mapping]] = ..., content: _Optional[bytes] = ...) -> None: ...

class ArmHeader(_message.Message):
    __slots__ = ("charge", "plan", "size")
    CHARGE_FIELD_NUMBER: _ClassVar[int]
    PLAN_FIELD_NUMBER: _ClassVar[int]
    SIZE_FIELD_NUMBER: _ClassVar[int]
    charge: ChargeId
    plan: str
    size: int
    def __init__(self, charge: _Optional[_Union[ChargeId, _Mapping]] = ..., plan: _Optional[str] = ..., size: _Optional[int] = ...) -> None: ...

class AnswerPart(_message.Message):
    __slots__ = ("header", "content")
    HEADER_FIELD_NUMBER: _ClassVar[int]
    CONTENT_FIELD_NUMBER: _ClassVar[int]
    header: AnswerHeader
    content: bytes
    def __init__(self, header: _Optional[_Union[AnswerHeader, _Mapping]] = ..., content: _Optional[bytes] = ...) -> None: ...

class AnswerHeader(_message.Message):
    __slots__ = ("answered", "plan", "size")
    ANSWERED_FIELD_NUMBER: _ClassVar[int]
    PLAN_FIELD_NUMBER: _ClassVar[int]
    SIZE_FIELD_NUMBER: _ClassVar[int]
    answered: bool
    plan: str
    size: int
    def __init__(self, answered: _Optional[bool] = ..., plan: _Optional[str] = ..., size: _Optional[int] = ...) -> None: ...

class LatchRequest(_message.Message):
    __slots__ = ("round", "step", "digest")
    ROUND_FIELD_NUMBER: _ClassVar[int]
    STEP_FIELD_NUMBER: _ClassVar[int]
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    round: Round
    step: str
    digest: str
    def __init__(self, round: _Optional[_Union[Round, _Mapping]] = ..., step: _Optional[str] = ..., digest: _Optional[str] = ...) -> None: ...

class OpenRequest(_message.Message):
    __slots__ = ("assets", "policy", "unit", "order")
    ASSETS_FIELD_NUMBER: _ClassVar[int]
    POLICY_FIELD_NUMBER: _ClassVar[int]
    UNIT_FIELD_NUMBER: _ClassVar[int]
    ORDER_FIELD_NUMBER: _ClassVar[int]
    assets: _containers.RepeatedScalarFieldContainer[str]
    policy: str
    unit: str
    order: float
    def __init__(self, assets: _Optional[_Iterable[str]] = ..., policy: _Optional[str] = ..., unit: _Optional[str] = ..., order: _Optional[float] = ...) -> None: ...

class Opened(_message.Message):
    __slots__ = ("accounts",)
    ACCOUNTS_FIELD_NUMBER: _ClassVar[int]
    accounts: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, accounts: _Optional[_Iterable[str]] = ...) -> None: ...

class VerifyRequest(_message.Message):
    __slots__ = ("head",)
    HEAD_FIELD_NUMBER: _ClassVar[int]
    head: str
    def __init__(self, head: _Optional[str] = ...) -> None: ...

class Verified(_message.Message):
    __slots__ = ("rows", "head")
    ROWS_FIELD_NUMBER: _ClassVar[int]
    HEAD_FIELD_NUMBER: _ClassVar[int]
    rows: int
    head: str
    def __init__(self, rows: _Optional[int] = ..., head: _Optional[str] = ...) -> None: ...

class ExportRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...
