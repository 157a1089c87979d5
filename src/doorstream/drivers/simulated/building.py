"""A believable office building, made from a seed: one site, 2 cloud nodes, 12 doors, 40 people and their rights.

The same seed gives the same building, down to every id: ids are UUIDs (version 5) of the seed and the thing's place in
the building, everything else comes from one seeded generator. What a building of any seed has in common (its doors,
groups and opening hours) stands in the tables of `blueprint`.

These are this package's own values, with just the fields that the story and a directory need. Field names follow
vendor-apis.md 1.4, in Python's spelling.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from random import Random
from typing import Any
from uuid import UUID, uuid5

from doorstream.drivers.simulated import blueprint
from doorstream.drivers.simulated.blueprint import Hours

# The namespace of all ids of simulated things. Changing it changes every simulated building.
_NAMESPACE = UUID("6f0c2a52-5d0e-5b0f-9a3e-3f6d5c1e7b44")


@dataclass(frozen=True, slots=True)
class Site:
    """The building as a whole. Its id is the system id of the PDK dialect (design.md D16)."""

    id: str
    name: str
    timezone: str
    locale: str


@dataclass(frozen=True, slots=True)
class CloudNode:
    """The box in the cellar that connects a wing's controllers to the cloud, and buffers while it cannot."""

    id: str
    name: str
    description: str
    serial_number: str
    timezone: str
    locale: str


@dataclass(frozen=True, slots=True)
class Connection:
    """A controller or a gateway of wireless locks. `type` is one of vendor-apis.md 1.4."""

    id: str
    name: str
    type: str
    cloud_node_id: str


@dataclass(frozen=True, slots=True)
class Device:
    """A door. `zone` is what the rhythm of the day knows of it; `dwell` and `prop_delay` are seconds."""

    id: str
    name: str
    cloud_node_id: str
    connection_id: str
    port: int
    zone: str
    factors: tuple[str, ...]
    dwell: float
    prop_delay: float
    auto_open: tuple[Hours, ...]


@dataclass(frozen=True, slots=True)
class Credential:
    """A card, or the token of a telephone. The numbers are integers here and text in events (vendor-apis.md 1.4)."""

    id: str
    credential_number: int
    facility_code: int
    description: str
    type: str


@dataclass(frozen=True, slots=True)
class Holder:
    """A person. `expire_date` is local time without a zone, as in vendor-apis.md 1.4, or None; `pin` is a secret."""

    id: str
    first_name: str
    last_name: str
    email: str
    pin: str = field(repr=False)
    group_id: str
    credentials: tuple[Credential, ...]
    enabled: bool = True
    active_date: str | None = None
    expire_date: str | None = None

    @property
    def name(self) -> str:
        """Both names in one, as events have them."""
        return f"{self.first_name} {self.last_name}"

    def summary(self) -> dict[str, Any]:
        """Return the holder as the body of a request event shows it."""
        return {
            "id": self.id,
            "name": self.name,
            "enabled": self.enabled,
            "activeDate": self.active_date,
            "expireDate": self.expire_date,
        }


@dataclass(frozen=True, slots=True)
class Group:
    """People with the same rights: `rights` has the hours for the id of every door that they may open."""

    id: str
    name: str
    rights: Mapping[str, Hours]


@dataclass(frozen=True, slots=True)
class Building:
    """Everything that exists in a simulated building. The first device is the main entrance."""

    seed: str
    site: Site
    cloud_nodes: tuple[CloudNode, ...]
    connections: tuple[Connection, ...]
    devices: tuple[Device, ...]
    groups: Mapping[str, Group]
    """By id."""
    holders: tuple[Holder, ...]

    @classmethod
    def generate(cls, seed: int | str) -> "Building":
        """Return the building of this seed. `7` and `"7"` are the same seed."""
        maker = _Maker(str(seed))
        nodes = maker.cloud_nodes()
        connections = maker.connections(nodes)
        devices = maker.devices(connections)
        groups = maker.groups(devices)
        return cls(
            seed=str(seed),
            site=Site(maker.id("site"), blueprint.SITE_NAME, blueprint.TIMEZONE, blueprint.LOCALE),
            cloud_nodes=nodes,
            connections=connections,
            devices=devices,
            groups={group.id: group for group in groups},
            holders=maker.holders(groups),
        )

    def permits(self, holder: Holder, device: Device, minute: float) -> bool:
        """Tell whether `holder` may open `device` in `minute` of the week, counted from Monday 00:00.

        An expiry date is always taken as past: the only ones that a building has are of years ago.
        """
        if not holder.enabled or holder.expire_date is not None:
            return False
        hours = self.groups[holder.group_id].rights.get(device.id)
        return hours is not None and hours.contains(minute)


class _Maker:
    """Makes the parts of one building, in the order in which `Building.generate` asks for them."""

    def __init__(self, seed: str) -> None:
        self._seed = seed
        self._random = Random(f"{seed}/building")  # noqa: S311 - a story, not a secret

    def id(self, place: str) -> str:
        return str(uuid5(_NAMESPACE, f"{self._seed}/{place}"))

    def cloud_nodes(self) -> tuple[CloudNode, ...]:
        return tuple(
            CloudNode(
                id=self.id(f"cloud-node/{name}"),
                name=name,
                description=description,
                serial_number=f"{self._random.randrange(0x1000, 0x10000):04X}{self._letters(3)}",
                timezone=blueprint.TIMEZONE,
                locale=blueprint.LOCALE,
            )
            for name, description in blueprint.CLOUD_NODES
        )

    def connections(self, nodes: tuple[CloudNode, ...]) -> tuple[Connection, ...]:
        ids = {node.name: node.id for node in nodes}
        return tuple(
            Connection(self.id(f"connection/{name}"), name, kind, ids[node])
            for name, kind, node in blueprint.CONNECTIONS
        )

    def devices(self, connections: tuple[Connection, ...]) -> tuple[Device, ...]:
        by_name = {connection.name: connection for connection in connections}
        ports = dict.fromkeys(by_name, 0)
        devices = []
        for plan in blueprint.DOORS:
            connection = by_name[plan.connection]
            ports[plan.connection] += 1
            devices.append(
                Device(
                    id=self.id(f"device/{plan.name}"),
                    name=plan.name,
                    cloud_node_id=connection.cloud_node_id,
                    connection_id=connection.id,
                    port=ports[plan.connection],
                    zone=plan.zone,
                    factors=plan.factors,
                    dwell=5.0,
                    prop_delay=30.0,
                    auto_open=plan.auto_open,
                )
            )
        return tuple(devices)

    def groups(self, devices: tuple[Device, ...]) -> tuple[Group, ...]:
        return tuple(
            Group(
                id=self.id(f"group/{plan.name}"),
                name=plan.name,
                rights={device.id: hours for zones, hours in plan.rights for device in devices if device.zone in zones},
            )
            for plan in blueprint.GROUPS
        )

    def holders(self, groups: tuple[Group, ...]) -> tuple[Holder, ...]:
        members = [group for group, plan in zip(groups, blueprint.GROUPS, strict=True) for _ in range(plan.size)]
        size = len(members)
        first_names = self._random.sample(blueprint.FIRST_NAMES, size)
        last_names = self._random.sample(blueprint.LAST_NAMES, size)
        numbers = iter(self._random.sample(range(10_000, 65_536), 2 * size))
        pins = self._random.sample(range(1000, 10_000), size)
        facility_code = self._random.randrange(10, 250)
        leaver, expired = self._random.sample(range(blueprint.GROUPS[0].size), 2)
        holders = []
        for index, group in enumerate(members):
            first, last = first_names[index], last_names[index]
            card = Credential(self.id(f"card/{index}"), next(numbers), facility_code, "Card", "card")
            phone = Credential(self.id(f"phone/{index}"), next(numbers), facility_code, "Telephone", "touch")
            holders.append(
                Holder(
                    id=self.id(f"holder/{index}"),
                    first_name=first,
                    last_name=last,
                    email=f"{first}.{last}@example.com".lower(),
                    pin=str(pins[index]),
                    group_id=group.id,
                    credentials=(card, phone) if self._random.random() < blueprint.PHONE_SHARE else (card,),
                    enabled=index != leaver,
                    expire_date="2024-12-31T23:59:59" if index == expired else None,
                )
            )
        return tuple(holders)

    def _letters(self, count: int) -> str:
        return "".join(self._random.choices("ABCDEFGHJKLMNPRSTUVWXYZ", k=count))
