import { describe, expect, it } from "vitest"
import { afterEvent, applyEvent, applyNodeEvent, isUrgent, newDoor, REMEMBERED, statusOf, type DoorState, type Status } from "../src/doors.ts"
import { event } from "./helpers.ts"

function after(...topics: string[]): DoorState {
  return topics.reduce((door, topic) => afterEvent(door, event(topic)), newDoor())
}

const cases: [string[], Status][] = [
  [[], "unknown"],
  [["device.input.relay.off"], "locked"],
  [["device.input.dps.closed"], "locked"],
  [["device.input.relay.on"], "unlocked"],
  [["device.input.relay.on", "device.input.dps.opened"], "open"],
  [["device.input.relay.on", "device.input.dps.opened", "device.input.dps.closed", "device.input.relay.off"], "locked"],
  [["device.forceopen.on", "device.input.relay.on"], "held-open"],
  [["device.autoopen.on"], "held-open"],
  [["device.autoopen.on", "device.autoopen.off", "device.input.relay.off"], "locked"],
  [["device.forceclose.on", "device.input.relay.off"], "do-not-disturb"],
  [["device.forceclose.on", "device.forceclose.off", "device.input.relay.off"], "locked"],
  [["device.input.dps.opened", "device.alarm.propped.on"], "propped"],
  [["device.alarm.propped.on", "device.alarm.propped.alloff", "device.input.dps.closed"], "locked"],
  [["device.input.dps.opened", "device.alarm.forced", "device.alarm.propped.on"], "forced"],
  [["device.alarm.forced", "device.input.dps.closed"], "forced"],
  [["device.alarm.forced", "device.alarm.forced.cleared", "device.input.dps.closed"], "locked"],
  [["device.alarm.tamper.on"], "tampered"],
]

describe("what a door is doing", () => {
  it.each(cases)("after %j it is %s", (topics, status) => {
    expect(statusOf(after(...topics), false)).toBe(status)
  })

  it("is offline whatever it was", () => {
    expect(statusOf(after("device.alarm.forced"), true)).toBe("offline")
    expect(isUrgent("offline")).toBe(true)
    expect(isUrgent("do-not-disturb")).toBe(false)
  })

  it("remembers its newest events, and changes nothing that it was given", () => {
    const before = newDoor()
    let door = before
    for (let n = 0; n < 3 * REMEMBERED; n += 1) door = afterEvent(door, event("device.request.allowed", { id: `e${n}` }))
    expect(door.last.map((each) => each.id)).toEqual(Array.from({ length: REMEMBERED }, (_, n) => `e${3 * REMEMBERED - 1 - n}`))
    expect(before).toEqual(newDoor())
  })

  it("is found by the event's device, and other events concern no door", () => {
    const doors = new Map<string, DoorState>()
    expect(applyEvent(doors, event("device.input.relay.on"))).toBe(true)
    expect(applyEvent(doors, event("cloudnode.connected", { body: { serialNumber: "1234ABC" } }))).toBe(false)
    expect([...doors.keys()]).toEqual(["door-1"])
  })

  it("knows which cloud nodes are away, and that a door which speaks in time is not", () => {
    const offline = new Set<string>()
    const status = (topic: string) => applyNodeEvent(offline, event(topic, { body: { serialNumber: "1234ABC" } }))
    status("cloudnode.disconnected")
    expect([...offline]).toEqual(["1234ABC"])
    applyNodeEvent(offline, event("device.input.dps.opened", { recorded: 1_795_330_000_000 + 120_000 }))
    expect([...offline], "a late event proves nothing").toEqual(["1234ABC"])
    applyNodeEvent(offline, event("device.input.dps.opened"))
    expect([...offline]).toEqual([])
    status("cloudnode.disconnected")
    status("cloudnode.connected")
    expect([...offline]).toEqual([])
  })
})
