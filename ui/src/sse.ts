/** Reads server-sent events from text that comes in pieces (HTML standard, 9.2.6). */
export interface Message {
  id: string
  event: string
  data: string
}

export class SseParser {
  private rest = ""
  private id = ""
  private event = ""
  private data: string[] = []

  /** `onId` hears of every position, also of those that come without an event. */
  constructor(
    private readonly onMessage: (message: Message) => void,
    private readonly onId: (id: string) => void,
  ) {}

  push(chunk: string): void {
    const lines = (this.rest + chunk).split("\n")
    this.rest = lines.pop() ?? ""
    for (const line of lines) this.take(line.endsWith("\r") ? line.slice(0, -1) : line)
  }

  private take(line: string): void {
    if (line === "") {
      this.dispatch()
      return
    }
    const colon = line.indexOf(":")
    if (colon === 0) return
    const field = colon < 0 ? line : line.slice(0, colon)
    const value = colon < 0 ? "" : line.slice(colon + (line[colon + 1] === " " ? 2 : 1))
    if (field === "id") this.id = value
    else if (field === "event") this.event = value
    else if (field === "data") this.data.push(value)
  }

  private dispatch(): void {
    if (this.data.length > 0) {
      this.onMessage({ id: this.id, event: this.event || "message", data: this.data.join("\n") })
    }
    if (this.id !== "") this.onId(this.id)
    this.event = ""
    this.data = []
  }
}
