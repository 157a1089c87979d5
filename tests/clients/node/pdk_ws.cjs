// A PDK program on a plain WebSocket, without EIO in its query, as on the second tab of the vendor's page: it beats its
// own heart. It tells what happens to it as JSON lines, and takes commands as JSON lines on standard input.
const readline = require("node:readline")
const WebSocket = require("ws")

const config = JSON.parse(process.argv[2])
const socket = new WebSocket(config.address)

const tell = (what, more) => console.log(JSON.stringify({ what, ...more }))

socket.on("message", (data) => {
  const packet = data.toString()
  if (packet.startsWith("0")) {
    const { pingInterval } = JSON.parse(packet.slice(1))
    setInterval(() => socket.send("2"), config.beat || pingInterval)
    tell("open", { pingInterval })
  } else if (packet === "40") {
    tell("connect", { recovered: false, transport: "websocket" })
    for (const topics of config.subscriptions) socket.send(`42${JSON.stringify(["subscribeIsolated", { topics }])}`)
  } else if (packet.startsWith("42")) {
    const [name, ...args] = JSON.parse(packet.slice(2))
    tell("event", { name, args })
  } else if (packet.startsWith("44")) tell("connect_error", { message: JSON.parse(packet.slice(2)) })
  else tell("packet", { packet })
})
socket.on("close", (code) => tell("disconnect", { reason: code }))
socket.on("error", (error) => tell("error", { message: error.message }))

const commands = {
  emit: ({ name, args }) => socket.send(`42${JSON.stringify([name, ...args])}`),
  send: ({ packet }) => socket.send(packet),
  cut: () => socket._socket?.destroy(),
  disconnect: () => socket.close(),
}

readline
  .createInterface({ input: process.stdin })
  .on("line", (line) => {
    const command = JSON.parse(line)
    commands[command.do](command)
  })
  .on("close", () => process.exit(0))
