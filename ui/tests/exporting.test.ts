import { describe, expect, it } from "vitest"
import { cell, head, line } from "../src/exporting.ts"
import { event } from "./helpers.ts"

describe("CSV", () => {
  it("quotes what would break a line (RFC 4180)", () => {
    expect(cell("plain")).toBe("plain")
    expect(cell('a "b", c')).toBe('"a ""b"", c"')
    expect(cell("two\nlines")).toBe('"two\nlines"')
  })

  it("lets no name become a formula", () => {
    expect(cell('=HYPERLINK("http://x")')).toBe('"\'=HYPERLINK(""http://x"")"')
    for (const start of ["+", "-", "@"]) expect(cell(`${start}1`)).toBe(`'${start}1`)
  })

  it("has as many cells in a line as in its head, with both times", () => {
    const made = event("device.request.denied", { body: { device: { name: "Door, back" } }, recorded: 1_795_330_100_000 })
    const cells = line(made, "csv").trimEnd().match(/("([^"]|"")*"|[^,]*)(,|$)/g)?.filter((each) => each !== "") ?? []
    expect(cells.length).toBe(head("csv").trimEnd().split(",").length)
    expect(line(made, "csv")).toContain("2026-11-22T06:46:40.000Z,2026-11-22T06:48:20.000Z,yes,")
    expect(line(made, "csv")).toContain('"Door, back"')
    expect(line(made, "csv").endsWith("\r\n")).toBe(true)
  })
})

describe("NDJSON", () => {
  it("is the event as it came, one on a line", () => {
    const made = event("x.note", { body: { text: "a\nb" } })
    expect(head("ndjson")).toBe("")
    expect(line(made, "ndjson").split("\n").length).toBe(2)
    expect(JSON.parse(line(made, "ndjson"))).toEqual(made)
  })
})
