/** A question to the history. Pure: what somebody chose becomes the query of a request. */
export interface Filter {
  door: string
  person: string
  topic: string
  span: "any" | "hour" | "day" | "week" | "between"
  from: string
  to: string
}

export const NO_FILTER: Filter = { door: "", person: "", topic: "", span: "any", from: "", to: "" }

const SPANS = { hour: 3_600_000, day: 86_400_000, week: 604_800_000 }

/** A time as fields of the kind datetime-local have it; `ms` since 1970. */
export function localTime(ms: number): string {
  return new Date(ms - new Date(ms).getTimezoneOffset() * 60_000).toISOString().slice(0, 19)
}

/** The last millisecond of the second that such a field names: "to" includes what happened within it. */
export function endOfSecond(time: string): number {
  return Date.parse(time) + 999
}

/** The parameters of the events' route; `now` is in milliseconds since 1970, local times are of this machine. */
export function parameters(filter: Filter, now: number): URLSearchParams {
  const query = new URLSearchParams()
  if (filter.door) query.set("device", filter.door)
  if (filter.person) query.set("holder", filter.person)
  if (filter.topic) query.set("topic", filter.topic)
  if (filter.span === "between") {
    const from = Date.parse(filter.from)
    const to = endOfSecond(filter.to)
    if (!Number.isNaN(from)) query.set("from", String(from))
    if (!Number.isNaN(to)) query.set("to", String(to))
  } else if (filter.span !== "any") {
    query.set("from", String(now - SPANS[filter.span]))
  }
  return query
}
