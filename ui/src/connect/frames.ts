/** What an inspector shows: frames as they go, the newest of them. */
export interface Frame {
  number: number
  at: number
  kind: "in" | "out" | "note" | "error"
  text: string
}

export const KEPT_FRAMES = 400

/** Keeps frames and tells a few times a second that there are new ones. */
export class Frames {
  list: Frame[] = []
  private count = 0
  private timer: ReturnType<typeof setTimeout> | undefined

  constructor(private readonly onChange: () => void) {}

  add(kind: Frame["kind"], text: string): void {
    this.count += 1
    this.list.push({ number: this.count, at: Date.now(), kind, text })
    if (this.list.length > 2 * KEPT_FRAMES) this.list = this.list.slice(-KEPT_FRAMES)
    this.timer ??= setTimeout(() => {
      this.timer = undefined
      this.list = this.list.slice(-KEPT_FRAMES)
      this.onChange()
    }, 100)
  }

  clear(): void {
    this.list = []
    this.onChange()
  }
}

/** A connection of the inspector. */
export interface Inspector {
  /** Say something to the server, where the dialect lets one. */
  send?(text: string): void
  /** Things that a client of this dialect does, by name. */
  actions?: Record<string, () => void | Promise<void>>
  close(): void
}

export interface Setting {
  siteId: string
  credential: { id: string; secret: string; api_key: string }
  frames: Frames
}

/** The browser's WebSocket, which shows what passes. */
export function tapped(frames: Frames): typeof WebSocket {
  return class extends WebSocket {
    constructor(url: string | URL, protocols?: string | string[]) {
      super(url, protocols)
      frames.add("note", `opening ${hideSecrets(String(url))}`)
      this.addEventListener("open", () => frames.add("note", "open"))
      this.addEventListener("message", (event) => frames.add("in", shown(event.data)))
      this.addEventListener("close", (event) => frames.add("note", `closed with ${event.code}${event.reason ? `: ${event.reason}` : ""}`))
    }

    override send(data: string | Blob | BufferSource): void {
      frames.add("out", shown(data))
      super.send(data)
    }
  }
}

/** One request and its answer as frames. The credential is in no cookie: the request stands for a foreign program's. */
export async function watched(frames: Frames, path: string, init: RequestInit): Promise<Response> {
  frames.add("out", `${init.method ?? "GET"} ${hideSecrets(path)}`)
  const response = await fetch(path, { ...init, credentials: "omit", cache: "no-store" })
  const etag = response.headers.get("etag")
  frames.add(response.status < 400 ? "in" : "error", `${response.status} ${response.statusText}${etag ? ` · ETag ${etag}` : ""}`)
  return response
}

export function basic(id: string, secret: string): string {
  return `Basic ${btoa(`${id}:${secret}`)}`
}

/** An address without what must not be read over a shoulder. */
export function hideSecrets(url: string): string {
  return url.replace(/((?:token|api-key|access_token)=)[^&]+/g, "$1…")
}

function shown(data: unknown): string {
  if (typeof data === "string") return data.replaceAll("\u001e", "␞")
  if (data instanceof ArrayBuffer) return `(${data.byteLength} bytes)`
  if (ArrayBuffer.isView(data)) return `(${data.byteLength} bytes)`
  return "(binary)"
}
