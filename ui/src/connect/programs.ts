/** Programs to copy: for each dialect, in the languages of its vendor's documentation, ready to run against this server. */
export type Dialect = "pdk" | "placeos" | "parakey" | "salto" | "own"

export interface Credential {
  id: string
  secret: string
  api_key: string
}

export interface Target {
  /** This server's address, without a slash at its end. */
  url: string
  siteId: string
  /** null: places are left to be filled in. */
  credential: Credential | null
}

export interface Program {
  language: string
  /** What has to be there first. */
  needs: string
  code: string
}

export interface About {
  name: string
  what: string
  /** What a client needs to be allowed. */
  scopes: string[]
}

export const ABOUT: Record<Dialect, About> = {
  pdk: {
    name: "PDK",
    what: "Socket.IO, or a plain WebSocket: subscribe to topics, and renew the token when it expires. What happens while a client is away reaches it when it is back.",
    scopes: ["pdk"],
  },
  placeos: {
    name: "PlaceOS",
    what: "A WebSocket of JSON commands: bind to a door's status, execute its functions, follow its debug log.",
    scopes: ["placeos"],
  },
  parakey: {
    name: "Parakey",
    what: "Poll the event log with its ETag; when it has changed, read everything since the last one you have.",
    scopes: ["events:read", "directory:read"],
  },
  salto: {
    name: "Salto KS",
    what: "SignalR hubs of entries and incidents, with an access token of this server.",
    scopes: ["events:read", "directory:read"],
  },
  own: {
    name: "doorstream",
    what: "This server's own API: put events in and follow them as server-sent events, each with the position to go on from.",
    scopes: ["events:read", "events:write", "directory:read"],
  },
}

/** The programs of a dialect. */
export function programs(dialect: Dialect, target: Target): Program[] {
  const id = target.credential?.id ?? "YOUR_CLIENT_ID"
  const secret = target.credential?.secret ?? "YOUR_CLIENT_SECRET"
  const key = target.credential?.api_key ?? "YOUR_API_KEY"
  return MAKERS[dialect]({ ...target, ws: target.url.replace(/^http/, "ws"), id, secret, key })
}

interface Filled extends Target {
  ws: string
  id: string
  secret: string
  key: string
}

const MAKERS: Record<Dialect, (filled: Filled) => Program[]> = { pdk, placeos, parakey, salto, own }

function pdkToken({ url, siteId, id, secret }: Filled): string {
  return `const server = "${url}"
const systemId = "${siteId}"
const credentials = "${id}:${secret}"

async function getSystemToken() {
  const account = await fetch(\`\${server}/oauth2/token\`, {
    method: "POST",
    headers: { Authorization: \`Basic \${btoa(credentials)}\` },
    body: new URLSearchParams({ grant_type: "client_credentials" }),
  })
  const { id_token } = await account.json()
  const system = await fetch(\`\${server}/api/systems/\${systemId}/token\`, {
    method: "POST",
    headers: { Authorization: \`Bearer \${id_token}\` },
  })
  return (await system.json()).token
}
`
}

function pdk(filled: Filled): Program[] {
  return [
    {
      language: "JavaScript (socket.io-client)",
      needs: "npm install socket.io-client",
      code: `const io = require("socket.io-client")

${pdkToken(filled)}
getSystemToken().then((token) => {
  const socket = io(\`\${server}?systemId=\${systemId}&token=\${token}\`)
  socket.on("connect", () => {
    socket.emit("subscribeIsolated", { topics: ["device.request.allowed", "device.request.denied"] })
  })
  socket.on("device.request.allowed", ({ body }) => console.log(body.holder.name, "was let in at", body.device.name))
  socket.on("device.request.denied", ({ body }) => console.log(body.holder.name, "was refused at", body.device.name))
  socket.on("invalidToken", async () => socket.emit("renewedToken", { token: await getSystemToken() }))
})
`,
    },
    {
      language: "JavaScript (ws)",
      needs: "npm install ws",
      code: `const WebSocket = require("ws")

${pdkToken(filled)}
getSystemToken().then((token) => {
  const socket = new WebSocket(\`${filled.ws}/socket.io/?systemId=\${systemId}&token=\${token}&transport=websocket\`)
  const renew = async () => socket.send("42" + JSON.stringify(["renewedToken", { token: await getSystemToken() }]))
  let pings
  socket.on("close", () => clearInterval(pings))
  socket.on("message", (data) => {
    const packet = data.toString()
    if (packet.startsWith("0")) pings = setInterval(() => socket.send("2"), JSON.parse(packet.slice(1)).pingInterval)
    if (packet === "40") {
      socket.send("42" + JSON.stringify(["subscribeIsolated", { topics: ["device.input.relay.on"] }]))
    }
    if (!packet.startsWith("42")) return
    const [name, event] = JSON.parse(packet.slice(2))
    if (name === "invalidToken") renew()
    else console.log(name, event)
  })
})
`,
    },
  ]
}

function placeos({ ws, siteId, key }: Filled): Program[] {
  const system = `sys-${siteId}`
  return [
    {
      language: "JavaScript (ws)",
      needs: "npm install ws",
      code: `const WebSocket = require("ws")

const system = "${system}"
const socket = new WebSocket("${ws}/api/engine/v2/systems/control", {
  headers: { "X-API-Key": "${key}" },
})
const door = { sys: system, mod: "Door", index: 1 }

socket.on("open", () => {
  socket.send(JSON.stringify({ id: 1, cmd: "bind", ...door, name: "locked" }))
  setInterval(() => socket.send("ping"), 30_000)
})
socket.on("message", (data) => {
  if (data.toString() === "pong") return
  const message = JSON.parse(data)
  if (message.type === "notify") console.log(message.meta.name, "is", JSON.parse(message.value))
  else console.log(message)
})
`,
    },
    {
      language: "Python (websockets)",
      needs: "pip install websockets",
      code: `import asyncio
import json

from websockets.asyncio.client import connect

DOOR = {"sys": "${system}", "mod": "Door", "index": 1}


async def main():
    key = {"X-API-Key": "${key}"}
    async with connect("${ws}/api/engine/v2/systems/control", additional_headers=key) as socket:
        await socket.send(json.dumps({"id": 1, "cmd": "bind", **DOOR, "name": "locked"}))
        async for text in socket:
            if text != "pong":
                print(json.loads(text))


asyncio.run(main())
`,
    },
  ]
}

function parakey({ url, siteId, key }: Filled): Program[] {
  return [
    {
      language: "JavaScript (fetch)",
      needs: "Node 18 or newer",
      code: `const logs = "${url}/eventLogs?domainId=${siteId}"
const headers = { "access-token": "${key}" }
let etag = ""
let since = new Date()

async function poll() {
  const changed = await fetch(\`\${logs}&limit=1\`, { headers: { ...headers, "If-None-Match": etag } })
  if (changed.status === 304) return
  if (!changed.ok) throw new Error(\`answered \${changed.status}\`)
  const isFirst = etag === ""
  const asked = new Date() // before the question: what comes during it is read again rather than missed
  if (!isFirst) {
    const answer = await fetch(\`\${logs}&startDate=\${since.toISOString()}&orderBy=createdAt:DESC\`, { headers })
    if (!answer.ok) throw new Error(\`answered \${answer.status}\`)
    for (const log of await answer.json()) console.log(log)
  }
  since = asked
  etag = changed.headers.get("ETag")
}

const again = () => poll().catch((error) => console.error("going on in a minute, because", error.message))
again()
setInterval(again, 60_000)
`,
    },
    {
      language: "Python",
      needs: "Python 3.9 or newer, nothing else",
      code: `import json
import time
from http.client import HTTPException
from urllib.request import Request, urlopen

LOGS = "${url}/eventLogs?domainId=${siteId}"
HEADERS = {"access-token": "${key}"}


def read(query):
    with urlopen(Request(LOGS + query, headers=HEADERS), timeout=30) as answer:
        return json.load(answer)


def fresh():
    global last
    if last is None:  # the newest one there is: what came before it is not news
        logs = read("&limit=1")
        last = logs[0]["id"] if logs else ""
        return []
    logs = list(reversed(read(f"&after={last}" if last else "&limit=100")))
    last = logs[-1]["id"] if logs else last
    return logs


last = None
while True:
    try:
        for log in fresh():
            print(log, flush=True)
    except (OSError, HTTPException, ValueError) as error:
        print("going on in a minute, because", error)
        if getattr(error, "code", None) == 410:  # the last one is no longer kept
            last = None
    time.sleep(60)
`,
    },
    {
      language: "curl",
      needs: "curl",
      code: `curl -i "${url}/eventLogs?domainId=${siteId}&limit=1" -H "access-token: ${key}"

# again with the ETag of the answer: 304 means that nothing has happened since
curl -i "${url}/eventLogs?domainId=${siteId}&limit=1" -H "access-token: ${key}" -H 'If-None-Match: PUT_THE_ETAG_HERE'
`,
    },
  ]
}

function salto({ url, siteId, id, secret }: Filled): Program[] {
  return [
    {
      language: "JavaScript (@microsoft/signalr)",
      needs: "npm install @microsoft/signalr",
      code: `const signalR = require("@microsoft/signalr")

const server = "${url}"
const siteId = "${siteId}"

async function getAccessToken() {
  const answer = await fetch(\`\${server}/connect/token\`, {
    method: "POST",
    headers: { Authorization: \`Basic \${btoa("${id}:${secret}")}\` },
    body: new URLSearchParams({ grant_type: "client_credentials", scope: "user_api.full_access" }),
  })
  return (await answer.json()).access_token
}

const connection = new signalR.HubConnectionBuilder()
  .withUrl(\`\${server}/v1/hub/entries?site_id=\${siteId}\`, {
    accessTokenFactory: getAccessToken,
    skipNegotiation: true,
    transport: signalR.HttpTransportType.WebSockets,
  })
  .withAutomaticReconnect()
  .build()

connection.on("ReceiveMessage", (message) => console.log(JSON.parse(message)))
connection.start()
`,
    },
    {
      language: "C#",
      needs: "dotnet add package Microsoft.AspNetCore.SignalR.Client",
      code: `using System.Net.Http.Headers;
using System.Text;
using System.Text.Json;
using Microsoft.AspNetCore.Http.Connections;
using Microsoft.AspNetCore.SignalR.Client;

const string server = "${url}";
const string siteId = "${siteId}";

async Task<string?> GetAccessToken()
{
    using var http = new HttpClient();
    var basic = Convert.ToBase64String(Encoding.ASCII.GetBytes("${id}:${secret}"));
    http.DefaultRequestHeaders.Authorization = new AuthenticationHeaderValue("Basic", basic);
    var form = new FormUrlEncodedContent(new Dictionary<string, string>
    {
        ["grant_type"] = "client_credentials",
        ["scope"] = "user_api.full_access",
    });
    var answer = await http.PostAsync($"{server}/connect/token", form);
    using var json = JsonDocument.Parse(await answer.Content.ReadAsStringAsync());
    return json.RootElement.GetProperty("access_token").GetString();
}

var connection = new HubConnectionBuilder()
    .WithUrl($"{server}/v1/hub/entries?site_id={siteId}", options =>
    {
        options.AccessTokenProvider = GetAccessToken;
        options.SkipNegotiation = true;
        options.Transports = HttpTransportType.WebSockets;
    })
    .WithAutomaticReconnect()
    .Build();

connection.On<string>("ReceiveMessage", Console.WriteLine);
await connection.StartAsync();
await Task.Delay(Timeout.Infinite);
`,
    },
    {
      language: "Java",
      needs: "Java 17 or newer, and com.microsoft.signalr:signalr",
      code: `import com.microsoft.signalr.HubConnection;
import com.microsoft.signalr.HubConnectionBuilder;
import com.microsoft.signalr.HubConnectionState;
import io.reactivex.rxjava3.core.Single;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.util.Base64;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

public class Entries {
    static final String SERVER = "${url}";
    static final String SITE_ID = "${siteId}";
    static final String CREDENTIALS = "${id}:${secret}";

    static String getAccessToken() throws Exception {
        HttpRequest request = HttpRequest.newBuilder(URI.create(SERVER + "/connect/token"))
            .header("Authorization", "Basic " + Base64.getEncoder().encodeToString(CREDENTIALS.getBytes()))
            .header("Content-Type", "application/x-www-form-urlencoded")
            .POST(HttpRequest.BodyPublishers.ofString("grant_type=client_credentials&scope=user_api.full_access"))
            .build();
        String answer = HttpClient.newHttpClient().send(request, HttpResponse.BodyHandlers.ofString()).body();
        Matcher token = Pattern.compile("\\"access_token\\":\\\\s*\\"([^\\"]+)\\"").matcher(answer);
        if (!token.find()) throw new IllegalStateException(answer);
        return token.group(1);
    }

    public static void main(String[] arguments) throws InterruptedException {
        HubConnection hub = HubConnectionBuilder.create(SERVER + "/v1/hub/entries?site_id=" + SITE_ID)
            .withAccessTokenProvider(Single.fromCallable(Entries::getAccessToken))
            .shouldSkipNegotiate(true)
            .build();
        hub.on("ReceiveMessage", message -> System.out.println(message), String.class);
        while (true) {
            if (hub.getConnectionState() == HubConnectionState.DISCONNECTED) {
                hub.start().doOnError(System.err::println).onErrorComplete().blockingAwait();
            }
            Thread.sleep(5_000);
        }
    }
}
`,
    },
  ]
}

function own({ url, siteId, key }: Filled): Program[] {
  return [
    {
      language: "Follow (curl)",
      needs: "curl",
      code: `curl -N "${url}/api/sites/${siteId}/stream" -H "X-API-Key: ${key}"
`,
    },
    {
      language: "Put in (curl)",
      needs: "curl",
      code: `curl "${url}/api/sites/${siteId}/events" -H "X-API-Key: ${key}" -H "Content-Type: application/json" \\
  -d '{"topic": "x.acme.lift.stuck", "occurred": '$(date +%s000)', "body": {"floor": 3}}'
`,
    },
    {
      language: "Python",
      needs: "Python 3.9 or newer, nothing else",
      code: `import json
import time
from http.client import HTTPException
from urllib.request import Request, urlopen

STREAM = "${url}/api/sites/${siteId}/stream"
position = newest = None  # of what was dealt with, of what is coming in

while True:
    headers = {"X-API-Key": "${key}"}
    if position:
        headers["Last-Event-ID"] = position
    try:
        with urlopen(Request(STREAM, headers=headers), timeout=60) as stream:
            for line in stream:
                if line.startswith(b"id: "):
                    newest = line[4:].strip().decode()
                elif line.startswith(b"data: "):
                    event = json.loads(line[6:])
                    print(event.get("topic", "a gap"), event.get("body"), flush=True)
                    position = newest
    except (OSError, HTTPException, ValueError) as error:
        print("going on after", position, "because", error)
    time.sleep(1)
`,
    },
  ]
}
