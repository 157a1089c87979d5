"""The values that the tests of auth share."""

from typing import Any

from doorstream.auth import hash_secret
from doorstream.events.entities import Client

SITE = "0738b8df-329a-4d50-88e7-7a48928c4d6f"
OTHER = "0738b8df-329a-4d50-88e7-7a48928c4d70"
NOW = 1_769_853_600.0
SECRET = "5e" * 32


def client(**fields: Any) -> Client:
    given = {
        "id": "panel",
        "name": "Panel app",
        "scopes": ("pdk",),
        "sites": (SITE,),
        "created": "",
        "generation": "g1",
    }
    return Client(**given | {"secret_hash": hash_secret(SECRET)} | fields)
