/** Programs and people that may call this server. */
import { useState } from "preact/hooks"
import { call, listAll } from "../api.ts"
import { holderName, type Client, type Holder, type User } from "../entities.ts"
import type { Live } from "../live.ts"
import { Act, Badge, Confirm, Dialog, Empty, Failed, Field, Head, Note, Skeleton, useLoaded } from "../parts/common.tsx"
import { Secret } from "../parts/secret.tsx"
import { may, site, sites, who } from "../session.ts"

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

const ROLES: [string, string][] = [
  ["site_admin", "Site admin"],
  ["site_super_user", "Site super user"],
  ["site_user", "Site user"],
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
  const { data, error, reload } = useLoaded((signal) => listAll<Client>("/api/clients", signal), [])
  const [adding, setAdding] = useState(false)
  const [made, setMade] = useState<Made | null>(null)
  const [asking, setAsking] = useState<{ what: "revoke" | "renew"; client: Client } | null>(null)
  const change = (client: Client, patch: Partial<Client>) => call(`/api/clients/${encodeURIComponent(client.id)}`, { method: "PATCH", body: patch }).then(reload)
  return (
    <section class="stack" aria-labelledby="programs">
      <div class="row apart">
        <h2 id="programs">Programs</h2>
        <button class="button primary" type="button" onClick={() => setAdding(true)}>
          New API key
        </button>
      </div>
      {error !== null && <Failed error={error} onRetry={reload} />}
      {data === null ? (
        error === null && <Skeleton />
      ) : data.length === 0 ? (
        <div class="card">
          <Empty title="No programs yet" />
        </div>
      ) : (
        <div class="card flush">
          <table class="cards">
            <thead>
              <tr>
                <th scope="col">Name</th>
                <th scope="col">May</th>
                <th scope="col">Sites</th>
                <th scope="col" class="actions">
                  <span class="hidden">Actions</span>
                </th>
              </tr>
            </thead>
            <tbody>
              {data.map((client) => (
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
              ))}
            </tbody>
          </table>
        </div>
      )}
      {adding && (
        <NewClient
          onClose={() => setAdding(false)}
          onMade={(client) => {
            setAdding(false)
            setMade(client)
            reload()
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
              reload()
            })
          }
          onClose={() => setAsking(null)}
        >
          The old secret, its tokens and its connections end at once.
        </Confirm>
      )}
      {asking?.what === "revoke" && (
        <Revoke client={asking.client} onDisable={() => change(asking.client, { disabled: true })} onDelete={() => call(`/api/clients/${encodeURIComponent(asking.client.id)}`, { method: "DELETE" }).then(reload)} onClose={() => setAsking(null)} />
      )}
    </section>
  )
}

/** Revoking ends a program's tokens and connections within a second, whether it is kept for later or not. */
function Revoke({ client, onDisable, onDelete, onClose }: { client: Client; onDisable: () => Promise<unknown>; onDelete: () => Promise<unknown>; onClose: () => void }) {
  const [error, setError] = useState<unknown>(null)
  const done = (run: () => Promise<unknown>) => () => run().then(onClose, setError)
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
  const [error, setError] = useState<unknown>(null)
  const toggled = (set: ReadonlySet<string>, item: string) => {
    const next = new Set(set)
    if (!next.delete(item)) next.add(item)
    return next
  }
  const create = () =>
    call<Made>("/api/clients", { method: "POST", body: { name, scopes: [...scopes], sites: chosen === "all" ? "all" : [...chosen] } }).then(onMade, setError)
  return (
    <Dialog title="New API key" onClose={onClose}>
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
      {error !== null && <Failed error={error} />}
      <footer>
        <button class="button" type="button" onClick={onClose}>
          Cancel
        </button>
        <Act look="primary" run={create} disabled={name.trim() === "" || scopes.size === 0}>
          Create
        </Act>
      </footer>
    </Dialog>
  )
}

interface Member {
  id: string
  username: string
  name: string
  role: string
  holder_id: string | null
  disabled: boolean
}

function People({ siteId }: { siteId: string }) {
  const base = `/api/sites/${siteId}/users`
  const { data, error, reload } = useLoaded((signal) => listAll<Member>(base, signal), [base])
  const [adding, setAdding] = useState(false)
  const [made, setMade] = useState<{ username: string; password: string } | null>(null)
  const [removing, setRemoving] = useState<Member | null>(null)
  const [failed, setFailed] = useState<unknown>(null)
  const change = (member: Member, patch: Record<string, unknown>) => {
    setFailed(null)
    return call(`${base}/${encodeURIComponent(member.id)}`, { method: "PATCH", body: patch }).then(reload, setFailed)
  }
  return (
    <section class="stack" aria-labelledby="people-of-site">
      <div class="row apart">
        <h2 id="people-of-site">People who sign in at {site.value?.name}</h2>
        <button class="button" type="button" onClick={() => setAdding(true)}>
          New person
        </button>
      </div>
      {error !== null && <Failed error={error} onRetry={reload} />}
      {failed !== null && <Failed error={failed} />}
      {data === null ? (
        error === null && <Skeleton lines={3} />
      ) : data.length === 0 ? (
        <div class="card">
          <Empty title="Nobody yet">People sign in to programs that speak Salto KS, with their own name and password.</Empty>
        </div>
      ) : (
        <div class="card flush">
          <table class="cards">
            <thead>
              <tr>
                <th scope="col">Name</th>
                <th scope="col">Role here</th>
                <th scope="col" class="actions">
                  <span class="hidden">Actions</span>
                </th>
              </tr>
            </thead>
            <tbody>
              {data.map((member) => (
                <tr key={member.id}>
                  <td data-name="Name">
                    <div>
                      <strong>{member.name || member.username}</strong> {member.disabled && <Badge tone="warn">disabled</Badge>}
                      <div class="muted small">{member.username}</div>
                    </div>
                  </td>
                  <td data-name="Role here">
                    <select class="input" aria-label={`Role of ${member.name || member.username}`} value={member.role} onChange={(event) => void change(member, { role: event.currentTarget.value })}>
                      {ROLES.map(([role, name]) => (
                        <option key={role} value={role}>
                          {name}
                        </option>
                      ))}
                      {!ROLES.some(([role]) => role === member.role) && <option value={member.role}>{member.role}</option>}
                    </select>
                  </td>
                  <td class="actions">
                    <div class="row">
                      <Act run={() => change(member, { disabled: !member.disabled })} aria-label={`${member.disabled ? "Enable" : "Disable"} ${member.name || member.username}`}>
                        {member.disabled ? "Enable" : "Disable"}
                      </Act>
                      <button class="button danger" type="button" aria-label={`Remove ${member.name || member.username}`} onClick={() => setRemoving(member)}>
                        Remove
                      </button>
                    </div>
                  </td>
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      )}
      {adding && (
        <NewPerson
          siteId={siteId}
          onClose={() => setAdding(false)}
          onMade={(person) => {
            setAdding(false)
            setMade(person)
            reload()
          }}
        />
      )}
      {made !== null && (
        <Secret
          title="Give this password to the person"
          values={[
            ["User name", made.username],
            ["Password", made.password],
          ]}
          onClose={() => setMade(null)}
        >
          It is shown this once.
        </Secret>
      )}
      {removing !== null && (
        <Confirm title={`Remove ${removing.name || removing.username}?`} verb="Remove" run={() => call(`${base}/${encodeURIComponent(removing.id)}`, { method: "DELETE" }).then(reload)} onClose={() => setRemoving(null)}>
          Their role at this site, and whatever stands on it, ends at once.
        </Confirm>
      )}
    </section>
  )
}

function NewPerson({ siteId, onClose, onMade }: { siteId: string; onClose: () => void; onMade: (made: { username: string; password: string }) => void }) {
  const [form, setForm] = useState({ username: "", name: "", role: "site_user", holder_id: "" })
  const [error, setError] = useState<unknown>(null)
  const holders = useLoaded((signal) => call<{ items: Holder[] }>(`/api/sites/${siteId}/holders?limit=1000`, { signal }).then((page) => page.items), [siteId])
  const create = async () => {
    const password = newPassword()
    try {
      await call<User>(`/api/sites/${siteId}/users`, { method: "POST", body: { ...form, holder_id: form.holder_id || null, password } })
      onMade({ username: form.username, password })
    } catch (reason) {
      setError(reason)
    }
  }
  return (
    <Dialog title="New person" onClose={onClose}>
      <Field label="User name">
        <input class="input" required autoFocus value={form.username} placeholder="name@example.com" onInput={(event) => setForm({ ...form, username: event.currentTarget.value })} />
      </Field>
      <Field label="Name">
        <input class="input" value={form.name} onInput={(event) => setForm({ ...form, name: event.currentTarget.value })} />
      </Field>
      <Field label="Role at this site">
        <select class="input" value={form.role} onChange={(event) => setForm({ ...form, role: event.currentTarget.value })}>
          {ROLES.map(([role, name]) => (
            <option key={role} value={role}>
              {name}
            </option>
          ))}
        </select>
      </Field>
      <Field label="Which card holder this is" note="A site user sees only what this holder does.">
        <select class="input" value={form.holder_id} onChange={(event) => setForm({ ...form, holder_id: event.currentTarget.value })}>
          <option value="">None</option>
          {holders.data?.map((holder) => (
            <option key={holder.id} value={holder.id}>
              {holderName(holder)}
            </option>
          ))}
        </select>
      </Field>
      {error !== null && <Failed error={error} />}
      <footer>
        <button class="button" type="button" onClick={onClose}>
          Cancel
        </button>
        <Act look="primary" run={create} disabled={form.username.trim() === ""}>
          Create
        </Act>
      </footer>
    </Dialog>
  )
}

function siteNames(chosen: "all" | string[]): string {
  if (chosen === "all") return "all"
  return chosen.map((id) => sites.value.find((each) => each.id === id)?.name ?? id).join(", ") || "none"
}

/** 24 random characters that nobody mistakes for another. */
function newPassword(): string {
  const letters = "abcdefghijkmnpqrstuvwxyz23456789"
  return Array.from(crypto.getRandomValues(new Uint8Array(24)), (byte) => letters[byte % letters.length]).join("")
}

