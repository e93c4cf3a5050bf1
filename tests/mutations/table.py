"""All mutations, room by room. To add one: a sentence, the text, what takes its place, and who should notice."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from tests.mutations import (
    accounts,
    authorities,
    controllers,
    conversion,
    delegation,
    kube,
    ledger,
    limits,
    messages,
    observe,
    passes,
    signingrequests,
    upkeep,
    words,
)

if TYPE_CHECKING:
    from tests.mutations.mutation import Mutation

MUTATIONS: Final[tuple[Mutation, ...]] = (
    *ledger.MUTATIONS,
    *accounts.MUTATIONS,
    *limits.MUTATIONS,
    *passes.MUTATIONS,
    *authorities.MUTATIONS,
    *controllers.MUTATIONS,
    *conversion.MUTATIONS,
    *delegation.MUTATIONS,
    *kube.MUTATIONS,
    *messages.MUTATIONS,
    *observe.MUTATIONS,
    *signingrequests.MUTATIONS,
    *upkeep.MUTATIONS,
    *words.MUTATIONS,
)
