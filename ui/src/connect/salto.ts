/** The inspector as Salto KS's client: the unmodified @microsoft/signalr. */
import { HttpTransportType, HubConnectionBuilder, LogLevel, type IHttpConnectionOptions } from "@microsoft/signalr"
import { basic, tapped, watched, type Inspector, type Setting } from "./frames.ts"

export async function inspect({ siteId, credential, frames }: Setting): Promise<Inspector> {
  const token = async (): Promise<string> => {
    const answer = await watched(frames, "/connect/token", {
      method: "POST",
      headers: { Authorization: basic(credential.id, credential.secret) },
      body: new URLSearchParams({ grant_type: "client_credentials", scope: "user_api.full_access" }),
    })
    return ((await answer.json()) as { access_token: string }).access_token
  }
  // The client takes another WebSocket, though its types do not say so: that is how its own tests watch it.
  const options: IHttpConnectionOptions & { WebSocket: typeof WebSocket } = {
    accessTokenFactory: token,
    skipNegotiation: true,
    transport: HttpTransportType.WebSockets,
    WebSocket: tapped(frames),
  }
  const hub = (name: string) =>
    new HubConnectionBuilder()
      .withUrl(`${location.origin}/v1/hub/${name}?site_id=${siteId}`, options)
      .configureLogging(LogLevel.None)
      .withAutomaticReconnect()
      .build()
  const hubs = [hub("entries"), hub("incidents")]
  for (const each of hubs) {
    each.on("ReceiveMessage", () => undefined)
    each.onreconnecting((error) => frames.add("note", `reconnecting${error ? `: ${error.message}` : ""}`))
    each.onclose((error) => frames.add("note", `the hub is closed${error ? `: ${error.message}` : ""}`))
    await each.start()
  }
  return { close: () => void Promise.all(hubs.map((each) => each.stop())) }
}
