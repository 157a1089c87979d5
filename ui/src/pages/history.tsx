/** Searching what happened, and taking it along. */
import { useEffect, useRef, useState } from "preact/hooks"
import { call, said } from "../api.ts"
import { holderName, type Holder } from "../entities.ts"
import type { DoorEvent } from "../events.ts"
import { head, line, type Format } from "../exporting.ts"
import { count, many } from "../format.ts"
import type { Live } from "../live.ts"
import { Act, Empty, Failed, Field, Head, Note, Skeleton } from "../parts/common.tsx"
import { EventRow } from "../parts/event-row.tsx"
import { NO_FILTER, parameters, type Filter } from "../query.ts"
import { route } from "../route.ts"
import { KNOWN_TOPICS } from "../sentences.ts"

const PAGE = 100
const EXPORT_PAGE = 5000

interface Page {
  events: DoorEvent[]
  next: string | null
}

const GROUPS: [string, string][] = [
  ["", "Everything"],
  ["device.request.*", "Requests at doors"],
  ["device.alarm.*", "Alarms"],
  ["device.input.*", "Opened, closed, locked"],
  ["cloudnode.*", "Cloud nodes"],
  ["x.*", "Drivers' own"],
]

export function HistoryPage({ live }: { live: Live }) {
  const asked = route.value.rest[0] === "door" ? (route.value.rest[1] ?? "") : ""
  const [filter, setFilter] = useState<Filter>({ ...NO_FILTER, door: asked })
  const [query, setQuery] = useState(() => parameters({ ...NO_FILTER, door: asked }, Date.now()).toString())
  const [pages, setPages] = useState<DoorEvent[]>([])
  const [next, setNext] = useState<string | null>(null)
  const [error, setError] = useState<unknown>(null)
  const [busy, setBusy] = useState(true)
  const base = `/api/sites/${live.siteId}/events`

  const read = async (cursor: string | null, signal?: AbortSignal) => {
    setBusy(true)
    setError(null)
    try {
      const page = await call<Page>(`${base}?${joined(query, { limit: String(PAGE), ...(cursor ? { cursor } : {}) })}`, { signal })
      setPages((old) => (cursor ? [...old, ...page.events] : page.events))
      setNext(page.next)
      setBusy(false)
    } catch (reason) {
      if (signal?.aborted) return
      setError(reason)
      setBusy(false)
    }
  }
  useEffect(() => {
    const controller = new AbortController()
    void read(null, controller.signal)
    return () => controller.abort()
  }, [query, base])

  const change = (part: Partial<Filter>) => setFilter((old) => ({ ...old, ...part }))
  const search = (event: SubmitEvent) => {
    event.preventDefault()
    setQuery(parameters(filter, Date.now()).toString())
    if (parameters(filter, Date.now()).toString() === query) void read(null)
  }
  return (
    <>
      <Head title="History">Everything that is kept, newest first by when it was recorded.</Head>
      <form class="card form" onSubmit={search} role="search">
        <div class="form-row">
          <Field label="Door">
            <select class="input" value={filter.door} onChange={(event) => change({ door: event.currentTarget.value })}>
              <option value="">Any door</option>
              {live.devices.map((device) => (
                <option key={device.id} value={device.id}>
                  {device.name}
                </option>
              ))}
              {filter.door !== "" && !live.devices.some((device) => device.id === filter.door) && <option value={filter.door}>{filter.door}</option>}
            </select>
          </Field>
          <PersonField siteId={live.siteId} onChoose={(person) => change({ person })} />
          <Field label="What">
            <select class="input" value={filter.topic} onChange={(event) => change({ topic: event.currentTarget.value })}>
              {GROUPS.map(([topic, name]) => (
                <option key={topic} value={topic}>
                  {name}
                </option>
              ))}
              <optgroup label="One topic">
                {KNOWN_TOPICS.map((topic) => (
                  <option key={topic} value={topic}>
                    {topic}
                  </option>
                ))}
              </optgroup>
            </select>
          </Field>
          <Field label="When">
            <select class="input" value={filter.span} onChange={(event) => change({ span: event.currentTarget.value as Filter["span"] })}>
              <option value="any">At any time</option>
              <option value="hour">In the last hour</option>
              <option value="day">In the last 24 hours</option>
              <option value="week">In the last 7 days</option>
              <option value="between">Between…</option>
            </select>
          </Field>
          {filter.span === "between" && (
            <>
              <Field label="From">
                <input class="input" type="datetime-local" step="1" value={filter.from} onInput={(event) => change({ from: event.currentTarget.value })} />
              </Field>
              <Field label="To">
                <input class="input" type="datetime-local" step="1" value={filter.to} onInput={(event) => change({ to: event.currentTarget.value })} />
              </Field>
            </>
          )}
        </div>
        <div class="row apart">
          <button class="button primary" type="submit">
            Search
          </button>
          <Exporter base={base} query={query} siteId={live.siteId} />
        </div>
      </form>
      {error !== null && <Failed error={error} onRetry={() => void read(null)} />}
      {busy && pages.length === 0 ? (
        <Skeleton lines={8} />
      ) : pages.length === 0 && error === null ? (
        <div class="card">
          <Empty title="Nothing matches">No kept event fits. Take a wider time, or fewer conditions.</Empty>
        </div>
      ) : (
        <div class="card flush" aria-busy={busy}>
          <div class="event-head" aria-hidden="true">
            <span>Happened</span>
            <span>Recorded</span>
            <span />
            <span>What</span>
          </div>
          <ul class="events" aria-label="Events found, newest first">
            {pages.map((event) => (
              <EventRow key={event.position} event={event} dated bothTimes />
            ))}
          </ul>
        </div>
      )}
      <div class="row apart muted small">
        <span role="status">
          {pages.length > 0 && `${many(pages.length, "event")} shown${next === null ? ": these are all" : ""}. Times are of your own time zone.`}
        </span>
        {next !== null && (
          <Act run={() => read(next)} look="plain">
            Show older ones
          </Act>
        )}
      </div>
    </>
  )
}

/** A person is found by a part of the name: a site may have thousands. */
function PersonField({ siteId, onChoose }: { siteId: string; onChoose: (id: string) => void }) {
  const [text, setText] = useState("")
  const [found, setFound] = useState<Holder[]>([])
  const [failed, setFailed] = useState(false)
  useEffect(() => {
    const controller = new AbortController()
    const timer = setTimeout(() => {
      const query = new URLSearchParams({ limit: "30", ...(text ? { name: text } : {}) })
      call<{ items: Holder[] }>(`/api/sites/${siteId}/holders?${query}`, { signal: controller.signal }).then(
        ({ items }) => {
          setFound(items)
          setFailed(false)
        },
        () => setFailed(!controller.signal.aborted),
      )
    }, 150)
    return () => {
      clearTimeout(timer)
      controller.abort()
    }
  }, [text, siteId])
  const exact = found.find((holder) => holderName(holder) === text)
  useEffect(() => onChoose(exact?.id ?? ""), [exact?.id])
  const isUnknown = text !== "" && exact === undefined
  return (
    <Field label="Person" note={failed ? "The list of people cannot be read." : isUnknown ? "Choose one of the list." : undefined}>
      <input class="input" list="people" value={text} placeholder="Anybody" onInput={(event) => setText(event.currentTarget.value)} />
      <datalist id="people">
        {found.map((holder) => (
          <option key={holder.id} value={holderName(holder)} />
        ))}
      </datalist>
    </Field>
  )
}

type Progress = { is: "running"; events: number; format: Format } | { is: "done"; events: number; name: string } | { is: "failed"; why: string }

/** All matches as a file, read page by page: the server sends what it has while the file grows here. */
function Exporter({ base, query, siteId }: { base: string; query: string; siteId: string }) {
  const [progress, setProgress] = useState<Progress | null>(null)
  const controller = useRef<AbortController | null>(null)
  useEffect(() => () => controller.current?.abort(), [])
  const start = async (format: Format) => {
    const control = new AbortController()
    controller.current = control
    const parts: Blob[] = []
    let events = 0
    let cursor: string | null = null
    setProgress({ is: "running", events, format })
    try {
      do {
        const page: Page = await call(`${base}?${joined(query, { limit: String(EXPORT_PAGE), ...(cursor ? { cursor } : {}) })}`, { signal: control.signal })
        parts.push(new Blob([...(cursor === null ? [head(format)] : []), ...page.events.map((event) => line(event, format))]))
        events += page.events.length
        cursor = page.next
        setProgress({ is: "running", events, format })
      } while (cursor !== null)
      const name = `doorstream-${siteId.slice(0, 8)}-${new Date().toISOString().slice(0, 19).replaceAll(":", "")}.${format}`
      save(new Blob(parts, { type: format === "csv" ? "text/csv;charset=utf-8" : "application/x-ndjson" }), name)
      setProgress({ is: "done", events, name })
    } catch (error) {
      setProgress(control.signal.aborted ? null : { is: "failed", why: said(error) })
    }
  }
  if (progress?.is === "running") {
    return (
      <div class="row" role="status">
        <progress aria-label="Exporting" />
        <span class="small num">{count(progress.events)} events so far</span>
        <button class="button" type="button" onClick={() => controller.current?.abort()}>
          Cancel
        </button>
      </div>
    )
  }
  return (
    <div class="row">
      {progress?.is === "done" && (
        <span class="small muted" role="status">
          {many(progress.events, "event")} in {progress.name}
        </span>
      )}
      {progress?.is === "failed" && <Note tone="danger">{progress.why}</Note>}
      <span class="small muted">Export all matches:</span>
      <button class="button" type="button" onClick={() => void start("csv")}>
        CSV
      </button>
      <button class="button" type="button" onClick={() => void start("ndjson")}>
        NDJSON
      </button>
    </div>
  )
}

function joined(query: string, more: Record<string, string>): string {
  return [query, new URLSearchParams(more).toString()].filter(Boolean).join("&")
}

function save(blob: Blob, name: string): void {
  const link = document.createElement("a")
  link.href = URL.createObjectURL(blob)
  link.download = name
  link.click()
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000)
}
