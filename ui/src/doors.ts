/** What a door is doing, as far as its events told. Pure: events in, states out. */
import { deviceIdOf, isLate, type DoorEvent } from "./events.ts"

export interface DoorState {
  /** null: nothing was heard of it yet. */
  unlocked: boolean | null
  open: boolean | null
  propped: boolean
  forced: boolean
  tampered: boolean
  doNotDisturb: boolean
  heldOpen: boolean
  scheduledOpen: boolean
  batteryLow: boolean
  /** The newest events, newest first. */
  last: DoorEvent[]
}

export type Status =
  | "offline"
  | "forced"
  | "tampered"
  | "propped"
  | "do-not-disturb"
  | "open"
  | "held-open"
  | "unlocked"
  | "locked"
  | "unknown"

export const STATUS_WORDS: Record<Status, string> = {
  offline: "Offline",
  forced: "Forced open",
  tampered: "Tampered with",
  propped: "Held open too long",
  "do-not-disturb": "Do not disturb",
  open: "Open",
  "held-open": "Kept unlocked",
  unlocked: "Unlocked",
  locked: "Locked",
  unknown: "No word yet",
}

/** How many events a door remembers. */
export const REMEMBERED = 5

export function newDoor(): DoorState {
  return {
    unlocked: null,
    open: null,
    propped: false,
    forced: false,
    tampered: false,
    doNotDisturb: false,
    heldOpen: false,
    scheduledOpen: false,
    batteryLow: false,
    last: [],
  }
}

// What each topic changes. Others are remembered, but change nothing.
const CHANGES: Record<string, Partial<Omit<DoorState, "last">>> = {
  "device.input.relay.on": { unlocked: true },
  "device.input.relay.off": { unlocked: false },
  "device.input.dps.opened": { open: true },
  // Nothing says that a door is no longer propped or forced more surely than that it is closed, but the alarm stays
  // until its source says that it is over: that is what an operator has to know.
  "device.input.dps.closed": { open: false },
  "device.alarm.propped.on": { propped: true },
  "device.alarm.propped.off": { propped: false },
  "device.alarm.propped.alloff": { propped: false },
  "device.alarm.forced": { forced: true },
  "device.alarm.forced.cleared": { forced: false },
  "device.alarm.tamper.on": { tampered: true },
  "device.alarm.tamper.off": { tampered: false },
  "device.forceclose.on": { doNotDisturb: true },
  "device.forceclose.off": { doNotDisturb: false },
  "device.forceopen.on": { heldOpen: true },
  "device.forceopen.off": { heldOpen: false },
  "device.autoopen.on": { scheduledOpen: true },
  "device.autoopen.off": { scheduledOpen: false },
  "device.battery.low": { batteryLow: true },
}

/** The topics to read when a page opens, to know the doors' states. */
export const STATE_TOPICS = Object.keys(CHANGES)

/** The door after an event of its own; the state given stays as it is. */
export function afterEvent(door: DoorState, event: DoorEvent): DoorState {
  const last = [event, ...door.last].slice(0, REMEMBERED)
  return { ...door, ...CHANGES[event.topic], last }
}

/** All doors after an event, in a map that is changed in place; tells whether it was about a door. */
export function applyEvent(doors: Map<string, DoorState>, event: DoorEvent): boolean {
  const id = deviceIdOf(event)
  if (id === null) return false
  doors.set(id, afterEvent(doors.get(id) ?? newDoor(), event))
  return true
}

/** Which cloud nodes are offline after an event; `offline` holds serial numbers and is changed in place. */
export function applyNodeEvent(offline: Set<string>, event: DoorEvent): boolean {
  const own = event.cloudNode?.serialNumber
  if (own != null && isHeardNow(event)) return offline.delete(own)
  const serial = event.body?.["serialNumber"]
  if (typeof serial !== "string") return false
  if (event.topic === "cloudnode.disconnected") offline.add(serial)
  else if (event.topic === "cloudnode.connected") offline.delete(serial)
  else return false
  return true
}

/** A door that tells of something in time has a cloud node that is online, whatever was said of the node before. */
export function isHeardNow(event: DoorEvent): boolean {
  return deviceIdOf(event) !== null && !isLate(event)
}

/** The one word for a tile: the most urgent first. */
export function statusOf(door: DoorState, isOffline: boolean): Status {
  if (isOffline) return "offline"
  if (door.forced) return "forced"
  if (door.tampered) return "tampered"
  if (door.propped) return "propped"
  if (door.doNotDisturb) return "do-not-disturb"
  if (door.open === true) return "open"
  if (door.heldOpen || door.scheduledOpen) return "held-open"
  if (door.unlocked === true) return "unlocked"
  if (door.unlocked === false || door.open === false) return "locked"
  return "unknown"
}

/** Whether somebody should look at it. */
export function isUrgent(status: Status): boolean {
  return status === "offline" || status === "forced" || status === "tampered" || status === "propped"
}
