/** People who sign in at a site. */
import { useState } from "preact/hooks"
import { call, listAll } from "../api.ts"
import { holderName, type Holder, type User } from "../entities.ts"
import { Act, Badge, Confirm, Empty, Failed, Field, FormDialog, useLoaded } from "../parts/common.tsx"
import { Table } from "../parts/listing.tsx"
import { Secret } from "../parts/secret.tsx"
import { site } from "../session.ts"

const ROLES: [string, string][] = [
  ["site_admin", "Site admin"],
  ["site_super_user", "Site super user"],
  ["site_user", "Site user"],
]

interface Member {
  id: string
  username: string
  name: string
  role: string
  holder_id: string | null
  disabled: boolean
}

export function People({ siteId }: { siteId: string }) {
  const base = `/api/sites/${siteId}/users`
  const members = useLoaded((signal) => listAll<Member>(base, signal), [base])
  const [adding, setAdding] = useState(false)
  const [made, setMade] = useState<{ username: string; password: string } | null>(null)
  const [removing, setRemoving] = useState<Member | null>(null)
  const [failed, setFailed] = useState<unknown>(null)
  const change = (member: Member, patch: Record<string, unknown>) => {
    setFailed(null)
    return call(`${base}/${encodeURIComponent(member.id)}`, { method: "PATCH", body: patch }).then(members.reload, setFailed)
  }
  return (
    <section class="stack" aria-labelledby="people-of-site">
      <div class="row apart">
        <h2 id="people-of-site">People who sign in at {site.value?.name}</h2>
        <button class="button" type="button" onClick={() => setAdding(true)}>
          New person
        </button>
      </div>
      {failed !== null && <Failed error={failed} />}
      <Table
        of={members}
        empty={<Empty title="Nobody yet">People sign in to programs that speak Salto KS, with their own name and password.</Empty>}
        lines={3}
        columns={["Name", "Role here"]}
        acts
        row={(member) => (
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
        )}
      />
      {adding && (
        <NewPerson
          siteId={siteId}
          onClose={() => setAdding(false)}
          onMade={(person) => {
            setAdding(false)
            setMade(person)
            members.reload()
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
        <Confirm title={`Remove ${removing.name || removing.username}?`} verb="Remove" run={() => call(`${base}/${encodeURIComponent(removing.id)}`, { method: "DELETE" }).then(members.reload)} onClose={() => setRemoving(null)}>
          Their role at this site, and whatever stands on it, ends at once.
        </Confirm>
      )}
    </section>
  )
}

function NewPerson({ siteId, onClose, onMade }: { siteId: string; onClose: () => void; onMade: (made: { username: string; password: string }) => void }) {
  const [form, setForm] = useState({ username: "", name: "", role: "site_user", holder_id: "" })
  const holders = useLoaded((signal) => call<{ items: Holder[] }>(`/api/sites/${siteId}/holders?limit=1000`, { signal }).then((page) => page.items), [siteId])
  const create = async () => {
    const password = newPassword()
    await call<User>(`/api/sites/${siteId}/users`, { method: "POST", body: { ...form, holder_id: form.holder_id || null, password } })
    onMade({ username: form.username, password })
  }
  return (
    <FormDialog title="New person" verb="Create" isReady={form.username.trim() !== ""} run={create} onClose={onClose}>
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
    </FormDialog>
  )
}

/** 24 random characters that nobody mistakes for another. */
function newPassword(): string {
  const letters = "abcdefghijkmnpqrstuvwxyz23456789"
  return Array.from(crypto.getRandomValues(new Uint8Array(24)), (byte) => letters[byte % letters.length]).join("")
}
