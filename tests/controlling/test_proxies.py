"""The proxy to an API server: looked up once, as the environment says."""

import pytest

from oarlock_operator.cluster.connection import find_proxy


@pytest.mark.parametrize(
    ("server", "proxy"),
    [
        ("https://api.example:6443", "http://proxy.example:3128"),
        ("https://10.0.0.1:443", None),
        ("http://api.example", None),
    ],
    ids=["through the proxy", "excluded", "another scheme"],
)
def test_the_proxy_is_the_environments(monkeypatch: pytest.MonkeyPatch, server: str, proxy: str | None) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "no_proxy", "https_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy.example:3128")
    monkeypatch.setenv("NO_PROXY", "10.0.0.1,.cluster.local")

    assert find_proxy(server) == proxy
