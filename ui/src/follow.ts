/** Following a site: its events in order and without gap, over any interruption. */
import { ApiError, call, request } from "./api.ts"
import { sequenceOf, type DoorEvent } from "./events.ts"
import { SseParser } from "./sse.ts"

/** How the line to the server is. Times are milliseconds since 1970. */
export type Line =
  | { is: "opening" }
  | { is: "open" }
  | { is: "away"; since: number; why: string }
  /** It is back: so many events of the time between were filled in, and so the list has no gap; or it has one. */
  | { is: "back"; away: number; filled: number; lost: boolean }

export interface Listener {
  event(event: DoorEvent, isFilledIn: boolean): void
  line(line: Line): void
}

const SILENCE = 40_000 // the server says something every 15 s
const WAITS = [300, 600, 1000, 2000, 3000]
const BACK_SHOWN = 15_000
const TOLD_EVERY = 100

/** Follows from a position on until `close`. */
export class Follower {
  private readonly controller = new AbortController()
  private position: string
  private isGone = false
  private awaySince: number | null = null
  /** Since it is back: how long it was away, up to where the events are of that time, how many came, is any lost. */
  private back: { away: number; upTo: number; filled: number; lost: boolean } | null = null
  private upTo = 0
  private telling: ReturnType<typeof setTimeout> | undefined
  private settling: ReturnType<typeof setTimeout> | undefined

  constructor(
    private readonly siteId: string,
    position: string,
    private readonly listener: Listener,
  ) {
    this.position = position
    void this.run()
  }

  close(): void {
    this.isGone = true
    this.controller.abort()
    this.hush()
  }

  private hush(): void {
    clearTimeout(this.telling)
    clearTimeout(this.settling)
    this.telling = undefined
  }

  private async run(): Promise<void> {
    for (let attempt = 0; !this.isGone; attempt += 1) {
      try {
        await this.read(() => {
          attempt = 0
        })
        this.away("The connection ended.")
      } catch (error) {
        if (this.isGone) return
        if (error instanceof ApiError && error.status === 401) return // the page shows the sign-in instead
        this.away(error instanceof Error ? error.message : String(error))
      }
      await pause(WAITS[Math.min(attempt, WAITS.length - 1)] ?? 3000, this.controller.signal)
    }
  }

  private away(why: string): void {
    if (this.isGone) return
    this.hush()
    this.awaySince ??= Date.now()
    this.listener.line({ is: "away", since: this.awaySince, why })
  }

  private async read(onOpen: () => void): Promise<void> {
    const attempt = new AbortController()
    const stop = () => attempt.abort()
    this.controller.signal.addEventListener("abort", stop)
    let timer: ReturnType<typeof setTimeout> | undefined
    const heard = () => {
      clearTimeout(timer)
      timer = setTimeout(stop, SILENCE)
    }
    try {
      heard()
      if (this.awaySince !== null) await this.expect(attempt.signal)
      const response = await request(`/api/sites/${this.siteId}/stream`, {
        headers: this.position ? { "Last-Event-ID": this.position, Accept: "text/event-stream" } : {},
        signal: attempt.signal,
      })
      if (response.body === null) return
      onOpen()
      this.opened()
      const parser = new SseParser(
        (message) => this.take(message.event, message.data),
        (id) => {
          this.position = id
        },
      )
      const decoder = new TextDecoder()
      for await (const chunk of response.body as unknown as AsyncIterable<Uint8Array>) {
        heard()
        parser.push(decoder.decode(chunk, { stream: true }))
      }
    } catch (error) {
      if (error instanceof DOMException && error.name === "AbortError" && !this.isGone) {
        throw new Error("The server fell silent.", { cause: error })
      }
      throw error
    } finally {
      clearTimeout(timer)
      this.controller.signal.removeEventListener("abort", stop)
    }
  }

  /** Before going on: what is in the log now happened while nobody listened. */
  private async expect(signal: AbortSignal): Promise<void> {
    const ready = await call<{ log: { last: number } }>("/readyz", { signal })
    this.upTo = ready.log.last
  }

  private opened(): void {
    if (this.awaySince === null) {
      this.listener.line({ is: "open" })
      return
    }
    this.back = { away: Date.now() - this.awaySince, upTo: this.upTo, filled: 0, lost: false }
    this.awaySince = null
    this.tellBackSoon()
    this.settling = setTimeout(() => {
      this.back = null
      this.hush()
      this.listener.line({ is: "open" })
    }, BACK_SHOWN)
  }

  /** Once for many events. */
  private tellBackSoon(): void {
    this.telling ??= setTimeout(() => {
      this.telling = undefined
      if (this.back === null || this.awaySince !== null) return
      const { away, filled, lost } = this.back
      this.listener.line({ is: "back", away, filled, lost })
    }, TOLD_EVERY)
  }

  private take(name: string, data: string): void {
    if (name === "gap") {
      this.back ??= { away: 0, upTo: 0, filled: 0, lost: true }
      this.back.lost = true
      this.tellBackSoon()
      return
    }
    const event = JSON.parse(data) as DoorEvent
    const back = this.back
    const isFilledIn = back !== null && sequenceOf(event.position) <= back.upTo
    if (isFilledIn) {
      back.filled += 1
      this.tellBackSoon()
    }
    this.listener.event(event, isFilledIn)
  }
}

function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, ms)
    signal.addEventListener("abort", () => {
      clearTimeout(timer)
      resolve()
    })
  })
}
