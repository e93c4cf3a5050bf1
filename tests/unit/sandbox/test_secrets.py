"""What the sandbox's API makes of a Secret."""

from __future__ import annotations

from issuer.sandbox.cluster.secrets import completed


def test_string_data_goes_into_data_and_wins() -> None:
    made = completed({"data": {"a": "MQ==", "b": "Mg=="}, "stringData": {"b": "3", "c": "4"}})
    assert made == {"data": {"a": "MQ==", "b": "Mw==", "c": "NA=="}, "type": "Opaque"}


def test_a_type_stays_and_nothing_is_added_to_an_empty_secret() -> None:
    assert completed({"type": "kubernetes.io/tls"}) == {"type": "kubernetes.io/tls"}
