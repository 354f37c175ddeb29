# SPDX-FileCopyrightText: 2026 The fedcode authors
# SPDX-License-Identifier: Apache-2.0
"""The process that has the ledger: several training hosts spend from it, and none can edit it."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from functools import partial, wraps
from pathlib import Path
from typing import Any, TypeVar

from fedcode.errors import ConfigError, FedcodeError
from fedcode.privacy.accountant import Cost
from fedcode.privacy.ledger import Acknowledgement, BudgetLedger, ChargeId, CountersignedHead
from fedcode.privacy.organization import SignedPolicy
from fedcode.record import PrivacyUnit
from fedcode.services import budget_pb2 as messages
from fedcode.services.budget_pb2_grpc import BudgetServicer, add_BudgetServicer_to_server
from fedcode.services.serving import Serving, server
from fedcode.storage import write_atomically
from fedcode_client.budget.keys import Credentials, make_keys, permits
from fedcode_client.budget.lock import Lock
from fedcode_client.budget.pieces import CARRIED, cut, joined
from fedcode_client.budget.totals import totals
from fedcode_client.budget.wording import refused

LEDGER, KEYS, ADDRESS = "ledger.sqlite", "keys", "address"
"""Files in the ledger's folder."""

LOCAL = "127.0.0.1:0"
_AT_ONCE = 2  # messages in memory
_GRACE = 10.0

Handler = TypeVar("Handler", bound=Callable[..., Any])


def _ours(handler: Handler) -> Handler:
    """Our own errors go to whoever has asked."""

    @wraps(handler)
    def told(*words: Any) -> Any:
        try:
            return handler(*words)
        except FedcodeError as error:
            raise refused(error) from None

    return told  # type: ignore[return-value]


class Servicer(BudgetServicer):
    """Answers from one ledger.

    Args:
        ledger: open for writing.
        path: its file, which whole readings open for themselves: nobody waits for them.
    """

    def __init__(self, ledger: BudgetLedger, path: Path) -> None:
        self._ledger, self._path = ledger, path
        self._large = threading.BoundedSemaphore(_AT_ONCE)

    # For trainers and officers.

    @_ours
    def GetAccount(self, request: messages.AccountRequest, _: Any) -> messages.AccountReply:
        account = self._ledger.account(request.asset)
        if account is None:
            return messages.AccountReply()
        return messages.AccountReply(account=json.dumps(account.plain()))

    @_ours
    def GetTotals(self, request: messages.TotalsRequest, _: Any) -> messages.Document:
        with self._reading() as ledger:
            found = totals(ledger, max(1, request.units))
        return messages.Document(json=json.dumps([row.plain() for row in found]))

    @_ours
    def GetHead(self, *_: Any) -> messages.Head:
        return messages.Head(ledger=self._ledger.identity, head=self._ledger.head)

    @_ours
    def CheckWitnessed(self, request: messages.WitnessedHeads, _: Any) -> messages.Done:
        self._ledger.check_witnessed([_head(seen) for seen in request.heads])
        return messages.Done()

    # For trainers.

    @_ours
    def Charge(self, request: messages.ChargeRequest, _: Any) -> messages.Charged:
        paid = self._ledger.charge_once(
            request.request, _cost(request), round=request.round, **_charged_to(request)
        )
        return messages.Charged(
            charge=messages.ChargeId(seq=paid.seq, hash=paid.hash),
            unit=str(paid.unit),
            epsilon=paid.epsilon,
            delta=paid.delta,
            seeded=paid.seeded,
        )

    @_ours
    def CheckCharge(self, request: messages.ChargeRequest, _: Any) -> messages.Done:
        self._ledger.check_charge(_cost(request), **_charged_to(request))
        return messages.Done()

    @_ours
    def Arm(self, parts: Iterator[messages.ArmPart], _: Any) -> messages.Done:
        header = next(parts, messages.ArmPart()).header
        with self._large:
            message = joined(header.size, (part.content for part in parts))
            self._ledger.arm(_charge(header.charge), header.plan, message)
        return messages.Done()

    @_ours
    def Sent(self, request: messages.ChargeId, _: Any) -> messages.Done:
        self._ledger.sent(_charge(request))
        return messages.Done()

    @_ours
    def SentAgain(self, request: messages.Round, _: Any) -> messages.Done:
        self._ledger.sent_again(request.asset, request.agreement, request.round)
        return messages.Done()

    @_ours
    def Refund(self, request: messages.ChargeId, _: Any) -> messages.Done:
        self._ledger.refund(_charge(request))
        return messages.Done()

    def Answer(self, request: messages.Round, _: Any) -> Iterator[messages.AnswerPart]:
        with self._large:
            header, message = self._answer(request)
            yield messages.AnswerPart(header=header)
            for piece in cut(message):
                yield messages.AnswerPart(content=piece)

    @_ours
    def _answer(self, request: messages.Round) -> tuple[messages.AnswerHeader, bytes]:
        found = self._ledger.answer(request.asset, request.agreement, request.round)
        if found is None:
            return messages.AnswerHeader(answered=False), b""
        size = None if found.message is None else len(found.message)
        header = messages.AnswerHeader(answered=True, plan=found.plan, size=size)
        return header, found.message or b""

    @_ours
    def Latch(self, request: messages.LatchRequest, _: Any) -> messages.Done:
        which = request.round
        self._ledger.latch(which.asset, which.agreement, which.round, request.step, request.digest)
        return messages.Done()

    @_ours
    def Witness(self, request: messages.WitnessedHead, _: Any) -> messages.Done:
        self._ledger.witnessed(_head(request))
        return messages.Done()

    # For officers.

    @_ours
    def OpenAccounts(self, request: messages.OpenRequest, _: Any) -> messages.Opened:
        accounts = self._ledger.open_many(
            request.assets,
            policy=SignedPolicy.read(_read(request.policy)),
            unit=_unit(request.unit),
            order=request.order,
        )
        return messages.Opened(accounts=[json.dumps(account.plain()) for account in accounts])

    @_ours
    def Adopt(self, request: messages.Document, _: Any) -> messages.Done:
        self._ledger.adopt(SignedPolicy.read(_read(request.json)))
        return messages.Done()

    @_ours
    def Acknowledge(self, request: messages.Document, _: Any) -> messages.Done:
        self._ledger.acknowledge(Acknowledgement.read(_read(request.json)))
        return messages.Done()

    @_ours
    def Verify(self, request: messages.VerifyRequest, _: Any) -> messages.Verified:
        with self._reading() as ledger:
            head = ledger.head
            rows = ledger.verify(request.head if request.HasField("head") else None)
        return messages.Verified(rows=rows, head=head)

    def Export(self, *_: Any) -> Iterator[messages.Document]:
        with self._reading() as ledger:
            lines = ledger.export()
            while (line := self._next(lines)) is not None:
                yield messages.Document(json=line)

    @staticmethod
    @_ours
    def _next(lines: Iterator[str]) -> str | None:
        return next(lines, None)

    def _reading(self) -> BudgetLedger:
        return BudgetLedger.open(self._path, read_only=True)


class Service:
    """A running service; it ends when the block is left.

    Attributes:
        address: where it listens.

    Args:
        folder: the ledger's.
        bind: ``HOST:PORT``; port 0 for any.
        patience: seconds to wait for another service to end.
        hosts: names under which it is reached, beside this machine's own.

    Raises:
        RunError: another service has the ledger, or it cannot listen there.
        LedgerDamaged: the ledger does not open.
    """

    def __init__(
        self,
        folder: Path,
        bind: str = LOCAL,
        patience: float = 0.0,
        hosts: Sequence[str] = (),
    ) -> None:
        with ExitStack() as held:
            held.enter_context(Lock(folder, patience))
            host = bind.rpartition(":")[0]
            make_keys(folder / KEYS, (host.strip("[]"), *hosts))
            ledger = held.enter_context(BudgetLedger.open(folder / LEDGER))
            self._serving = _started(folder, bind, Servicer(ledger, folder / LEDGER))
            held.callback(self._serving.stop, _GRACE)
            self.address = f"{host}:{self._serving.port}"
            write_atomically(folder / ADDRESS, self.address.encode())
            self._held = held.pop_all()

    def __enter__(self) -> Service:
        return self

    def __exit__(self, *_: object) -> None:
        self._held.close()


def _started(folder: Path, bind: str, servicer: Servicer) -> Serving:
    shown = Credentials.load(folder / KEYS, "service")
    return server(
        bind,
        servicers=[partial(add_BudgetServicer_to_server, servicer)],
        private_key=shown.key,
        chain=shown.certificate + shown.ca,
        trusted=shown.ca,
        permits=permits,
        largest=CARRIED,
    )


def _cost(request: messages.ChargeRequest) -> Cost:
    return Cost(
        request.cost_nano,
        request.order,
        request.noise_multiplier,
        request.sampling_rate,
        request.steps,
    )


def _charged_to(request: messages.ChargeRequest) -> dict[str, Any]:
    return {
        "asset": request.asset,
        "agreement": request.agreement,
        "purpose": request.purpose,
        "task": request.task,
        "others": list(request.others),
        "cohort": request.cohort,
        "allowance": request.allowance if request.HasField("allowance") else None,
    }


def _charge(named: messages.ChargeId) -> ChargeId:
    return ChargeId(named.seq, named.hash)


def _head(seen: messages.WitnessedHead) -> CountersignedHead:
    return CountersignedHead(seen.ledger, seen.head, seen.witness, seen.signature)


def _unit(name: str) -> PrivacyUnit:
    try:
        return PrivacyUnit(name)
    except ValueError:
        units = ", ".join(PrivacyUnit)
        raise ConfigError(f"{name} is no privacy unit", f"units: {units}") from None


def _read(text: str) -> dict[str, Any]:
    try:
        values = json.loads(text)
    except ValueError:
        values = None
    if not isinstance(values, dict):
        raise ConfigError("this is not a document of JSON")
    return values
