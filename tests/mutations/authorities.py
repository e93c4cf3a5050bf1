"""The providers: what a refusal means, what a look reads, what goes out on the wire, what a CA may sign."""

from __future__ import annotations

from typing import Final

from tests.mutations.mutation import Mutation

_ERRORS: Final = "issuer/authorities/cloudflare_errors.py"
_SESSION: Final = "issuer/authorities/cloudflare_session.py"
_LISTING: Final = "issuer/authorities/cloudflare_listing.py"
_ORDER: Final = "issuer/authorities/cloudflare_order.py"
_TRANSPORT: Final = "issuer/authorities/transport.py"
_CA: Final = "issuer/authorities/ca.py"
_CSR: Final = "issuer/pki/csr.py"

_ERROR_TESTS: Final = ("unit/authorities/test_cloudflare_errors.py",)
_SESSION_TESTS: Final = ("unit/authorities/test_cloudflare_session.py",)
_ORDER_TESTS: Final = ("unit/authorities/test_cloudflare_order.py",)
_LISTING_TESTS: Final = ("unit/authorities/test_cloudflare_listing.py",)
_WIRE: Final = "unit/authorities/test_cloudflare_on_the_wire.py"

MUTATIONS: Final = (
    Mutation(
        "the token of a ServiceAccount is sent to whatever endpoint an issuer names",
        "issuer/authorities/cloudflare.py",
        old="    if _WEB_TOKEN.fullmatch(token):\n",
        new="    if not token:\n",
        tests=("unit/authorities/test_cloudflare_config.py",),
    ),
    Mutation(
        "a server error is what its code says",
        _ERRORS,
        old="    if refusal.status >= 500:  # noqa: PLR2004 - the server's own failure, whatever it says besides\n"
        "        return Verdict.UNAVAILABLE\n",
        new="",
        tests=_ERROR_TESTS,
    ),
    Mutation(
        "a server error with a known code left nothing behind",
        _ERRORS,
        old="return bool(rules) and refusal.status < 500 and all(",
        new="return bool(rules) and all(",
        tests=_ERROR_TESTS,
    ),
    Mutation(
        "an answer without a known reason left nothing behind",
        _ERRORS,
        old="ambiguous = signing and not _gave_up_before_signing(refusal)",
        new="ambiguous = False",
        tests=_ERROR_TESTS,
    ),
    Mutation(
        "a database error of the provider left nothing behind",
        _ERRORS,
        old='"1100": Rule(Verdict.UNAVAILABLE, before_signing=False),',
        new='"1100": Rule(Verdict.UNAVAILABLE),',
        tests=_ERROR_TESTS,
    ),
    Mutation(
        "a database error of the provider rejects the request",
        _ERRORS,
        old='"1100": Rule(Verdict.UNAVAILABLE, before_signing=False),',
        new='"1100": Rule(Verdict.REJECTED),',
        tests=_ERROR_TESTS,
    ),
    Mutation(
        "a rejection that wraps a lost connection is the end",
        _ERRORS,
        old="    if _TEMPORARY_WORDING.search(words) or status in _TEMPORARY_STATUSES:\n"
        "        return Verdict.UNAVAILABLE\n",
        new="",
        tests=_ERROR_TESTS,
    ),
    Mutation(
        "a rate limit that is told in words rejects the request",
        _ERRORS,
        old="    if _THROTTLE_WORDING.search(words):\n        return Verdict.RATE_LIMITED\n",
        new="",
        tests=_ERROR_TESTS,
    ),
    Mutation(
        "a hostname reads as what is wrong",
        _ERRORS,
        old='" ".join(_DOTTED.sub(" ", problem.message).split())',
        new='" ".join(problem.message.split())',
        tests=_ERROR_TESTS,
    ),
    Mutation(
        "one request with a foreign hostname keeps all others of the account away",
        _ERRORS,
        old="return bool(_AUTHORIZATION_WORDING.search(words)) and not about_the_request",
        new="return bool(_AUTHORIZATION_WORDING.search(words))",
        tests=_ERROR_TESTS,
    ),
    Mutation(
        "of several problems the harshest counts",
        _ERRORS,
        old="return next(verdict for verdict in Verdict if verdict in verdicts)",
        new="return next(verdict for verdict in reversed(Verdict) if verdict in verdicts)",
        tests=_ERROR_TESTS,
    ),
    Mutation(
        "a look reads pages from before the loss",
        _LISTING,
        old="            if page is None or page.asked < since:\n",
        new="            if page is None:\n",
        tests=_LISTING_TESTS,
    ),
    Mutation(
        "looks at the same time read the same page each",
        _LISTING,
        old="        async with self._reading:\n            page = self._pages.get(number)\n",
        new="        if True:\n            page = None\n",
        tests=_LISTING_TESTS,
    ),
    Mutation(
        "a look reads on after the last page",
        _LISTING,
        old="            if first.total is None and page.is_last:\n                return\n",
        new="",
        tests=_SESSION_TESTS,
    ),
    Mutation(
        "a look stops after the first page",
        _LISTING,
        old="        if first.total is None and first.is_last:\n            return\n",
        new="        if True:\n            return\n",
        tests=_SESSION_TESTS,
    ),
    Mutation(
        "a look reads as many pages as the provider says there are",
        _LISTING,
        old="    if total is None or total <= most:\n",
        new="    if True:\n",
        tests=_SESSION_TESTS,
    ),
    Mutation(
        "a page that is too long is not read in smaller ones",
        _LISTING,
        old="                if self._size + 1 >= len(PAGE_SIZES):\n                    raise\n",
        new="                raise\n",
        tests=_LISTING_TESTS,
    ),
    Mutation(
        "a look turns no pages where the provider names no total",
        _LISTING,
        old="return -(-count // size) if type(count) is int and count >= 0 else None",
        new="return 1",
        tests=_SESSION_TESTS,
    ),
    Mutation(
        "pages are kept for ever",
        _LISTING,
        old="if one.used < now - KEEP]:",
        new="if False]:",
        tests=_LISTING_TESTS,
    ),
    Mutation(
        "a success without a certificate left nothing behind",
        _SESSION,
        old="                ambiguous=True,\n",
        new="                ambiguous=False,\n",
        tests=_SESSION_TESTS,
    ),
    Mutation(
        "a handle may lead to another path of the API",
        _SESSION,
        old="        if not _HANDLE.fullmatch(handle):\n",
        new="        if False:\n",
        tests=_SESSION_TESTS,
    ),
    Mutation(
        "what is revoked already cannot be revoked",
        _SESSION,
        old="if error.status not in _GONE and not _ALREADY_REVOKED.search(error.message):",
        new="if True:",
        tests=_SESSION_TESTS,
    ),
    Mutation(
        "a call takes no token of our limits",
        "issuer/authorities/cloudflare_api.py",
        old="        await timeouts.token()\n",
        new="",
        tests=_SESSION_TESTS,
    ),
    Mutation(
        "a token of an account is refused by the check",
        _SESSION,
        old="            await self._check_by_listing(refused, timeouts)\n            return\n",
        new="            raise\n",
        tests=_SESSION_TESTS,
    ),
    Mutation(
        "a certificate of another key is the answer to an order",
        _ORDER,
        old="found is None or found.public_key != order.csr.public_key or",
        new="found is None or",
        tests=_ORDER_TESTS,
    ),
    Mutation(
        "a certificate of an earlier request is the answer to an order",
        _ORDER,
        old="    if found.not_before < order.created - CLOCK_SKEW:\n        return None\n",
        new="",
        tests=_ORDER_TESTS,
    ),
    Mutation(
        "a revoked certificate is the answer to an order",
        _ORDER,
        old=' or not isinstance(pem, str) or record.get("revoked_at"):',
        new=" or not isinstance(pem, str):",
        tests=_ORDER_TESTS,
    ),
    Mutation(
        "a name that no public zone can hold is sent to the provider",
        _ORDER,
        old="    if why := not_public(base):\n",
        new="    if why := '':\n",
        tests=_ORDER_TESTS,
    ),
    Mutation(
        "usages that the provider cannot give are dropped without a word",
        _ORDER,
        old="    _check_usages(order.usages, authority)\n",
        new="",
        tests=_ORDER_TESTS,
    ),
    Mutation(
        "a proxy's plain words end a request",
        _ERRORS,
        old="    return Verdict.UNAVAILABLE if verdict is Verdict.REJECTED else verdict\n",
        new="    return verdict\n",
        tests=_ERROR_TESTS,
    ),
    Mutation(
        "a shipped root is given whoever signed",
        "issuer/authorities/cloudflare_roots.py",
        old="to_pem(dict.fromkeys(way[-1] for way in ways))",
        new="to_pem(self.certificates)",
        tests=("unit/authorities/test_cloudflare_roots.py",),
    ),
    Mutation(
        "a date to wait for is one of our own clock",
        "issuer/authorities/cloudflare_api.py",
        old="        if answered is None or abs((answered - now).total_seconds()) > MAX_SKEW:\n",
        new="        if True:\n",
        tests=("unit/authorities/test_cloudflare_api.py",),
    ),
    Mutation(
        "a POST is sent by a process that has lost its lease while it connected",
        _TRANSPORT,
        old="            guard()\n",
        new="            pass\n",
        tests=(f"{_WIRE}::test_who_may_no_longer_call_when_the_connection_is_there_sends_nothing",),
    ),
    Mutation(
        "a CA signs longer than it lives",
        _CA,
        old="return min(max(now, begins) + duration, ends)",
        new="return max(now, begins) + duration",
        tests=("unit/authorities/test_ca.py",),
    ),
    Mutation(
        "a CA signs other CAs although nobody allowed it",
        _CA,
        old="if order.csr.is_ca and not self._allow_ca:",
        new="if False:",
        tests=("unit/authorities/test_ca_secrets.py",),
    ),
    Mutation(
        "a CA signs another one although its path length is used up",
        _CA,
        old="if order.csr.is_ca and (problem := pair.obstacle_below()):",
        new="if False and (problem := pair.obstacle_below()):",
        tests=("unit/authorities/test_ca_secrets.py",),
    ),
    Mutation(
        "a certificate is dated back, so that it lives longer than was asked for",
        _CA,
        old="begin = max(now, pair.begins)",
        new="begin = max(now - CLOCK_SKEW, pair.begins)",
        tests=("unit/authorities/test_ca_session.py",),
    ),
    Mutation(
        "the signature of a CSR is checked over what was made of it",
        _CSR,
        old="return request, rewritten.signed",
        new="return request, request.tbs_certrequest_bytes",
        tests=("unit/pki/test_csr_lenient.py",),
    ),
    Mutation(
        "names are signed that an approver in Go does not see",
        _CSR,
        old="            if _is_read_alike(request):\n",
        new="            if True:\n",
        tests=("unit/pki/test_csr_lenient.py",),
    ),
    Mutation(
        "a CSR that is signed with MD5 is taken for one by another key",
        _CSR,
        old="if isinstance(algorithm, hashes.MD5):",
        new="if False:",
        tests=("unit/pki/test_csr_lenient.py",),
    ),
    Mutation(
        "an expired CA signs",
        _CA,
        old="        if ends - now < min(LEAST_LEFT, duration):\n",
        new="        if False:\n",
        tests=("unit/authorities/test_ca.py",),
    ),
    Mutation(
        "a name that the CA's constraints forbid is signed",
        _CA,
        old="        if problem := constraints.violation(order.csr, pair.chain):\n",
        new="        if problem := '':\n",
        tests=("unit/authorities/test_ca_limits.py",),
    ),
    Mutation(
        "a CA that is about to end signs although another one follows",
        _CA,
        old="        if self.context.followed and end - now < order.duration / 2:\n",
        new="        if False:\n",
        tests=("unit/authorities/test_ca_limits.py",),
    ),
    Mutation(
        "a CA that is about to end says that it can never sign",
        _CA,
        old="                for_now=True,\n",
        new="                for_now=False,\n",
        tests=("unit/authorities/test_ca_limits.py",),
    ),
)
