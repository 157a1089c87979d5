/** Who is connected at this moment. */
import { useEffect, useState } from "preact/hooks"
import { call } from "../api.ts"
import { bytes, count, many, span } from "../format.ts"
import type { Live } from "../live.ts"
import { Badge, Confirm, Empty, Head, useLoaded, useNow } from "../parts/common.tsx"
import { Table } from "../parts/listing.tsx"
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
  const found = useLoaded(
    (signal) => call<{ items: Connection[]; total: number; missing: number[] }>("/api/connections", { signal }),
    [],
  )
  const [leaving, setLeaving] = useState<Connection | null>(null)
  const now = useNow(1000)
  useEffect(() => {
    const timer = setInterval(found.reload, EVERY)
    return () => clearInterval(timer)
  }, [])
  return (
    <>
      <Head
        title="Connections"
        actions={
          <button class="button" type="button" onClick={found.reload} aria-busy={found.isLoading}>
            Look again
          </button>
        }
      >
        Who is connected now, over which dialect, and whether they keep up. This page is one of them.
      </Head>
      <Table
        of={{ ...found, data: found.data?.items ?? null }}
        empty={<Empty title="Nobody is connected">Programs that follow this server appear here. Connect shows how to write one.</Empty>}
        columns={["Who", "Dialect", "Follows", "Since", "Behind", "Waiting"]}
        acts
        row={(each) => (
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
        )}
      />
      {found.data !== null && (
        <p class="muted small">
          {many(found.data.total, "connection")}
          {found.data.items.length < found.data.total && `, of which the newest ${count(found.data.items.length)} are shown`}
          {found.data.missing.length > 0 && `; without those of worker ${found.data.missing.join(", ")}, which did not answer`}. Programs that poll, such as Parakey's, hold no connection.
        </p>
      )}
      {leaving !== null && (
        <Confirm
          title="Disconnect this program?"
          verb="Disconnect"
          run={() => call(`/api/connections/${leaving.id}`, { method: "DELETE" }).then(found.reload)}
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
