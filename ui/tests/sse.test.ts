import { describe, expect, it } from "vitest"
import { SseParser, type Message } from "../src/sse.ts"

const TEXT = ': doorstream\nid: e.1\n\nid: e.2\nevent: device.input.relay.on\ndata: {"a":1}\n\n: keep-alive\n\nid: e.9\nevent: gap\ndata: {"first":"e.9"}\n\n'

function parsed(pieces: string[]): { messages: Message[]; ids: string[] } {
  const messages: Message[] = []
  const ids: string[] = []
  const parser = new SseParser(
    (message) => messages.push(message),
    (id) => ids.push(id),
  )
  for (const piece of pieces) parser.push(piece)
  return { messages, ids: ids.filter((id, at) => id !== ids[at - 1]) }
}

describe("server-sent events", () => {
  it("are read wherever the text is cut", () => {
    const whole = parsed([TEXT])
    expect(whole.messages).toEqual([
      { id: "e.2", event: "device.input.relay.on", data: '{"a":1}' },
      { id: "e.9", event: "gap", data: '{"first":"e.9"}' },
    ])
    expect(whole.ids, "a position may come without an event").toEqual(["e.1", "e.2", "e.9"])
    for (let at = 1; at < TEXT.length; at += 1) expect(parsed([TEXT.slice(0, at), TEXT.slice(at)])).toEqual(whole)
  })

  it("may have several lines of data, and lines that end in CR LF", () => {
    expect(parsed(["data: a\r\ndata:b\r\n\r\n"]).messages).toEqual([{ id: "", event: "message", data: "a\nb" }])
  })

  it("are not told before they are complete: a cut-off event is read again after its position", () => {
    expect(parsed(["id: e.5\ndata: {}\n"])).toEqual({ messages: [], ids: [] })
  })
})
