// A PDK program as the vendor documents it (seed 000), on socket.io-client 4 or 2. It tells what happens to it as JSON
// lines on standard output, and takes commands as JSON lines on standard input.
const readline = require("node:readline")

const config = JSON.parse(process.argv[2])
const io = require(config.library)

const tell = (what, more) => console.log(JSON.stringify({ what, ...more }))

async function getSystemToken() {
  const { url, client_id, client_secret, system_id } = config.renew
  const client = await fetch(`${url}/oauth2/token`, {
    method: "POST",
    headers: { Authorization: `Basic ${btoa(`${client_id}:${client_secret}`)}` },
    body: new URLSearchParams({ grant_type: "client_credentials" }),
  })
  const { id_token } = await client.json()
  const system = await fetch(`${url}/api/systems/${system_id}/token`, {
    method: "POST",
    headers: { Authorization: `Bearer ${id_token}` },
  })
  return (await system.json()).token
}

const socket = io(config.address, { forceNew: true, reconnectionDelay: 50, reconnectionDelayMax: 200, ...config.options })

const transport = () => socket.io.engine.transport.name

socket.io.on("open", () => socket.io.engine.on("upgrade", () => tell("upgrade", { transport: transport() })))
socket.on("connect", () => {
  tell("connect", { id: socket.id, recovered: socket.recovered === true, transport: transport() })
  if (config.unlessRecovered && socket.recovered) return
  for (const topics of config.subscriptions) socket.emit("subscribeIsolated", { topics })
})
socket.on("disconnect", (reason) => tell("disconnect", { reason }))
socket.on("connect_error", (error) => tell("connect_error", { message: error.message, data: error.data }))
socket.on("error", (error) => tell("connect_error", { message: error.message || error }))

for (const name of config.names) socket.on(name, (...args) => tell("event", { name, args }))
if (socket.onAny) socket.onAny((name) => config.names.includes(name) || tell("unexpected", { name }))

if (config.renew)
  socket.on("invalidToken", async () => socket.emit("renewedToken", { token: await getSystemToken() }))

const commands = {
  emit: ({ name, args }) => socket.emit(name, ...args),
  ask: ({ name, args }) => socket.emit(name, ...args, (...answer) => tell("ack", { answer })),
  // what a network does that goes away: no close frame, no close packet. Not before it is connected: a connection that
  // is lost within its handshake is noticed by the library's own time-out of 20 seconds only
  cut: () => {
    if (!socket.connected) return
    if (transport() === "websocket") socket.io.engine.transport.ws._socket.destroy()
    else socket.io.engine.close()
  },
  connect: () => socket.connect(),
  disconnect: () => socket.disconnect(),
  namespace: ({ name }) => {
    const other = socket.io.socket(name)
    other.on("connect_error", (error) => tell("namespace_error", { message: error.message }))
    other.on("error", (error) => tell("namespace_error", { message: error.message || error }))
    other.on("connect", () => tell("namespace_connect", {}))
    other.connect()
  },
}

readline
  .createInterface({ input: process.stdin })
  .on("line", (line) => {
    const command = JSON.parse(line)
    commands[command.do](command)
  })
  .on("close", () => process.exit(0))
