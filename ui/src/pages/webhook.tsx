/** One webhook: whether it works, what became of each delivery, and delivering again. */
import { useEffect, useState } from "preact/hooks"
import { call, listAll } from "../api.ts"
import { many, moment, span, when } from "../format.ts"
import type { Live } from "../live.ts"
import { Act, Badge, Confirm, Empty, Failed, Field, FormDialog, Head, Note, Skeleton, useLoaded } from "../parts/common.tsx"
import { Listing } from "../parts/listing.tsx"
import { Secret } from "../parts/secret.tsx"
import { Tabs } from "../parts/tabs.tsx"
import { endOfSecond, localTime } from "../query.ts"
import { may } from "../session.ts"
import { FORMS, StateBadge, topicsSaid, type Webhook } from "./webhooks.tsx"

type WebhookRead = Webhook & { failures: number; failing_since: string | null }

interface Delivery {
  id: string
  event: string
  topic: string
  device_id: string | null
  position: string | null
  state: "delivered" | "waiting" | "held" | "dead"
  attempts: number
  created: string
  last_attempt: string | null
  next_attempt: string | null
  status: number | null
  error: string | null
  replay: string | null
  test: boolean
}

interface Attempt {
  number: number
  at: string
  state: string
  status: number | null
  error: string | null
  duration: number
  answer: string
  next_attempt: string | null
}

interface Tested {
  delivered: boolean
  status: number | null
  error: string | null
  detail: string | null
  duration: number
  answer: string
}

type Filter = "all" | Delivery["state"]

const STATES: Record<Delivery["state"], [string, "ok" | "warn" | "info" | "danger"]> = {
  delivered: ["delivered", "ok"],
  waiting: ["waiting to be tried again", "warn"],
  held: ["waits for those before it", "info"],
  dead: ["given up", "danger"],
}

const EVERY = 3000

type Asked = { is: "delete" } | { is: "renew" } | { is: "replay"; delivery: Delivery | null } | null

export function WebhookPage({ id, live }: { id: string; live: Live }) {
  const path = `/api/sites/${live.siteId}/webhooks/${encodeURIComponent(id)}`
  const webhook = useLoaded((signal) => call<WebhookRead>(path, { signal }), [path])
  const [filter, setFilter] = useState<Filter>("all")
  const [asked, setAsked] = useState<Asked>(null)
  const [told, setTold] = useState<{ tone: "ok" | "danger" | "info"; text: string } | null>(null)
  const [secret, setSecret] = useState<string | null>(null)
  const [error, setError] = useState<unknown>(null)
  const deliveries = useLoaded(
    (signal) => call<{ items: Delivery[]; next: string | null }>(`${path}/deliveries?limit=100${filter === "all" ? "" : `&state=${filter}`}`, { signal }),
    [path, filter],
  )
  const canWrite = may("webhooks:write", live.siteId)
  const reload = () => {
    webhook.reload()
    deliveries.reload()
  }
  useEffect(() => {
    const timer = setInterval(reload, EVERY)
    return () => clearInterval(timer)
  }, [path])
  const doing = (work: () => Promise<unknown>) => async () => {
    setError(null)
    try {
      await work()
    } catch (reason) {
      setError(reason)
    }
    reload()
  }
  const test = doing(async () => {
    const answer = await call<Tested>(`${path}/test`, { method: "POST" })
    setTold({ tone: answer.delivered ? "ok" : "danger", text: testSaid(answer) })
  })
  const it = webhook.data
  if (it === null) return webhook.error !== null ? <Failed error={webhook.error} onRetry={webhook.reload} /> : <Skeleton lines={8} />
  return (
    <>
      <Head
        title={it.name}
        actions={
          canWrite && (
            <>
              <Act look="primary" run={test}>
                Send a test
              </Act>
              {it.enabled ? (
                <Act run={doing(() => call(path, { method: "PATCH", body: { enabled: false } }))}>Turn off</Act>
              ) : (
                <Act run={doing(() => call(`${path}/enable`, { method: "POST", body: { start: "position" } }))}>Turn on, where it stopped</Act>
              )}
              {!it.enabled && <Act run={doing(() => call(`${path}/enable`, { method: "POST", body: { start: "now" } }))}>Turn on, from now</Act>}
              <button class="button" type="button" onClick={() => setAsked({ is: "renew" })}>
                New secret
              </button>
              <button class="button danger" type="button" onClick={() => setAsked({ is: "delete" })}>
                Delete
              </button>
            </>
          )
        }
      >
        <a href="#/webhooks">All webhooks</a>
      </Head>
      {error !== null && <Failed error={error} />}
      {told !== null && <Note tone={told.tone}>{told.text}</Note>}
      <Facts webhook={it} />
      <div class="row apart">
        <h2>Deliveries</h2>
        {canWrite && (
          <button class="button" type="button" onClick={() => setAsked({ is: "replay", delivery: null })}>
            Deliver a range again
          </button>
        )}
      </div>
      <Tabs
        label="Which deliveries"
        chosen={filter}
        choices={[["all", "All"], ["delivered", "Delivered"], ["waiting", "Waiting"], ["held", "Held"], ["dead", "Given up"]] as [Filter, string][]}
        onChoose={setFilter}
      />
      <Listing
        of={{ ...deliveries, data: deliveries.data?.items ?? null }}
        empty={
          <Empty title={filter === "all" ? "Nothing was delivered yet" : "No such delivery"}>
            {filter === "all" ? "The next event of the chosen kinds is the first." : undefined}
          </Empty>
        }
      >
        {(items) => (
          <ul class="events" aria-label="Deliveries, newest first">
            {items.map((delivery) => (
              <DeliveryRow key={delivery.id} path={path} delivery={delivery} live={live} onReplay={canWrite ? () => setAsked({ is: "replay", delivery }) : null} />
            ))}
          </ul>
        )}
      </Listing>
      {asked?.is === "delete" && (
        <Confirm
          title={`Delete ${it.name}?`}
          verb="Delete"
          run={() =>
            call(path, { method: "DELETE" }).then(() => {
              location.hash = "#/webhooks"
            })
          }
          onClose={() => setAsked(null)}
        >
          What waits to be sent again is dropped.
        </Confirm>
      )}
      {asked?.is === "renew" && (
        <Confirm
          title="Make a new signing secret?"
          verb="Make a new secret"
          run={() =>
            call<{ secret: string }>(`${path}/secrets`, { method: "POST", body: {} }).then((made) => {
              setSecret(made.secret)
              reload()
            })
          }
          onClose={() => setAsked(null)}
        >
          The present one goes on signing beside it for a day, so that the receiver can change over.
        </Confirm>
      )}
      {asked?.is === "replay" && (
        <Replay
          path={path}
          webhook={it}
          siteId={live.siteId}
          delivery={asked.delivery}
          onClose={() => setAsked(null)}
          onDone={(count) => {
            setAsked(null)
            setTold({ tone: "info", text: `${many(count, "delivery", "deliveries")} will be sent again.` })
            reload()
          }}
        />
      )}
      {secret !== null && (
        <Secret title="Keep this secret now" values={[["Signing secret", secret]]} onClose={() => setSecret(null)}>
          It is shown this once.
        </Secret>
      )}
    </>
  )
}

function Facts({ webhook }: { webhook: WebhookRead }) {
  return (
    <dl class="card facts">
      <dt>State</dt>
      <dd class="row">
        <StateBadge webhook={webhook} />
        {webhook.failures > 0 && (
          <span class="small" style={{ color: "var(--danger)" }}>
            {many(webhook.failures, "attempt")} failed since the last success
            {webhook.failing_since !== null && `, for ${span(Date.now() - Date.parse(webhook.failing_since))}`}
          </span>
        )}
      </dd>
      <dt>Address</dt>
      <dd>
        <code>{webhook.url}</code>
      </dd>
      <dt>Events</dt>
      <dd>{topicsSaid(webhook.topics)}</dd>
      <dt>Form</dt>
      <dd>
        {webhook.form}: {FORMS.find(([name]) => name === webhook.form)?.[1] ?? "another"}
        {webhook.ordered && "; in order for each door"}
      </dd>
      <dt>Signed</dt>
      <dd>{webhook.signing.length === 0 ? "not at all" : webhook.signing.map((each) => each.version + (each.expires === null ? "" : " (ending)")).join(", ")}</dd>
      <dt>Since</dt>
      <dd>{moment(Date.parse(webhook.created))}</dd>
    </dl>
  )
}

function DeliveryRow({ path, delivery, live, onReplay }: { path: string; delivery: Delivery; live: Live; onReplay: (() => void) | null }) {
  const [open, setOpen] = useState(false)
  const [word, tone] = STATES[delivery.state]
  const door = live.devices.find((device) => device.id === delivery.device_id)?.name
  return (
    <li class="event delivery">
      <button type="button" aria-expanded={open} onClick={() => setOpen(!open)}>
        <time dateTime={delivery.created}>{when(Date.parse(delivery.created), Date.now())}</time>
        <span>
          <b>{delivery.test ? "Test" : (door ?? delivery.topic)}</b>
          <span class="remark">
            {door && !delivery.test ? ` · ${delivery.topic}` : ""}
            {delivery.attempts > 0 && ` · ${many(delivery.attempts, "attempt")}`}
            {delivery.state !== "delivered" && delivery.attempts > 0 && ` · ${resultSaid(delivery)}`}
            {delivery.next_attempt !== null && delivery.state === "waiting" && ` · again at ${when(Date.parse(delivery.next_attempt), Date.now())}`}
          </span>
        </span>
        <span class="row">
          {delivery.replay !== null && <Badge tone="info">replay</Badge>}
          <Badge tone={tone}>{word}</Badge>
        </span>
      </button>
      {open && <Attempts path={path} delivery={delivery} onReplay={onReplay} />}
    </li>
  )
}

function Attempts({ path, delivery, onReplay }: { path: string; delivery: Delivery; onReplay: (() => void) | null }) {
  const { data, error } = useLoaded(
    (signal) => call<{ attempts: Attempt[] }>(`${path}/deliveries/${encodeURIComponent(delivery.id)}`, { signal }).then((found) => found.attempts),
    [path, delivery.id, delivery.attempts, delivery.state],
  )
  return (
    <div class="event-more">
      {error !== null && <Failed error={error} />}
      {data !== null && (
        <table aria-label="Attempts" class="cards">
          <thead>
            <tr>
              <th scope="col">Attempt</th>
              <th scope="col">At</th>
              <th scope="col">Result</th>
              <th scope="col">Took</th>
              <th scope="col">What the receiver said</th>
            </tr>
          </thead>
          <tbody>
            {data.map((attempt, at) => (
              <tr key={at}>
                <td data-name="Attempt" class="num">{attempt.number === 0 ? "held" : attempt.number}</td>
                <td data-name="At" class="num">{when(Date.parse(attempt.at), Date.now())}</td>
                <td data-name="Result">
                  <Badge tone={attempt.state === "delivered" ? "ok" : "danger"}>{resultSaid(attempt)}</Badge>
                </td>
                <td data-name="Took" class="num">{Math.round(attempt.duration * 1000)} ms</td>
                <td data-name="Said">{attempt.answer ? <code>{attempt.answer.slice(0, 200)}</code> : <span class="muted">nothing</span>}</td>
              </tr>
            ))}
          </tbody>
        </table>
      )}
      <div class="row apart small">
        <span class="muted">
          {delivery.position === null ? "A test, of no event." : `Event ${delivery.event} at ${delivery.position}`}
        </span>
        {onReplay !== null && !delivery.test && (
          <button class="button" type="button" onClick={onReplay}>
            Deliver again
          </button>
        )}
      </div>
    </div>
  )
}

/** One delivery, or a range, again; here or to another webhook. */
function Replay({ path, webhook, siteId, delivery, onClose, onDone }: { path: string; webhook: Webhook; siteId: string; delivery: Delivery | null; onClose: () => void; onDone: (count: number) => void }) {
  const others = useLoaded((signal) => listAll<Webhook>(`/api/sites/${siteId}/webhooks`, signal), [siteId])
  const [to, setTo] = useState("")
  const [range, setRange] = useState({ from: localTime(Date.now() - 3_600_000), to: localTime(Date.now()), state: "dead" })
  const run = async () => {
    const target = to === "" ? {} : { to_webhook: to }
    if (delivery !== null) {
      const done = await call<{ deliveries: number }>(`${path}/replay`, { method: "POST", body: { delivery: delivery.id, ...target } })
      onDone(done.deliveries)
      return
    }
    let count = 0
    let cursor: string | null = null
    do {
      const body: object = { from: Date.parse(range.from), to: endOfSecond(range.to), state: range.state, ...target, ...(cursor ? { cursor } : {}) }
      const done: { deliveries: number; next: string | null } = await call(`${path}/replay`, { method: "POST", body })
      count += done.deliveries
      cursor = done.next
    } while (cursor !== null)
    onDone(count)
  }
  const isReady = delivery !== null || (range.from !== "" && range.to !== "")
  return (
    <FormDialog title={delivery === null ? "Deliver a range again" : "Deliver this again"} verb="Deliver again" isReady={isReady} run={run} onClose={onClose}>
      {delivery === null && (
        <>
          <div class="form-row">
            <Field label="Begun from">
              <input class="input" type="datetime-local" step="1" value={range.from} onInput={(event) => setRange({ ...range, from: event.currentTarget.value })} />
            </Field>
            <Field label="to">
              <input class="input" type="datetime-local" step="1" value={range.to} onInput={(event) => setRange({ ...range, to: event.currentTarget.value })} />
            </Field>
          </div>
          <Field label="Which">
            <select class="input" value={range.state} onChange={(event) => setRange({ ...range, state: event.currentTarget.value })}>
              <option value="dead">Those that were given up and not delivered since</option>
              <option value="all">All, also those that were delivered</option>
            </select>
          </Field>
        </>
      )}
      <Field label="To">
        <select class="input" value={to} onChange={(event) => setTo(event.currentTarget.value)}>
          <option value="">{webhook.name}, as before</option>
          {others.data
            ?.filter((each) => each.id !== webhook.id)
            .map((each) => (
              <option key={each.id} value={each.id}>
                {each.name}
              </option>
            ))}
        </select>
      </Field>
      <p class="muted small">Each carries the message id that it had, so a receiver that keeps them sees that it is a repeat.</p>
    </FormDialog>
  )
}

function resultSaid(result: { status: number | null; error: string | null }): string {
  if (result.error !== null) return result.error
  return result.status === null ? "no answer" : `answered ${result.status}`
}

function testSaid(tested: Tested): string {
  const took = `${Math.round(tested.duration * 1000)} ms`
  if (tested.delivered) return `The receiver took the test event: it answered ${tested.status} after ${took}.`
  const why = tested.error !== null ? [tested.error, tested.detail].filter(Boolean).join(": ") : `it answered ${tested.status} after ${took}`
  return `The test was not taken: ${why}.`
}
