/**
 * What happens at the site that is looked at: the newest events, the doors' states and the timeline, bounded.
 *
 * Events are taken into plain collections at once and shown at most a few times a second: `version` changes then, and
 * whoever reads it renders again. So the work of the page depends on the clock, not on the number of events.
 */
import { signal } from "@preact/signals"
import { call, listAll } from "./api.ts"
import { applyEvent, applyNodeEvent, isHeardNow, STATE_TOPICS, type DoorState } from "./doors.ts"
import type { CloudNode, Device } from "./entities.ts"
import { categoryOf, nameDoors, sequenceOf, type Category, type DoorEvent } from "./events.ts"
import { Follower, type Line } from "./follow.ts"

/** Events that are kept in the page. */
export const KEPT = 500
const READ_AT_FIRST = KEPT
const STATES_READ = 1000
const SHOWN_EVERY = 200
/** With more new events than this since the last time, nobody reads them one by one: the page is left in peace. */
const MANY = 12
const SHOWN_EVERY_OF_MANY = 800

/** The timeline: so many columns of so many milliseconds. */
export const COLUMN_MS = 5000
export const COLUMNS = 60

export interface Kept {
  event: DoorEvent
  isFilledIn: boolean
}

export type Loading = { is: "loading" } | { is: "failed"; error: unknown } | { is: "ready" }

export class Live {
  readonly version = signal(0)
  readonly line = signal<Line>({ is: "opening" })
  readonly loading = signal<Loading>({ is: "loading" })
  /** Newest first. */
  recent: Kept[] = []
  readonly doors = new Map<string, DoorState>()
  readonly offline = new Set<string>()
  readonly columns = new Map<number, Record<Category, number>>()
  devices: Device[] = []
  nodes: CloudNode[] = []
  /** How many came since the page was opened. */
  received = 0
  /** From when on every event was counted, in milliseconds since 1970. */
  countedSince = 0

  private follower: Follower | null = null
  private readonly controller = new AbortController()
  private timer: ReturnType<typeof setTimeout> | undefined
  private fresh: Kept[] = []

  constructor(readonly siteId: string) {
    void this.load()
  }

  close(): void {
    this.controller.abort()
    this.follower?.close()
    clearTimeout(this.timer)
  }

  async load(): Promise<void> {
    this.loading.value = { is: "loading" }
    const signal = this.controller.signal
    const base = `/api/sites/${this.siteId}`
    try {
      const [devices, nodes] = await Promise.all([
        listAll<Device>(`${base}/devices`, signal),
        listAll<CloudNode>(`${base}/cloud-nodes`, signal),
      ]).catch((error: unknown) => {
        // Somebody who may read events may not be allowed to read the directory: the doors then have names from events.
        if (error instanceof Error && "status" in error && error.status === 403) return [[], []] as [Device[], CloudNode[]]
        throw error
      })
      const recent = await readEvents(base, `limit=${READ_AT_FIRST}`, signal)
      const states = await readEvents(
        base,
        `limit=${STATES_READ}&${STATE_TOPICS.map((topic) => `topic=${topic}`).join("&")}`,
        signal,
      )
      this.begin(devices, nodes, recent, states)
    } catch (error) {
      if (!signal.aborted) this.loading.value = { is: "failed", error }
    }
  }

  private begin(devices: Device[], nodes: CloudNode[], recent: DoorEvent[], states: DoorEvent[]): void {
    this.devices = devices
    nameDoors(devices)
    this.nodes = nodes
    for (const node of nodes) if (!node.connected && node.serial_number !== null) this.offline.add(node.serial_number)
    const position = recent[0]?.position ?? ""
    const last = position === "" ? Infinity : sequenceOf(position)
    const known = new Map<string, DoorEvent>()
    for (const event of [...states, ...recent]) if (sequenceOf(event.position) <= last) known.set(event.position, event)
    const inOrder = [...known.values()].sort((a, b) => sequenceOf(a.position) - sequenceOf(b.position))
    const since = new Map(nodes.map((node) => [node.serial_number, node.connection_changed ?? 0]))
    for (const event of inOrder) {
      applyEvent(this.doors, event)
      const serial = event.cloudNode?.serialNumber
      if (serial != null && event.occurred > (since.get(serial) ?? 0) && isHeardNow(event)) this.offline.delete(serial)
    }
    this.recent = recent.map((event) => ({ event, isFilledIn: false }))
    for (const event of recent) this.countIn(event)
    this.countedSince = recent.length < READ_AT_FIRST ? 0 : (recent.at(-1)?.recorded ?? 0)
    this.loading.value = { is: "ready" }
    this.version.value += 1
    this.follower = new Follower(this.siteId, position, {
      event: (event, isFilledIn) => this.take(event, isFilledIn),
      line: (line) => {
        this.line.value = line
      },
    })
  }

  private take(event: DoorEvent, isFilledIn: boolean): void {
    this.received += 1
    applyEvent(this.doors, event)
    applyNodeEvent(this.offline, event)
    this.countIn(event)
    this.fresh.push({ event, isFilledIn })
    if (this.fresh.length > 2 * KEPT) this.fresh = this.fresh.slice(-KEPT)
    this.timer ??= setTimeout(() => {
      if (this.fresh.length <= MANY) requestAnimationFrame(() => this.show())
      else this.timer = setTimeout(() => requestAnimationFrame(() => this.show()), SHOWN_EVERY_OF_MANY)
    }, SHOWN_EVERY)
  }

  private show(): void {
    this.timer = undefined
    this.recent = [...this.fresh.reverse(), ...this.recent].slice(0, KEPT)
    this.fresh = []
    this.version.value += 1
  }

  private countIn(event: DoorEvent): void {
    const column = Math.floor(event.recorded / COLUMN_MS)
    const counts = this.columns.get(column) ?? { access: 0, refused: 0, alarm: 0, door: 0, system: 0 }
    counts[categoryOf(event.topic)] += 1
    this.columns.set(column, counts)
    if (this.columns.size > 2 * COLUMNS) {
      const oldest = Math.max(...this.columns.keys()) - COLUMNS
      for (const key of this.columns.keys()) if (key < oldest) this.columns.delete(key)
    }
  }
}

async function readEvents(base: string, query: string, signal: AbortSignal): Promise<DoorEvent[]> {
  const page = await call<{ events: DoorEvent[] }>(`${base}/events?${query}`, { signal })
  return page.events
}
