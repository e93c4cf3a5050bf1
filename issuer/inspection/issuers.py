"""What is wrong with an issuer: its specification, the Secrets that it names, and each of its authorities.

The controller's own words are taken where it has some: it has asked the authorities, and this program has not.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Final

import msgspec

from issuer.api import condition, spec
from issuer.api.duration import human
from issuer.api.issuer import CLUSTER_ISSUER_KIND, PLURALS, SecretReference
from issuer.api.meta import ObjectKey, format_time
from issuer.api.request import IssuerRef
from issuer.authorities import ca, cloudflare, issuerref, registry
from issuer.inspection.findings import ERROR, NOTE, WARNING, Code, Finding, Severity, title
from issuer.inspection.snapshot import key_of, lease_key

if TYPE_CHECKING:
    from collections.abc import Iterator

    from issuer.api.issuer import AuthoritySpec, Issuer, IssuerSpec
    from issuer.api.issuerstatus import AuthorityStatus
    from issuer.inspection.snapshot import IssuerKey, Snapshot

CAN_SIGN: Final = frozenset({"Available", "Degraded", "Untested", "Unknown"})
"""States in which an authority is asked."""
CA_ENDS: Final = timedelta(days=30)
"""How long before its end a CA is told of; what it signs never outlives it."""
_RATE_LIMITED: Final = "rate-limited until"
_CODES: Final[dict[str, Code]] = {
    "SecretNotFound": "SecretMissing",
    "Misconfigured": "Misconfigured",
    "Unauthorized": "CredentialRefused",
    "Open": "BreakerOpen",
    "Untested": "BreakerUntested",
    "Degraded": "AuthorityDegraded",
    "IssuerNotFound": "OtherIssuerMissing",
    "IssuerNotReady": "OtherIssuerNotReady",
}


@dataclass(frozen=True, slots=True)
class Needed:
    """A Secret that an authority needs.

    Attributes:
        authority: its name.
        secret: which one.
        keys: that it must have.
        is_ca: whether it holds a CA.
    """

    authority: str
    secret: ObjectKey
    keys: tuple[str, ...]
    is_ca: bool = False


def read_spec(issuer: Issuer) -> IssuerSpec | None:
    """Its specification; None if it is nonsense."""
    try:
        return spec.parse(issuer.spec, registry.configs())
    except spec.InvalidSpecError:
        return None


def needs(issuer: Issuer) -> tuple[Needed, ...]:
    """The Secrets that it names.

    Those of a CDNClusterIssuer are in the cluster resource namespace, which only its controller knows. It is taken for
    the one of the controller's Lease, as it is unless somebody has said otherwise.
    """
    read = read_spec(issuer)
    lease = lease_key(issuer)
    namespace = issuer.metadata.namespace or (lease.namespace if lease else "")
    if read is None or not namespace:
        return ()
    return tuple(one for authority in read.authorities for one in _needed(authority, namespace))


def issuer_trouble(issuer: Issuer, snapshot: Snapshot) -> Iterator[Finding]:
    """What is wrong with it, the worst first."""
    key = key_of(issuer)
    ready = issuer.ready
    if ready is not None and ready.reason == "InvalidSpec":
        yield Finding(severity=ERROR, code="InvalidSpec", object=title(*key), sentence=ready.message, fix=_edit(key))
        return
    found = [*_authorities(issuer, snapshot), *_secrets(issuer, snapshot), *_fallbacks(issuer), *_untried(issuer)]
    if ready is not None and ready.reason == "NoActiveAuthority":
        code: Code = "NoActiveAuthority"
        found.append(Finding(severity=ERROR, code=code, object=title(*key), sentence=ready.message, fix=_edit(key)))
    if not any(finding.is_error for finding in found) and ready is not None and ready.status == condition.FALSE:
        yield Finding(
            severity=ERROR, code="IssuerNotReady", object=title(*key), sentence=ready.message, fix=describe(key)
        )
    yield from sorted(found, key=lambda finding: not finding.is_error)


def describe(key: IssuerKey) -> str:
    """The command that shows an issuer."""
    return f"kubectl describe {PLURALS[key.kind]}{_in(key.namespace)} {key.name}"


def _edit(key: IssuerKey) -> str:
    return f"kubectl edit {PLURALS[key.kind]}{_in(key.namespace)} {key.name}"


def _in(namespace: str) -> str:
    return f" --namespace {namespace}" if namespace else ""


def _authorities(issuer: Issuer, snapshot: Snapshot) -> Iterator[Finding]:
    """What the controller says of each that is not well."""
    states = issuer.status.authorities
    severity: Severity = WARNING if any(one.state in CAN_SIGN for one in states) else ERROR
    needed = needs(issuer)
    for one in states:
        if one.state in ("Available", "Unknown") or not one.message:
            continue
        code = _CODES.get(one.state, "AuthorityDegraded")
        if one.state == "Degraded" and _RATE_LIMITED in one.message:
            code = "RateLimited"
        secrets = [need for need in needed if need.authority == one.name]
        if code == "Misconfigured" and any(_lacking(need, snapshot) for need in secrets):
            code = "KeyMissing"
        yield Finding(
            severity=severity,
            code=code,
            object=title(*key_of(issuer)),
            sentence=f"authority {one.name}: {one.message}",
            fix=_fix(code, one, issuer, secrets),
        )


def _fix(code: Code, state: AuthorityStatus, issuer: Issuer, secrets: list[Needed]) -> str:
    """A Secret is what is to be looked after first; with anything else the state tells more."""
    if code == "OtherIssuerMissing":
        return _edit(key_of(issuer))
    if code == "OtherIssuerNotReady" and (ref := stands_for(state.name, issuer)) is not None:
        return f"kubectl describe {ref.kind.lower()}.{ref.group}{_in(issuer.metadata.namespace)} {ref.name}"
    of_secret = code in ("SecretMissing", "KeyMissing", "CredentialRefused", "Misconfigured")
    if not of_secret or not secrets:
        return describe(key_of(issuer))
    named = next((need for need in secrets if need.secret.name in state.message), secrets[0])
    return fill(named)


def stands_for(authority: str, issuer: Issuer) -> IssuerRef | None:
    """The issuer of the cluster that one of its authorities stands for; None if it stands for none."""
    read = read_spec(issuer)
    named = next((one for one in read.authorities if one.name == authority), None) if read else None
    if named is None or named.kind != "issuerRef":
        return None
    try:
        config = msgspec.json.decode(named.config, type=issuerref.Config)
    except msgspec.DecodeError:
        return None
    return IssuerRef(group=config.group, kind=config.kind, name=config.name)


def let_approve(ref: IssuerRef) -> str:
    """The command that lets cert-manager's approver approve requests for such an issuer."""
    # kubectl's own `create clusterrole` refuses signers, which are no resource that any API server has.
    signer = issuerref.signer(ref)
    name, group = f"approve-{signer.removesuffix('/*')}", "rbac.authorization.k8s.io"
    rbac = {"apiVersion": f"{group}/v1", "metadata": {"name": name}}
    rule = {
        "apiGroups": ["cert-manager.io"],
        "resources": ["signers"],
        "resourceNames": [signer],
        "verbs": ["approve"],
    }
    approver = {"kind": "ServiceAccount", "name": "cert-manager", "namespace": "cert-manager"}
    bound = {"apiGroup": group, "kind": "ClusterRole", "name": name}
    both = [
        {**rbac, "kind": "ClusterRole", "rules": [rule]},
        {**rbac, "kind": "ClusterRoleBinding", "roleRef": bound, "subjects": [approver]},
    ]
    return f"echo '{json.dumps({'apiVersion': 'v1', 'kind': 'List', 'items': both})}' | kubectl apply -f -"


def fill(need: Needed) -> str:
    """The command that makes a Secret, or replaces what is in it."""
    kind = "tls" if need.is_ca else "generic"
    parts = " --cert=tls.crt --key=tls.key" if need.is_ca else "".join(f" --from-file={key}" for key in need.keys)
    namespace, name = need.secret
    return (
        f"kubectl create secret {kind} {name} --namespace {namespace}{parts} --dry-run=client --output yaml "
        "| kubectl apply -f -"
    )


def _secrets(issuer: Issuer, snapshot: Snapshot) -> Iterator[Finding]:
    """What this program has seen of the Secrets: where the controller has not said it yet, and when CAs end."""
    told = {one.name for one in issuer.status.authorities if one.state in ("SecretNotFound", "Misconfigured")}
    guessed = issuer.kind == CLUSTER_ISSUER_KIND
    needed = needs(issuer)
    alone = len({need.authority for need in needed}) == 1
    for need in needed:
        if need.secret not in snapshot.secrets:
            continue
        if need.authority not in told and not guessed:
            yield from _incomplete(need, snapshot, alone=alone)
        if need.is_ca:
            yield from _ending(need, snapshot, alone=alone)


def _incomplete(need: Needed, snapshot: Snapshot, *, alone: bool) -> Iterator[Finding]:
    code: Code
    if snapshot.secrets[need.secret] is None:
        code, problem = "SecretMissing", "does not exist"
    elif lacking := _lacking(need, snapshot):
        code, problem = "KeyMissing", f"has no key {lacking[0]}"
    else:
        return
    about = title("Secret", *need.secret)
    yield Finding(
        severity=ERROR if alone else WARNING,
        code=code,
        object=about,
        sentence=f"authority {need.authority}: {about} {problem}",
        fix=fill(need),
    )


def _ending(need: Needed, snapshot: Snapshot, *, alone: bool) -> Iterator[Finding]:
    """A CA that is about to end."""
    view = snapshot.secrets[need.secret]
    if view is None or view.ends is None or view.ends - snapshot.now >= CA_ENDS:
        return
    left = (view.ends - snapshot.now).total_seconds()
    ends = f"ends in {human(left)}" if left > 0 else "has ended"
    yield Finding(
        severity=WARNING if left > 0 or not alone else ERROR,
        code="CAExpires" if left > 0 else "CAExpired",
        object=title("Secret", *need.secret),
        sentence=f"the CA of authority {need.authority} {ends}, at {format_time(view.ends)}, and nothing that it signs "
        "lives longer",
        fix=fill(need),
    )


def _lacking(need: Needed, snapshot: Snapshot) -> list[str]:
    view = snapshot.secrets.get(need.secret)
    return [key for key in need.keys if view is not None and key not in view.keys]


def _fallbacks(issuer: Issuer) -> Iterator[Finding]:
    """Cloudflare's edge in Full (strict) mode takes its own Origin CA and public CAs, and no CA of the user's own."""
    read = read_spec(issuer)
    edge: AuthoritySpec | None = None
    for authority in read.authorities if read else ():
        if authority.kind == "cloudflare":
            edge = edge or authority
        elif authority.kind == "ca" and edge is not None:
            yield Finding(
                severity=WARNING,
                code="FallbackNotTrusted",
                object=title(*key_of(issuer)),
                sentence=f"what authority {authority.name}, a CA of your own, signs in place of {edge.name} is refused "
                "by Cloudflare's edge in Full (strict) mode; Certificates of origins behind it have to leave it out",
                fix=f"kubectl annotate certificates{_in(issuer.metadata.namespace)} NAME "
                f"cdn-issuer.io/authorities={edge.name}",
            )
            return


def _untried(issuer: Issuer) -> Iterator[Finding]:
    """A fallback that has never signed for anybody, and is not rehearsed: whether it can is a guess."""
    read = read_spec(issuer)
    if read is None or read.rehearsal is not None:
        return
    for one in issuer.status.authorities[1:]:
        if one.last_success_time is None and one.state in CAN_SIGN:
            key = key_of(issuer)
            yield Finding(
                severity=NOTE,
                code="NeverRehearsed",
                object=title(*key),
                sentence=f"authority {one.name} is a fallback that has never signed; give the issuer spec.rehearsal, "
                "so that it is tried before it is needed",
                fix=f"kubectl patch {PLURALS[key.kind]}{_in(key.namespace)} {key.name} --type merge --patch "
                '\'{"spec": {"rehearsal": {"dnsNames": ["rehearsal.example.com"]}}}\'',
            )


def _needed(authority: AuthoritySpec, namespace: str) -> Iterator[Needed]:
    path = f"spec.authorities.{authority.name}"
    try:
        if authority.kind == "cloudflare":
            token = spec.decode_config(authority.config, cloudflare.Config, path).api_token_secret_ref
            yield Needed(authority.name, ObjectKey(namespace, token.name), (token.key,))
        elif authority.kind == "ca":
            ref: SecretReference = spec.decode_config(authority.config, ca.Config, path).secret_ref
            yield Needed(authority.name, ObjectKey(namespace, ref.name), ("tls.crt", "tls.key"), is_ca=True)
    except spec.InvalidSpecError:
        return
    if (bundle := authority.common.ca_bundle_secret_ref) is not None:
        yield Needed(authority.name, ObjectKey(namespace, bundle.name), (bundle.key,))
