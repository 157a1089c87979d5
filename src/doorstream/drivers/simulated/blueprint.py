"""What every simulated building has in common, as tables: its wings, controllers, doors, groups and opening hours."""

from dataclasses import dataclass

MINUTES_A_DAY = 24 * 60
WORKDAYS = 5


@dataclass(frozen=True, slots=True)
class Hours:
    """A window of every day, in minutes from midnight; `until` is not included. On workdays only, if so said."""

    since: int
    until: int
    workdays_only: bool = False

    def contains(self, minute: float) -> bool:
        """Tell whether the window is open in `minute` of the week, counted from Monday 00:00."""
        day, of_day = divmod(minute, MINUTES_A_DAY)
        return self.since <= of_day < self.until and not (self.workdays_only and day % 7 >= WORKDAYS)


@dataclass(frozen=True, slots=True)
class DoorPlan:
    """A door: its name, its controller, its kind of place, how people identify themselves, when it stands open."""

    name: str
    connection: str
    zone: str
    factors: tuple[str, ...] = ("CARD_ONLY",)
    auto_open: tuple[Hours, ...] = ()


@dataclass(frozen=True, slots=True)
class GroupPlan:
    """A group: its size, and for which zones it has rights at which hours."""

    name: str
    size: int
    rights: tuple[tuple[tuple[str, ...], Hours], ...]


def _workdays(since_hour: float, until_hour: float) -> Hours:
    return Hours(round(since_hour * 60), round(until_hour * 60), workdays_only=True)


ALWAYS = Hours(0, MINUTES_A_DAY)

SITE_NAME = "Harbour House"
TIMEZONE = "Europe/Amsterdam"
LOCALE = "en"

CLOUD_NODES = (
    ("North wing", "Entrances and offices"),
    ("South wing", "Deliveries, workshop and technical rooms"),
)

CONNECTIONS = (
    ("Entrance controller", "ethernet", "North wing"),
    ("Office controller", "ethernet", "North wing"),
    ("Wireless locks", "aperio", "North wing"),
    ("Yard controller", "ethernet", "South wing"),
    ("Technical controller", "usb", "South wing"),
)

# The main entrance comes first and never stands open by schedule: whoever unlocks it by command sees its relay switch.
DOORS = (
    DoorPlan("Main entrance", "Entrance controller", "entrance"),
    DoorPlan("Staff entrance", "Entrance controller", "entrance"),
    DoorPlan("Office first floor", "Office controller", "office"),
    DoorPlan("Office second floor", "Office controller", "office"),
    DoorPlan("Canteen", "Office controller", "canteen", auto_open=(_workdays(11.5, 14),)),
    DoorPlan("Board room", "Wireless locks", "meeting"),
    DoorPlan("Car park", "Yard controller", "entrance", ("CARD_ONLY", "PIN_ONLY")),
    # The deliveries of the early morning: a demo sees the schedule come and go within its first minutes.
    DoorPlan(
        "Loading dock",
        "Yard controller",
        "service",
        auto_open=(Hours(8 * 60 + 1, 8 * 60 + 4, workdays_only=True), _workdays(14, 14.5)),
    ),
    DoorPlan("Mail room", "Yard controller", "service"),
    DoorPlan("Workshop", "Technical controller", "service"),
    DoorPlan("Server room", "Technical controller", "secure", ("CARD_AND_PIN",)),
    DoorPlan("Plant room", "Technical controller", "secure"),
)

_EVERY_ZONE = ("entrance", "office", "canteen", "meeting", "service", "secure")

GROUPS = (
    GroupPlan("Staff", 20, ((("entrance", "office", "canteen"), _workdays(6, 21)),)),
    GroupPlan("Management", 4, ((("entrance", "office", "canteen", "meeting"), ALWAYS),)),
    GroupPlan(
        "Logistics",
        5,
        ((("entrance", "canteen"), _workdays(5, 20)), (("service",), _workdays(5, 20))),
    ),
    GroupPlan("IT", 4, ((("entrance", "office", "secure"), ALWAYS), (("canteen", "meeting"), _workdays(6, 21)))),
    GroupPlan("Cleaning", 4, ((("entrance", "office", "canteen", "meeting"), Hours(17 * 60, 23 * 60)),)),
    GroupPlan("Security", 3, ((_EVERY_ZONE, ALWAYS),)),
)

# How many of the people have their telephone as a second credential.
PHONE_SHARE = 0.25

FIRST_NAMES = (
    *("Ada", "Ahmed", "Aiko", "Anna", "Bas", "Bilal", "Carla", "Chen", "Daan", "Diego", "Elif", "Emma", "Farah"),
    *("Finn", "Grace", "Hana", "Hugo", "Ines", "Ivan", "Jack", "Jana", "Kofi", "Lars", "Leila", "Lucas", "Maria"),
    *("Mateo", "Mila", "Nadia", "Noah", "Olga", "Omar", "Paula", "Priya", "Rosa", "Ruben", "Sara", "Sven", "Tara"),
    *("Theo", "Uma", "Vera", "Wei", "Yara", "Yusuf", "Zoe"),
)
LAST_NAMES = (
    *("Adeyemi", "Andersen", "Bakker", "Banerjee", "Berg", "Bianchi", "Castro", "Chen", "Costa", "Demir", "Dubois"),
    *("Eriksen", "Fischer", "Fonseca", "Garcia", "Hassan", "Horvat", "Ito", "Jansen", "Kaya", "Keller", "Khan"),
    *("Kowalski", "Larsen", "Lopez", "Meyer", "Moreau", "Mulder", "Nakamura", "Novak", "Okafor", "Olsen", "Park"),
    *("Patel", "Petrov", "Popescu", "Quinn", "Reyes", "Rossi", "Santos", "Schmidt", "Silva", "Smit", "Tanaka"),
    *("Visser", "Weber", "Yilmaz", "Zhang"),
)
