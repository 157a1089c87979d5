/** Programs and people that may call this server. */
import { useState } from "preact/hooks"
import { call, listAll } from "../api.ts"
import type { Client } from "../entities.ts"
import type { Live } from "../live.ts"
import { Act, Badge, Confirm, Dialog, Empty, Failed, Field, FormDialog, Head, Note, useLoaded } from "../parts/common.tsx"
import { Table } from "../parts/listing.tsx"
import { Secret } from "../parts/secret.tsx"
import { may, site, sites, who } from "../session.ts"
import { People } from "./people.tsx"

export const SCOPES: [string, string][] = [
  ["admin", "Everything, within its sites"],
  ["events:read", "Read events and follow streams (own API, Parakey, Salto KS)"],
  ["events:write", "Put events in"],
  ["directory:read", "Read doors, people and sites"],
  ["directory:write", "Change doors and people"],
  ["pdk", "PDK: system tokens, lists and the stream"],
  ["placeos", "PlaceOS: bind to status, execute what everybody may"],
  ["placeos:support", "PlaceOS: what support may"],
  ["webhooks:read", "Read webhooks and their deliveries"],
  ["webhooks:write", "Create, change and replay webhooks"],
]

interface Made {
  id: string
  secret: string
  api_key: string
}

export function ClientsPage({ live }: { live: Live }) {
  const all = may("admin")
  return (
    <>
      <Head title="Clients">Programs with a key, and people with a password. A secret is shown once, when it is made.</Head>
      {all ? (
        <Programs />
      ) : (
        <Note>Programs are managed by administrators of all sites; you are signed in as {who.value?.name}.</Note>
      )}
      {may("admin", live.siteId) ? <People siteId={live.siteId} /> : null}
    </>
  )
}

function Programs() {
  const clients = useLoaded((signal) => listAll<Client>("/api/clients", signal), [])
  const [adding, setAdding] = useState(false)
  const [made, setMade] = useState<Made | null>(null)
  const [asking, setAsking] = useState<{ what: "revoke" | "renew"; client: Client } | null>(null)
  const change = (client: Client, patch: Partial<Client>) => call(`/api/clients/${encodeURIComponent(client.id)}`, { method: "PATCH", body: patch }).then(clients.reload)
  return (
    <section class="stack" aria-labelledby="programs">
      <div class="row apart">
        <h2 id="programs">Programs</h2>
        <button class="button primary" type="button" onClick={() => setAdding(true)}>
          New API key
        </button>
      </div>
      <Table
        of={clients}
        empty={<Empty title="No programs yet" />}
        columns={["Name", "May", "Sites"]}
        acts
        row={(client) => (
          <tr key={client.id}>
            <td data-name="Name">
              <div>
                <strong>{client.name}</strong> {client.disabled && <Badge tone="warn">disabled</Badge>}
                {client.id === who.value?.id && <Badge tone="info">you</Badge>}
                <div class="muted small mono">{client.id}</div>
              </div>
            </td>
            <td data-name="May">{client.scopes.join(", ") || "nothing"}</td>
            <td data-name="Sites">{siteNames(client.sites)}</td>
            <td class="actions">
              <div class="row">
                <button class="button" type="button" aria-label={`New secret for ${client.name}`} onClick={() => setAsking({ what: "renew", client })}>
                  New secret
                </button>
                {client.disabled && (
                  <Act run={() => change(client, { disabled: false })} aria-label={`Enable ${client.name}`}>
                    Enable
                  </Act>
                )}
                <button class="button danger" type="button" aria-label={`Revoke ${client.name}`} onClick={() => setAsking({ what: "revoke", client })}>
                  Revoke
                </button>
              </div>
            </td>
          </tr>
        )}
      />
      {adding && (
        <NewClient
          onClose={() => setAdding(false)}
          onMade={(client) => {
            setAdding(false)
            setMade(client)
            clients.reload()
          }}
        />
      )}
      {made !== null && (
        <Secret
          title="Keep this secret now"
          values={[
            ["API key", made.api_key],
            ["Client id", made.id],
            ["Client secret (the same, for OAuth)", made.secret],
          ]}
          onClose={() => setMade(null)}
        >
          It is shown this once. Whoever has it can do what this program may.
        </Secret>
      )}
      {asking?.what === "renew" && (
        <Confirm
          title={`New secret for ${asking.client.name}?`}
          verb="Make a new secret"
          run={() =>
            call<Made>(`/api/clients/${encodeURIComponent(asking.client.id)}/secret`, { method: "POST" }).then((secret) => {
              setMade(secret)
              clients.reload()
            })
          }
          onClose={() => setAsking(null)}
        >
          The old secret, its tokens and its connections end at once.
        </Confirm>
      )}
      {asking?.what === "revoke" && (
        <Revoke client={asking.client} onDisable={() => change(asking.client, { disabled: true })} onDelete={() => call(`/api/clients/${encodeURIComponent(asking.client.id)}`, { method: "DELETE" }).then(clients.reload)} onClose={() => setAsking(null)} />
      )}
    </section>
  )
}

/** Revoking ends a program's tokens and connections within a second, whether it is kept for later or not. */
function Revoke({ client, onDisable, onDelete, onClose }: { client: Client; onDisable: () => Promise<unknown>; onDelete: () => Promise<unknown>; onClose: () => void }) {
  const [error, setError] = useState<unknown>(null)
  const done = (run: () => Promise<unknown>) => () => {
    setError(null)
    return run().then(onClose, setError)
  }
  return (
    <Dialog title={`Revoke ${client.name}?`} onClose={onClose}>
      <p>Its key, its tokens and its open connections end within a second{client.id === who.value?.id ? ", and so does your own session" : ""}.</p>
      {error !== null && <Failed error={error} />}
      <footer>
        <button class="button" type="button" onClick={onClose}>
          Cancel
        </button>
        {!client.disabled && <Act run={done(onDisable)}>Disable, keep it</Act>}
        <Act look="danger" run={done(onDelete)}>
          Delete it
        </Act>
      </footer>
    </Dialog>
  )
}

function NewClient({ onClose, onMade }: { onClose: () => void; onMade: (made: Made) => void }) {
  const [name, setName] = useState("")
  const [scopes, setScopes] = useState<ReadonlySet<string>>(new Set(["events:read", "directory:read"]))
  const [chosen, setChosen] = useState<"all" | ReadonlySet<string>>("all")
  const toggled = (set: ReadonlySet<string>, item: string) => {
    const next = new Set(set)
    if (!next.delete(item)) next.add(item)
    return next
  }
  const create = () =>
    call<Made>("/api/clients", { method: "POST", body: { name, scopes: [...scopes], sites: chosen === "all" ? "all" : [...chosen] } }).then(onMade)
  return (
    <FormDialog title="New API key" verb="Create" isReady={name.trim() !== "" && scopes.size > 0} run={create} onClose={onClose}>
      <Field label="Name" note="What program this is for.">
        <input class="input" value={name} required autoFocus onInput={(event) => setName(event.currentTarget.value)} />
      </Field>
      <fieldset class="field">
        <legend>What it may do</legend>
        <div class="stack" style={{ gap: "var(--s2)" }}>
          {SCOPES.map(([scope, text]) => (
            <label key={scope} class="check">
              <input type="checkbox" checked={scopes.has(scope)} onChange={() => setScopes(toggled(scopes, scope))} />
              <span>
                <code>{scope}</code> <span class="muted">{text}</span>
              </span>
            </label>
          ))}
        </div>
      </fieldset>
      <fieldset class="field">
        <legend>At which sites</legend>
        <div class="checks">
          <label class="check">
            <input type="checkbox" checked={chosen === "all"} onChange={() => setChosen(chosen === "all" ? new Set(site.value ? [site.value.id] : []) : "all")} />
            All, future ones too
          </label>
          {chosen !== "all" &&
            sites.value.map((each) => (
              <label key={each.id} class="check">
                <input type="checkbox" checked={chosen.has(each.id)} onChange={() => setChosen(toggled(chosen, each.id))} />
                {each.name}
              </label>
            ))}
        </div>
      </fieldset>
    </FormDialog>
  )
}

function siteNames(chosen: "all" | string[]): string {
  if (chosen === "all") return "all"
  return chosen.map((id) => sites.value.find((each) => each.id === id)?.name ?? id).join(", ") || "none"
}
