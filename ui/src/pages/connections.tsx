/** Who is connected at this moment. */
import { useEffect, useState } from "preact/hooks"
import { call } from "../api.ts"
import { bytes, count, many, span } from "../format.ts"
import type { Live } from "../live.ts"
import { Badge, Confirm, Empty, Failed, Head, Skeleton, useLoaded, useNow } from "../parts/common.tsx"
import { sites } from "../session.ts"

interface Connection {
  id: string
  dialect: string
  transport: string
  client_id: string | null
  user_id: string | null
  site_id: string | null
  peer: string | null
  since: number
  subscriptions: string[] | null
  state: string
  position: string | null
  lag: number | null
  unsent: number
  token_expired: boolean
}

export const DIALECTS: Record<string, string> = {
  pdk: "PDK",
  placeos: "PlaceOS",
  parakey: "Parakey",
  salto: "Salto KS",
  events: "Event stream",
}

const EVERY = 3000
const TOPICS_SHOWN = 3

export function ConnectionsPage(_: { live: Live }) {
  const { data, error, reload, isLoading } = useLoaded(
    (signal) => call<{ items: Connection[]; total: number; missing: number[] }>("/api/connections", { signal }),
    [],
  )
  const [leaving, setLeaving] = useState<Connection | null>(null)
  const now = useNow(1000)
  useEffect(() => {
    const timer = setInterval(reload, EVERY)
    return () => clearInterval(timer)
  }, [])
  return (
    <>
      <Head
        title="Connections"
        actions={
          <button class="button" type="button" onClick={reload} aria-busy={isLoading}>
            Look again
          </button>
        }
      >
        Who is connected now, over which dialect, and whether they keep up. This page is one of them.
      </Head>
      {error !== null && <Failed error={error} onRetry={reload} />}
      {data === null ? (
        error === null && <Skeleton />
      ) : data.items.length === 0 ? (
        <div class="card">
          <Empty title="Nobody is connected">Programs that follow this server appear here. Connect shows how to write one.</Empty>
        </div>
      ) : (
        <div class="card flush">
          <div class="table-wrap">
            <table class="cards">
              <thead>
                <tr>
                  <th scope="col">Who</th>
                  <th scope="col">Dialect</th>
                  <th scope="col">Follows</th>
                  <th scope="col">Since</th>
                  <th scope="col">Behind</th>
                  <th scope="col">Waiting</th>
                  <th scope="col" class="actions">
                    <span class="hidden">Actions</span>
                  </th>
                </tr>
              </thead>
              <tbody>
                {data.items.map((each) => (
                  <tr key={each.id}>
                    <td data-name="Who">
                      <div>
                        <strong>{each.user_id ?? each.client_id ?? "unknown"}</strong>
                        <div class="muted small">{[each.peer, siteName(each.site_id)].filter(Boolean).join(" · ")}</div>
                      </div>
                    </td>
                    <td data-name="Dialect">
                      <div>
                        {DIALECTS[each.dialect] ?? each.dialect}
                        <div class="muted small">{each.transport}</div>
                      </div>
                    </td>
                    <td data-name="Follows">
                      <Subscriptions topics={each.subscriptions} />
                    </td>
                    <td data-name="Since" class="num" title={new Date(each.since * 1000).toLocaleString()}>
                      {span(now - each.since * 1000)}
                    </td>
                    <td data-name="Behind" class="num">
                      <div class="row">
                        {each.lag === null ? "" : each.lag === 0 ? "up to date" : many(each.lag, "event")}
                        {each.token_expired && <Badge tone="warn">token expired</Badge>}
                        {each.state !== "live" && <Badge tone={each.state === "held" ? "warn" : "info"}>{each.state}</Badge>}
                      </div>
                    </td>
                    <td data-name="Waiting" class="num">
                      {bytes(each.unsent)}
                    </td>
                    <td class="actions">
                      <button class="button danger" type="button" aria-label={`Disconnect ${each.client_id ?? each.id}`} onClick={() => setLeaving(each)}>
                        Disconnect
                      </button>
                    </td>
                  </tr>
                ))}
              </tbody>
            </table>
          </div>
        </div>
      )}
      {data !== null && (
        <p class="muted small">
          {many(data.total, "connection")}
          {data.items.length < data.total && `, of which the newest ${count(data.items.length)} are shown`}
          {data.missing.length > 0 && `; without those of worker ${data.missing.join(", ")}, which did not answer`}. Programs that poll, such as Parakey's, hold no connection.
        </p>
      )}
      {leaving !== null && (
        <Confirm
          title="Disconnect this program?"
          verb="Disconnect"
          run={() => call(`/api/connections/${leaving.id}`, { method: "DELETE" }).then(reload)}
          onClose={() => setLeaving(null)}
        >
          {leaving.client_id ?? "It"} may come back at once, and then goes on where it was. To keep it out, revoke it in Clients.
        </Confirm>
      )}
    </>
  )
}

function Subscriptions({ topics }: { topics: string[] | null }) {
  if (topics === null) return <>everything</>
  if (topics.length === 0) return <span class="muted">nothing yet</span>
  return (
    <span title={topics.join("\n")}>
      {topics.slice(0, TOPICS_SHOWN).join(", ")}
      {topics.length > TOPICS_SHOWN && ` and ${topics.length - TOPICS_SHOWN} more`}
    </span>
  )
}

function siteName(id: string | null): string | null {
  return id === null ? null : (sites.value.find((each) => each.id === id)?.name ?? id)
}
