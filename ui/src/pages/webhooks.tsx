/** Where events are posted to: the list, and making a new one. One webhook has a page of its own. */
import { useState } from "preact/hooks"
import { call, listAll } from "../api.ts"
import type { Live } from "../live.ts"
import { Badge, Empty, Field, FormDialog, Head, Note, useLoaded } from "../parts/common.tsx"
import { Table } from "../parts/listing.tsx"
import { Secret } from "../parts/secret.tsx"
import { route } from "../route.ts"
import { may } from "../session.ts"
import { KNOWN_TOPICS } from "../sentences.ts"
import { WebhookPage } from "./webhook.tsx"

export interface Webhook {
  id: string
  name: string
  url: string
  form: string
  topics: string[]
  ordered: boolean
  enabled: boolean
  created: string
  disabled_reason: string | null
  disabled_at: string | null
  signing: { version: string; created: string; expires: number | null; public_key: string | null }[]
}

export const FORMS: [string, string][] = [
  ["native", "As this server's own API shows events"],
  ["cloudevents", "CloudEvents 1.0, one JSON document"],
  ["cloudevents-binary", "CloudEvents 1.0, attributes in headers"],
  ["pdk", "As PDK posts them"],
  ["parakey", "As Parakey posts event logs"],
]

export function WebhooksPage({ live }: { live: Live }) {
  const id = route.value.rest[0]
  return id ? <WebhookPage key={id} id={id} live={live} /> : <List live={live} />
}

function List({ live }: { live: Live }) {
  const base = `/api/sites/${live.siteId}/webhooks`
  const webhooks = useLoaded((signal) => listAll<Webhook>(base, signal), [base])
  const [adding, setAdding] = useState(false)
  const [made, setMade] = useState<string[] | null>(null)
  const canWrite = may("webhooks:write", live.siteId)
  return (
    <>
      <Head
        title="Webhooks"
        actions={
          canWrite && (
            <button class="button primary" type="button" onClick={() => setAdding(true)}>
              New webhook
            </button>
          )
        }
      >
        Each event is posted to these addresses, tried again when that fails, and kept to be replayed.
      </Head>
      <Table
        of={webhooks}
        empty={<Empty title="No webhooks yet">A webhook posts this site's events to a program of yours, signed, in order of time, until it says that it has them.</Empty>}
        columns={["Name", "Events", "Form", "State"]}
        row={(webhook) => (
          <tr key={webhook.id}>
            <td data-name="Name">
              <div>
                <a href={`#/webhooks/${webhook.id}`}>
                  <strong>{webhook.name}</strong>
                </a>
                <div class="muted small">{webhook.url}</div>
              </div>
            </td>
            <td data-name="Events">{topicsSaid(webhook.topics)}</td>
            <td data-name="Form">{webhook.form}</td>
            <td data-name="State">
              <StateBadge webhook={webhook} />
            </td>
          </tr>
        )}
      />
      {adding && (
        <NewWebhook
          base={base}
          onClose={() => setAdding(false)}
          onMade={(secrets) => {
            setAdding(false)
            setMade(secrets)
            webhooks.reload()
          }}
        />
      )}
      {made !== null && made.length > 0 && (
        <Secret title="Keep this secret now" values={made.map((secret) => ["Signing secret", secret])} onClose={() => setMade(null)}>
          It is shown this once. With it the receiver checks that a post is from here.
        </Secret>
      )}
    </>
  )
}

export function StateBadge({ webhook }: { webhook: Webhook }) {
  if (webhook.enabled) return <Badge tone="ok">on</Badge>
  return <Badge tone={webhook.disabled_reason === null ? "info" : "danger"}>{webhook.disabled_reason === null ? "off" : `off: ${webhook.disabled_reason}`}</Badge>
}

export function topicsSaid(topics: string[]): string {
  return topics.includes("*") ? "all" : topics.join(", ")
}

const GROUPS: [string, string][] = [
  ["device.request.*", "Requests at doors"],
  ["device.alarm.*", "Alarms"],
  ["device.input.*", "Opened, closed, locked"],
  ["cloudnode.*", "Cloud nodes"],
]

function NewWebhook({ base, onClose, onMade }: { base: string; onClose: () => void; onMade: (secrets: string[]) => void }) {
  const [form, setForm] = useState({ name: "", url: "", form: "native", ordered: false })
  const [all, setAll] = useState(true)
  const [groups, setGroups] = useState<ReadonlySet<string>>(new Set(["device.request.*"]))
  const [more, setMore] = useState("")
  // A retry of this very request, after an answer that got lost, must not make a second webhook.
  const [key] = useState(() => Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16)).join(""))
  const topics = all ? ["*"] : [...new Set([...groups, ...more.split(/[\s,]+/).filter(Boolean)])]
  const create = () =>
    call<{ secrets: string[] }>(base, { method: "POST", body: { ...form, topics }, headers: { "Idempotency-Key": key } }).then(({ secrets }) => onMade(secrets))
  const toggle = (group: string) => {
    const next = new Set(groups)
    if (!next.delete(group)) next.add(group)
    setGroups(next)
  }
  return (
    <FormDialog title="New webhook" verb="Create" isReady={form.url !== "" && topics.length > 0} run={create} onClose={onClose}>
      <Field label="Address" note="https, to where your program takes posts.">
        <input class="input" type="url" required autoFocus placeholder="https://example.com/doors" value={form.url} onInput={(event) => setForm({ ...form, url: event.currentTarget.value })} />
      </Field>
      <Field label="Name" note="Without one it is called as its host.">
        <input class="input" value={form.name} onInput={(event) => setForm({ ...form, name: event.currentTarget.value })} />
      </Field>
      <Field label="Form">
        <select class="input" value={form.form} onChange={(event) => setForm({ ...form, form: event.currentTarget.value })}>
          {FORMS.map(([name, text]) => (
            <option key={name} value={name}>
              {name}: {text}
            </option>
          ))}
        </select>
      </Field>
      <fieldset class="field">
        <legend>Which events</legend>
        <div class="checks">
          <label class="check">
            <input type="checkbox" checked={all} onChange={() => setAll(!all)} /> All
          </label>
          {!all &&
            GROUPS.map(([topic, text]) => (
              <label key={topic} class="check">
                <input type="checkbox" checked={groups.has(topic)} onChange={() => toggle(topic)} /> {text}
              </label>
            ))}
        </div>
      </fieldset>
      {!all && (
        <Field label="Further topics" note="Names, or beginnings such as x.acme.*">
          <input class="input" list="topics" value={more} onInput={(event) => setMore(event.currentTarget.value)} />
          <datalist id="topics">
            {KNOWN_TOPICS.map((topic) => (
              <option key={topic} value={topic} />
            ))}
          </datalist>
        </Field>
      )}
      <label class="check">
        <input type="checkbox" checked={form.ordered} onChange={() => setForm({ ...form, ordered: !form.ordered })} />
        In order: an event of a door waits until those before it are delivered or given up
      </label>
      {topics.length === 0 && <Note tone="warn">Choose at least one kind of events.</Note>}
    </FormDialog>
  )
}
