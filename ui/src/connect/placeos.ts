/** The inspector as PlaceOS's client: a WebSocket of JSON commands. */
import { systemOf } from "../placeos.ts"
import { tapped, type Inspector, type Setting } from "./frames.ts"

const PING_EVERY = 30_000

export function inspect({ siteId, credential, frames }: Setting): Promise<Inspector> {
  const Socket = tapped(frames)
  const url = new URL("/api/engine/v2/systems/control", location.href)
  url.protocol = url.protocol.replace("http", "ws")
  url.searchParams.set("api-key", credential.api_key)
  const socket = new Socket(url)
  const door = { sys: systemOf(siteId), mod: "Door", index: 1 }
  let id = 0
  const command = (cmd: string, name: string, more: object = {}) => {
    id += 1
    socket.send(JSON.stringify({ id, cmd, ...door, name, ...more }))
  }
  const timer = setInterval(() => {
    if (socket.readyState === WebSocket.OPEN) socket.send("ping")
  }, PING_EVERY)
  socket.addEventListener("open", () => {
    command("bind", "locked")
    command("bind", "last_event")
  })
  socket.addEventListener("close", () => clearInterval(timer))
  return Promise.resolve({
    send: (text) => socket.send(text),
    actions: {
      Ping: () => socket.send("ping"),
      "Unlock the first door": () => command("exec", "unlock", { args: [] }),
      "Follow its debug log": () => command("debug", "debug"),
    },
    close: () => {
      clearInterval(timer)
      socket.close()
    },
  })
}
