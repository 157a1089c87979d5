/** The inspector as PDK's client: the unmodified socket.io-client. */
import { io } from "socket.io-client"
import { basic, hideSecrets, watched, type Inspector, type Setting } from "./frames.ts"

const TOPICS = ["liveEvent", "device.request.allowed", "device.request.denied", "device.input.dps.opened", "device.input.dps.closed", "device.input.relay.on", "device.input.relay.off"]
// The numbers by which Engine.IO writes its packets.
const TYPES: Record<string, string> = { open: "0", close: "1", ping: "2", pong: "3", message: "4", upgrade: "5", noop: "6" }

interface Packet {
  type: string
  data?: unknown
}

interface Engine {
  on(event: "packet" | "packetCreate", listener: (packet: Packet) => void): void
}

export async function inspect({ siteId, credential, frames }: Setting): Promise<Inspector> {
  const token = async (): Promise<string> => {
    const account = await watched(frames, "/oauth2/token", {
      method: "POST",
      headers: { Authorization: basic(credential.id, credential.secret) },
      body: new URLSearchParams({ grant_type: "client_credentials" }),
    })
    const { id_token } = (await account.json()) as { id_token: string }
    const system = await watched(frames, `/api/systems/${siteId}/token`, { method: "POST", headers: { Authorization: `Bearer ${id_token}` } })
    return ((await system.json()) as { token: string }).token
  }
  const text = (packet: Packet) => hideSecrets(`${TYPES[packet.type] ?? packet.type}${typeof packet.data === "string" ? packet.data : ""}`)
  const socket = io(`${location.origin}?systemId=${siteId}&token=${await token()}`, { autoConnect: false, forceNew: true, withCredentials: false })
  const hooked = new WeakSet<object>()
  const hook = () => {
    const engine = socket.io.engine as unknown as Engine
    if (hooked.has(engine)) return
    hooked.add(engine)
    engine.on("packet", (packet) => frames.add("in", text(packet)))
    engine.on("packetCreate", (packet) => frames.add("out", text(packet)))
  }
  const subscribe = () => {
    socket.emit("subscribeIsolated", { topics: TOPICS })
  }
  const renew = async () => {
    socket.emit("renewedToken", { token: await token() })
  }
  socket.on("connect", () => {
    frames.add("note", `connected over ${socket.io.engine.transport.name}${socket.recovered ? ", recovered" : ""}`)
    subscribe()
  })
  socket.on("invalidToken", () => void renew())
  socket.on("connect_error", (error) => frames.add("error", error.message))
  socket.on("disconnect", (reason) => frames.add("note", `disconnected: ${reason}`))
  socket.connect()
  hook()
  socket.io.on("reconnect_attempt", () => setTimeout(hook))
  return {
    actions: { "Subscribe again": subscribe, "Renew the token": renew, "Break the connection": () => void socket.io.engine.close() },
    close: () => void socket.disconnect(),
  }
}
