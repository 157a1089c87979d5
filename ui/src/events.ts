/** An event as the server's own API shows it. `occurred` and `recorded` are milliseconds since 1970. */
export interface DoorEvent {
  id: string
  topic: string
  siteId: string
  occurred: number
  recorded: number
  position: string
  body: Body
  cloudNode: { id?: string | null; serialNumber?: string | null; name?: string | null } | null
  metadata: Record<string, unknown> | null
}

/** What the page wants to know of a body. Drivers may put in anything, so nothing here is certain. */
export interface Body {
  deviceId?: unknown
  device?: unknown
  holderId?: unknown
  holder?: unknown
  requestFactor?: unknown
  [key: string]: unknown
}

/** The kinds that people filter by. */
export type Category = "access" | "refused" | "alarm" | "door" | "system"

export const CATEGORIES: Record<Category, string> = {
  access: "Let in",
  refused: "Refused",
  alarm: "Alarms",
  door: "Doors",
  system: "System",
}

/** An event is late when it took the door longer than this to tell of it. */
export const LATE_MS = 60_000

export function isLate(event: DoorEvent): boolean {
  return event.recorded - event.occurred > LATE_MS
}

/** The kind of an event, by its topic alone. */
export function categoryOf(topic: string): Category {
  if (topic.startsWith("device.alarm.")) return /\.(off|alloff|cleared)$/.test(topic) ? "door" : "alarm"
  if (topic === "device.request.duress" || topic === "rule.antipassback.violation") return "alarm"
  if (/^device\.request\.(denied|unknown|filtered|ecard\.denied)$/.test(topic)) return "refused"
  if (topic.startsWith("device.request.")) return "access"
  if (topic === "x.command") return "door"
  if (topic.startsWith("device.")) return topic === "device.battery.low" ? "alarm" : "door"
  if (topic === "controller.alarm.comloss.on" || topic === "cloudnode.disconnected") return "alarm"
  return "system"
}

function record(value: unknown): Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value) ? (value as Record<string, unknown>) : {}
}

function text(value: unknown): string | null {
  return typeof value === "string" && value !== "" ? value : null
}

/** The id of the door that an event is about, if it is about one. */
export function deviceIdOf(event: DoorEvent): string | null {
  return text(event.body?.deviceId) ?? text(record(event.body?.device)["id"])
}

const doorNames = new Map<string, string>()

/** Take note of the doors' names, for events that only know an id. */
export function nameDoors(doors: Iterable<{ id: string; name: string }>): void {
  for (const { id, name } of doors) doorNames.set(id, name)
}

/** The name of the door, or its id where nobody knows a name. */
export function doorOf(event: DoorEvent): string | null {
  const id = deviceIdOf(event)
  return text(record(event.body?.device)["name"]) ?? (id === null ? null : (doorNames.get(id) ?? id))
}

/** The name of the person, or their id. */
export function personOf(event: DoorEvent): string | null {
  const holder = record(event.body?.holder)
  return text(holder["name"]) ?? text(event.body?.holderId) ?? text(holder["id"])
}

/** The number of an event's place in the log; the text before the dot names the log. */
export function sequenceOf(position: string): number {
  return Number(position.slice(position.lastIndexOf(".") + 1))
}
