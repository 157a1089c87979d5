import type { DoorEvent } from "../src/events.ts"

let count = 0

/** An event at the door "Front door", an hour of 2026; `more` replaces what it has. */
export function event(topic: string, more: Partial<DoorEvent> = {}): DoorEvent {
  count += 1
  return {
    id: `event-${count}`,
    topic,
    siteId: "site",
    occurred: 1_795_330_000_000,
    recorded: 1_795_330_000_012,
    position: `log.${count}`,
    body: { deviceId: "door-1", device: { id: "door-1", name: "Front door" } },
    cloudNode: { id: "node-1", serialNumber: "1234ABC", name: "North wing" },
    metadata: null,
    ...more,
  }
}
