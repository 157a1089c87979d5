/** Events as lines of a file. */
import { deviceIdOf, doorOf, isLate, personOf, type DoorEvent } from "./events.ts"
import { plain } from "./sentences.ts"

export type Format = "csv" | "ndjson"

const COLUMNS: [string, (event: DoorEvent) => string][] = [
  ["position", (event) => event.position],
  ["occurred", (event) => iso(event.occurred)],
  ["recorded", (event) => iso(event.recorded)],
  ["late", (event) => (isLate(event) ? "yes" : "no")],
  ["topic", (event) => event.topic],
  ["sentence", plain],
  ["door", (event) => doorOf(event) ?? ""],
  ["door_id", (event) => deviceIdOf(event) ?? ""],
  ["person", (event) => personOf(event) ?? ""],
  ["person_id", (event) => (typeof event.body?.holderId === "string" ? event.body.holderId : "")],
  ["cloud_node", (event) => event.cloudNode?.name ?? ""],
  ["id", (event) => event.id],
]

/** What a file of that format begins with. */
export function head(format: Format): string {
  return format === "csv" ? `${COLUMNS.map(([name]) => name).join(",")}\r\n` : ""
}

/** The line of an event, with its end. */
export function line(event: DoorEvent, format: Format): string {
  if (format === "ndjson") return `${JSON.stringify(event)}\n`
  return `${COLUMNS.map(([, value]) => cell(value(event))).join(",")}\r\n`
}

/**
 * One cell (RFC 4180). A text that a spreadsheet would take for a formula gets an apostrophe: names come from outside,
 * and a door named "=HYPERLINK(…)" must stay a name.
 */
export function cell(text: string): string {
  const safe = /^[=+\-@\t\r]/.test(text) ? `'${text}` : text
  return /[",\r\n]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe
}

function iso(ms: number): string {
  return new Date(ms).toISOString()
}
