"""What a client may do, in one table."""

from __future__ import annotations

SCOPES: dict[str, str] = {
    "admin": "everything, within the client's sites; with all sites also sites, clients and users themselves",
    "directory:read": "read sites, cloud nodes, connections, devices and holders",
    "directory:write": "create, change and delete cloud nodes, connections, devices and holders",
    "events:read": "read events and follow streams",
    "events:write": "put events in",
    "webhooks:read": "read webhooks and what became of their deliveries",
    "webhooks:write": "create, change, test, replay and delete webhooks",
    "placeos": "PlaceOS: read systems and zones, bind to status, execute the functions that everybody may execute",
    "placeos:support": "PlaceOS: the same, the functions and state that support may use, and change systems and zones",
    "pdk": "PDK: obtain system tokens, and with them read the system's lists and stream",
}
"""Every scope that a client can have, and what it allows. Scopes are worth nothing outside the client's sites."""
