// A program that goes the way of the vendor's own Node library (vendor-apis.md 1.1 and 1.2.1 c): OpenID discovery with
// openid-client, the system's `uri`, socket.io-client with the token alone in the query, and no subscription.
const { Issuer } = require("openid-client")
const io = require("socket.io-client")

const { url, client_id, client_secret, system_id } = JSON.parse(process.argv[2])
const tell = (what, more) => console.log(JSON.stringify({ what, ...more }))

async function call(method, path, token) {
  const answer = await fetch(`${url}/${path}`, { method, headers: { Authorization: `Bearer ${token}` } })
  if (!answer.ok) throw new Error(`${path}: ${answer.status}`)
  return answer.json()
}

async function main() {
  const issuer = await Issuer.discover(url)
  const client = new issuer.Client({ client_id, client_secret, response_types: [] })
  const granted = await client.grant({ grant_type: "client_credentials" })
  tell("granted", { expires_in: granted.expires_in, token_type: granted.token_type })
  // what a library does that gets an id token with a user's login: signature, issuer, audience, expiry
  const checked = await client.validateIdToken(granted, undefined, "token")
  tell("validated", { claims: checked.claims() })

  const system = await call("GET", `api/systems/${system_id}`, granted.id_token)
  const { token } = await call("POST", `api/systems/${system_id}/token`, granted.id_token)
  tell("system", { id: system.id, uri: system.uri })

  const socket = io(system.uri, { query: { token } })
  socket.on("connect", () => tell("connect", {}))
  socket.on("connect_error", (error) => tell("connect_error", { message: error.message }))
  socket.on("liveEvent", (event) => tell("event", { name: "liveEvent", args: [event] }))
}

main().catch((error) => tell("failed", { message: `${error.stack}` }))
process.stdin.on("end", () => process.exit(0)).resume()
