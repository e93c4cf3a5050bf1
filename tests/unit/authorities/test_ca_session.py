"""The life of the in-process CA around a signature: Secrets, threads, the clock, and what there is nothing of."""

from __future__ import annotations

import asyncio
import threading
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import msgspec
import pytest

from issuer.api.issuer import AuthorityCommon, AuthoritySpec
from issuer.api.secret import SecretError
from issuer.api.spec import InvalidSpecError
from issuer.authorities import ca, registry
from issuer.authorities.base import AuthorityContext, CallTimeouts, SigningOrder
from issuer.authorities.errors import Rejected, Unauthorized, Unavailable, Unsupported
from issuer.pki import issue, keypair
from issuer.pki.certificate import load_chain, to_pem
from issuer.pki.csr import InvalidRequestError
from tests.unit.authorities.cloudflare_case import find_all
from tests.unit.pki.pki_case import CA, DAY, NOW, key, key_pem, make_ca, parsed

if TYPE_CHECKING:
    from collections.abc import Mapping

    import httpx

    from issuer.authorities.base import Authority

TIMEOUTS = CallTimeouts(connect=1, read=1)
ROOT = make_ca("session root")
HOUR = timedelta(hours=1)
ORDER = SigningOrder(
    uid="u", namespace="web", name="www-1", created=NOW, csr=parsed("www.example.com"), duration=7 * DAY
)


class Secrets:
    """One Secret that can be changed, and what was asked of it."""

    def __init__(self, data: Mapping[str, bytes]) -> None:
        self.data = data
        self.asked: list[tuple[str, str, bool]] = []
        self.error: SecretError | None = None

    async def read(self, namespace: str, name: str, *, fresh: bool = False) -> Mapping[str, bytes]:
        self.asked.append((namespace, name, fresh))
        if self.error:
            raise self.error
        return self.data


def no_transport() -> httpx.AsyncBaseTransport:
    raise AssertionError("an authority without a network asks for none")


def build(secrets: Secrets, *, now: datetime = NOW, config: bytes = b'{"secretRef":{"name":"ca"}}') -> Authority:
    spec = AuthoritySpec(common=AuthorityCommon(name="backup"), kind="ca", config=msgspec.Raw(config))
    context = AuthorityContext(namespace="web", secrets=secrets, transport=no_transport, now=lambda: now)
    return registry.build(spec, context)


def secret(of: CA) -> dict[str, bytes]:
    return {"tls.crt": to_pem([of.certificate]), "tls.key": key_pem(of.signer)}


class Parses:
    """Counts how often a key pair is parsed, and where."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.threads: list[int] = []
        self._load = keypair.load
        monkeypatch.setattr(keypair, "load", self)

    def __call__(self, certificate: bytes, private: bytes, roots: bytes) -> keypair.KeyPair:
        self.threads.append(threading.get_ident())
        return self._load(certificate, private, roots)


async def test_a_secret_is_parsed_once_for_its_content_and_off_the_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    parses, secrets = Parses(monkeypatch), Secrets(secret(ROOT))
    authority = build(secrets)
    await asyncio.gather(*(authority.session() for _ in range(20)))
    assert len(parses.threads) == 1
    assert threading.get_ident() not in parses.threads
    secrets.data = secret(make_ca("next root"))
    await authority.session()
    assert len(parses.threads) == 2


async def test_a_secret_that_is_no_key_pair_is_parsed_once_too(monkeypatch: pytest.MonkeyPatch) -> None:
    parses = Parses(monkeypatch)
    authority = build(Secrets(secret(ROOT) | {"tls.key": key_pem(key())}))
    for _ in range(3):
        with pytest.raises(Unauthorized, match=r"key tls\.key: is not the key of the first certificate") as caught:
            await authority.session()
        assert caught.value.code == "SecretInvalid"
    assert len(parses.threads) == 1


async def test_a_session_goes_on_with_its_own_key_pair_when_the_secret_is_rotated() -> None:
    secrets = Secrets(secret(ROOT))
    session = await build(secrets).session()
    secrets.data = secret(make_ca("next root"))
    leaf, *_ = load_chain((await session.sign(ORDER, TIMEOUTS)).chain)
    leaf.verify_directly_issued_by(ROOT.certificate)


async def test_freshness_is_asked_of_the_secret() -> None:
    secrets = Secrets(secret(ROOT))
    await build(secrets).session(fresh=True)
    await build(secrets).session()
    assert secrets.asked == [("web", "ca", True), ("web", "ca", False)]


async def test_a_kubernetes_api_that_does_not_answer_is_not_a_missing_secret() -> None:
    secrets = Secrets(secret(ROOT))
    secrets.error = SecretError("web", "ca", "could not be read: timeout")
    with pytest.raises(Unavailable, match="could not be read"):
        await build(secrets).session()


async def test_an_rsa_key_signs_off_the_loop_and_an_ecdsa_key_on_it(monkeypatch: pytest.MonkeyPatch) -> None:
    threads: list[int] = []
    original = issue.issue

    def watched(*args: object, **options: object) -> object:
        threads.append(threading.get_ident())
        return original(*args, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(ca, "issue", watched)
    for of in (make_ca("rsa session root", kind="rsa2048"), ROOT):
        session = await build(Secrets(secret(of))).session()
        await session.sign(ORDER, TIMEOUTS)
    in_thread, on_loop = threads
    assert in_thread != threading.get_ident()
    assert on_loop == threading.get_ident()


async def test_the_account_names_the_secret_and_a_digest_of_its_certificate() -> None:
    session = await build(Secrets(secret(ROOT))).session()
    kind, where, digest = session.account.split(":")
    assert (kind, where) == ("ca", "web/ca")
    assert len(digest) == 12


async def test_nothing_is_remembered_so_nothing_is_found_and_nothing_revoked() -> None:
    authority = build(Secrets(secret(ROOT)))
    session = await authority.session()
    signed = await session.sign(ORDER, TIMEOUTS)
    assert signed.handle == ""
    assert not authority.remembers
    assert not authority.is_remote
    assert await find_all(session, ORDER, TIMEOUTS) == ()
    await session.revoke("anything", TIMEOUTS)
    await session.check(TIMEOUTS)
    await authority.aclose()


async def test_two_signatures_have_two_serial_numbers() -> None:
    session = await build(Secrets(secret(ROOT))).session()
    serials = {load_chain((await session.sign(ORDER, TIMEOUTS)).chain)[0].serial_number for _ in range(20)}
    assert len(serials) == 20
    assert all(0 < serial.bit_length() <= 159 for serial in serials)


@pytest.mark.parametrize("duration", [timedelta(hours=896), timedelta(hours=1), 7 * DAY])
async def test_a_certificate_lives_to_the_second_as_long_as_was_asked_for(duration: timedelta) -> None:
    """cert-manager's conformance suite allows 30 s more, and its suite for the CA issuer none."""
    order = replace(ORDER, duration=duration)
    leaf, *_ = load_chain((await (await build(Secrets(secret(ROOT))).session()).sign(order, TIMEOUTS)).chain)
    assert leaf.not_valid_before_utc == NOW
    assert leaf.not_valid_after_utc - leaf.not_valid_before_utc == duration


async def test_a_certificate_does_not_begin_before_its_ca_whose_clock_is_ahead() -> None:
    new = make_ca("new root", start=NOW + timedelta(seconds=30))
    leaf, *_ = load_chain((await (await build(Secrets(secret(new))).session()).sign(ORDER, TIMEOUTS)).chain)
    assert leaf.not_valid_before_utc == NOW + timedelta(seconds=30)
    assert leaf.not_valid_after_utc - leaf.not_valid_before_utc == 7 * DAY


async def test_a_part_of_a_second_is_no_part_of_a_promise() -> None:
    now = datetime(2026, 11, 2, 12, 0, 0, 987654, tzinfo=UTC)
    signed = await (await build(Secrets(secret(ROOT)), now=now).session()).sign(ORDER, TIMEOUTS)
    assert signed.promised == 7 * DAY
    assert load_chain(signed.chain)[0].not_valid_after_utc == now.replace(microsecond=0) + 7 * DAY


async def test_a_ca_without_a_follower_signs_until_it_ends() -> None:
    session = await build(Secrets(secret(make_ca("late root", end=NOW + HOUR / 2)))).session()
    assert (await session.sign(ORDER, TIMEOUTS)).promised == HOUR / 2
    assert (await session.sign(replace(ORDER, duration=HOUR / 4), TIMEOUTS)).promised == HOUR / 4


async def test_what_would_end_before_it_is_used_is_signed_only_where_it_is_asked_for() -> None:
    session = await build(Secrets(secret(make_ca("last root", end=NOW + timedelta(seconds=30))))).session()
    with pytest.raises(Unavailable, match="the CA certificate ends at 2026-11-02T12:00:30Z; renew it"):
        await session.sign(ORDER, TIMEOUTS)
    assert (await session.sign(replace(ORDER, duration=timedelta(seconds=20)), TIMEOUTS)).promised.seconds == 20


async def test_usages_that_cannot_be_signed_are_unsupported_when_signing_too() -> None:
    session = await build(Secrets(secret(ROOT))).session()
    with pytest.raises(Unsupported, match=r"spec\.usages: unknown usage 'nonsense'"):
        await session.sign(replace(ORDER, usages=("nonsense",)), TIMEOUTS)


async def test_a_csr_that_cannot_be_put_into_a_certificate_is_rejected(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object, **options: object) -> None:
        raise InvalidRequestError("spec.request", "what it holds cannot be put into a certificate")

    monkeypatch.setattr(ca, "issue", refuse)
    session = await build(Secrets(secret(ROOT))).session()
    with pytest.raises(Rejected, match=r"spec\.request: what it holds"):
        await session.sign(ORDER, TIMEOUTS)


@pytest.mark.parametrize(
    ("config", "said"),
    [
        (b"{}", "secretRef"),
        (b'{"secretRef":{"name":""}}', r"ca\.secretRef\.name"),
        (b'{"secretRef":{"name":7}}', r"ca\.secretRef\.name"),
        (b"[]", r"spec\.authorities\.backup\.ca"),
    ],
)
def test_a_configuration_that_is_nonsense_is_refused_with_its_path(config: bytes, said: str) -> None:
    with pytest.raises(InvalidSpecError, match=said):
        build(Secrets({}), config=config)


@pytest.mark.parametrize("config", [b'{"secretRef":{"name":"a","key":"b"}}', b'{"secretRef":{"name":"a"},"more":1}'])
def test_a_field_of_a_later_version_is_passed_over(config: bytes) -> None:
    assert build(Secrets({}), config=config).name == build(Secrets({})).name
