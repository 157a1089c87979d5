import { describe, expect, it } from "vitest"
import { categoryOf, nameDoors } from "../src/events.ts"
import { KNOWN_TOPICS, plain, remark, sentence } from "../src/sentences.ts"
import { event } from "./helpers.ts"

const ada = { deviceId: "door-1", device: { id: "door-1", name: "Front door" }, holderId: "p1", holder: { id: "p1", name: "Ada Park" } }

describe("sentences", () => {
  it("names person and door, and marks them as names", () => {
    const allowed = event("device.request.allowed", { body: { ...ada, requestFactor: "CARD_AND_PIN" } })
    expect(sentence(allowed)).toEqual([
      { text: "Ada Park", name: true },
      { text: " was let in at " },
      { text: "Front door", name: true },
    ])
    expect(remark(allowed)).toBe("card and PIN")
  })

  it("falls back to ids, to names heard of elsewhere, and to words", () => {
    expect(plain(event("device.request.denied", { body: { deviceId: "d9", holderId: "p9" } }))).toBe("p9 was refused at d9")
    nameDoors([{ id: "d9", name: "Cellar" }])
    expect(plain(event("device.input.dps.opened", { body: { deviceId: "d9" } }))).toBe("Cellar opened")
    expect(plain(event("device.request.denied", { body: {} }))).toBe("Somebody was refused at a door")
    expect(plain(event("device.alarm.forced", { body: {} }))).toBe("A door was forced open")
  })

  it("tells of cloud nodes by name, else by serial number", () => {
    expect(plain(event("cloudnode.disconnected"))).toBe("North wing went offline")
    expect(plain(event("cloudnode.disconnected", { cloudNode: null, body: { serialNumber: "77X" } }))).toBe("Cloud node 77X went offline")
  })

  it("says something readable of topics that nobody foresaw", () => {
    expect(plain(event("x.acme.lift_stuck", { body: {} }))).toBe("Acme lift stuck")
    expect(plain(event("holder.updated", { body: { name: "Ada Park" } }))).toBe("Holder Ada Park was changed")
    expect(plain(event("holder.updated", { body: {} })).replace(/\s+/g, " ")).toBe("Holder was changed")
  })

  it("tells who commanded what, and why it failed", () => {
    const body = { deviceId: "door-1", device: { name: "Front door" }, function: "hold_open", outcome: "done" }
    const command = event("x.command", { body, metadata: { by: "operator" } })
    expect(plain(command)).toBe("operator told Front door to hold open")
    expect(remark(command)).toBeNull()
    expect(remark(event("x.command", { body: { ...body, outcome: "failed", error: "jammed" } }))).toBe("jammed")
  })

  it("never fails on bodies of any shape", () => {
    for (const body of [{}, { device: 3, holder: "x" }, { deviceId: { a: 1 }, holder: [1] }, null]) {
      for (const topic of [...KNOWN_TOPICS, "x.a", "sync.synced"]) {
        const made = event(topic, { body: body as never, cloudNode: null, metadata: null })
        expect(plain(made).trim()).not.toBe("")
        expect(plain(made)).not.toMatch(/[{}]|undefined|null|\[object/)
      }
    }
  })

  it("sorts every topic into a kind", () => {
    expect(categoryOf("device.request.allowed")).toBe("access")
    expect(categoryOf("device.request.unknown")).toBe("refused")
    expect(categoryOf("device.alarm.propped.on")).toBe("alarm")
    expect(categoryOf("device.alarm.propped.off")).toBe("door")
    expect(categoryOf("cloudnode.disconnected")).toBe("alarm")
    expect(categoryOf("x.acme.lift")).toBe("system")
  })
})
