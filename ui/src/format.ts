/** Times, numbers and sizes as people read them. Times are in the time zone of whoever reads. */
const CLOCK = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", second: "2-digit", hour12: false })
const DAY = new Intl.DateTimeFormat(undefined, { day: "numeric", month: "short" })
const FULL = new Intl.DateTimeFormat(undefined, {
  year: "numeric",
  month: "short",
  day: "numeric",
  hour: "2-digit",
  minute: "2-digit",
  second: "2-digit",
  hour12: false,
})
const NUMBER = new Intl.NumberFormat("en")

export function clock(ms: number): string {
  return CLOCK.format(ms)
}

export function moment(ms: number): string {
  return FULL.format(ms)
}

/** The time alone for today, with its day for any other. */
export function when(ms: number, now: number): string {
  return new Date(ms).toDateString() === new Date(now).toDateString() ? clock(ms) : `${DAY.format(ms)}, ${clock(ms)}`
}

export function count(value: number): string {
  return NUMBER.format(value)
}

/** "1 event", "3 events". */
export function many(value: number, one: string, more = `${one}s`): string {
  return `${count(value)} ${value === 1 ? one : more}`
}

/** A span in its two largest units: "4 s", "2 min 5 s", "3 h 10 min", "2 days". */
export function span(ms: number): string {
  const seconds = Math.max(0, Math.round(ms / 1000))
  if (seconds < 60) return `${seconds} s`
  const minutes = Math.floor(seconds / 60)
  if (minutes < 60) return seconds % 60 === 0 ? `${minutes} min` : `${minutes} min ${seconds % 60} s`
  const hours = Math.floor(minutes / 60)
  if (hours < 48) return minutes % 60 === 0 ? `${hours} h` : `${hours} h ${minutes % 60} min`
  return `${Math.floor(hours / 24)} days`
}

export function bytes(value: number): string {
  if (value < 1000) return `${value} B`
  if (value < 1_000_000) return `${(value / 1000).toFixed(value < 10_000 ? 1 : 0)} kB`
  return `${(value / 1_000_000).toFixed(1)} MB`
}
