// A PlaceOS program on a plain WebSocket, as the vendor's documentation describes it: the key in the header X-API-Key,
// one JSON text a message. It tells each message as it came, and takes commands as JSON lines on standard input.
const readline = require("node:readline")
const WebSocket = require("ws")

const config = JSON.parse(process.argv[2])
const socket = new WebSocket(config.address, { headers: config.headers })

const tell = (what, more) => console.log(JSON.stringify({ what, ...more }))

socket.on("open", () => tell("open", {}))
socket.on("message", (data) => tell("message", { text: data.toString() }))
socket.on("close", (code) => tell("close", { code }))
socket.on("unexpected-response", (_, response) => tell("refused", { status: response.statusCode }))
socket.on("error", (error) => tell("error", { message: error.message }))

const commands = { send: ({ text }) => socket.send(text) }

readline
  .createInterface({ input: process.stdin })
  .on("line", (line) => {
    const command = JSON.parse(line)
    commands[command.do](command)
  })
  .on("close", () => process.exit(0))
