import { describe, expect, it } from "vitest"
import { bytes, many, span } from "../src/format.ts"
import { endOfSecond, localTime, NO_FILTER, parameters } from "../src/query.ts"
import { byDriver, type Module } from "../src/placeos.ts"
import { programs, ABOUT, type Dialect } from "../src/connect/programs.ts"
import { hideSecrets } from "../src/connect/frames.ts"

describe("a question to the history", () => {
  it("is empty when nothing was chosen", () => {
    expect(parameters(NO_FILTER, 5).toString()).toBe("")
  })

  it("has what was chosen, and times as milliseconds", () => {
    const filter = { ...NO_FILTER, door: "d 1", person: "p", topic: "device.alarm.*", span: "hour" as const }
    expect(parameters(filter, 10_000_000).toString()).toBe("device=d+1&holder=p&topic=device.alarm.*&from=6400000")
  })

  it("leaves out a time that is none", () => {
    const filter = { ...NO_FILTER, span: "between" as const, from: "2026-11-22T06:00:00", to: "" }
    expect(parameters(filter, 0).toString()).toBe(`from=${new Date(2026, 10, 22, 6).getTime()}`)
  })

  it("includes what happened within the second that it ends with", () => {
    const filter = { ...NO_FILTER, span: "between" as const, from: "", to: "2026-11-22T06:00:00" }
    expect(parameters(filter, 0).toString()).toBe(`to=${new Date(2026, 10, 22, 6).getTime() + 999}`)
    const now = new Date(2026, 10, 22, 6, 0, 0, 123).getTime()
    expect(localTime(now)).toBe("2026-11-22T06:00:00")
    expect(endOfSecond(localTime(now))).toBeGreaterThanOrEqual(now)
  })
})

describe("numbers for people", () => {
  it.each([
    [4_400, "4 s"],
    [60_000, "1 min"],
    [125_000, "2 min 5 s"],
    [3_600_000, "1 h"],
    [11_400_000, "3 h 10 min"],
    [200_000_000, "2 days"],
    [-5, "0 s"],
  ])("%d ms is %s", (ms, text) => expect(span(ms)).toBe(text))

  it("count and measure", () => {
    expect([many(1, "event"), many(1200, "event"), many(2, "delivery", "deliveries")]).toEqual(["1 event", "1,200 events", "2 deliveries"])
    expect([bytes(999), bytes(1500), bytes(12_345), bytes(2_500_000)]).toEqual(["999 B", "1.5 kB", "12 kB", "2.5 MB"])
  })
})

it("a driver is asked once for what its doors can do, through one that runs", () => {
  const module = (driver: string, device_id: string | null, running = true): Module => ({ name: "Door", index: 1, driver, device_id, running })
  const groups = byDriver([module("door", "a", false), module("door", "b"), module("other", "c"), module("bookings", null), module("door", "d")])
  expect(groups.map((group) => group.map(({ device_id }) => device_id))).toEqual([["b", "d"], ["c"]])
})

describe("programs to copy", () => {
  const target = { url: "https://doors.example", siteId: "site-1" }
  const credential = { id: "the-client", secret: "the-secret", api_key: "ds_the-client_the-secret" }

  it.each(Object.keys(ABOUT) as Dialect[])("%s: every one has the address, and a credential where there is one", (dialect) => {
    for (const { code } of programs(dialect, { ...target, credential })) {
      expect(code).toContain("doors.example")
      expect(code).toContain("the-secret")
      expect(code).not.toMatch(/undefined|YOUR_/)
    }
    for (const { code } of programs(dialect, { ...target, credential: null })) expect(code).toContain("YOUR_")
  })
})

it("no inspector shows a token of an address", () => {
  expect(hideSecrets("wss://x/y?api-key=abc&site=1&access_token=d.e.f")).toBe("wss://x/y?api-key=…&site=1&access_token=…")
})
