/** Events as they happen. */
import { useMemo, useState } from "preact/hooks"
import { CATEGORIES, categoryOf, type Category, type DoorEvent } from "../events.ts"
import { clock, count, many } from "../format.ts"
import { COLUMN_MS, COLUMNS, KEPT, type Kept, type Live } from "../live.ts"
import { Empty, Failed, Head, Skeleton, useNow } from "../parts/common.tsx"
import { EventRow } from "../parts/event-row.tsx"
import { PauseIcon, PlayIcon } from "../parts/icons.tsx"
import { plain } from "../sentences.ts"

const SHOWN = 120
const ALL = Object.keys(CATEGORIES) as Category[]

export function LivePage({ live }: { live: Live }) {
  const [text, setText] = useState("")
  const [off, setOff] = useState<ReadonlySet<Category>>(new Set())
  const [paused, setPaused] = useState<{ kept: Kept[]; received: number } | null>(null)
  const [shown, setShown] = useState(SHOWN)
  const version = live.version.value
  const loading = live.loading.value

  const kept = paused?.kept ?? live.recent
  const matching = useMemo(() => filtered(kept, text, off), [version, paused, text, off])

  if (loading.is === "failed") return <Failed error={loading.error} onRetry={() => void live.load()} />
  if (loading.is === "loading") return <Skeleton lines={8} />

  const missed = paused === null ? 0 : live.received - paused.received
  const toggle = (category: Category) => {
    const next = new Set(off)
    if (!next.delete(category)) next.add(category)
    setOff(next)
  }
  return (
    <>
      <Head
        title="Live"
        actions={
          <button
            class={`button ${paused ? "primary" : ""}`}
            type="button"
            aria-pressed={paused !== null}
            onClick={() => setPaused(paused === null ? { kept: live.recent, received: live.received } : null)}
          >
            {paused ? <PlayIcon /> : <PauseIcon />}
            {paused ? (missed > 0 ? `Go on: ${count(missed)} new` : "Go on") : "Pause"}
          </button>
        }
      >
        What the doors do, as they do it. Choose an event to see all of it.
      </Head>
      <Timeline live={live} />
      <div class="tools">
        <input
          class="input search"
          type="search"
          aria-label="Show only events with this text"
          placeholder="Door, person or words"
          value={text}
          onInput={(event) => setText(event.currentTarget.value)}
        />
        <div class="chips" role="group" aria-label="Kinds of events">
          {ALL.map((category) => (
            <button key={category} class="chip" type="button" aria-pressed={!off.has(category)} onClick={() => toggle(category)}>
              <span class={`mark ${category}`} />
              {CATEGORIES[category]}
            </button>
          ))}
        </div>
      </div>
      {matching.length === 0 ? (
        <div class="card">
          {kept.length === 0 ? (
            <Empty title="Nothing has happened yet">Events appear here the moment a door, a driver or a program puts them in.</Empty>
          ) : (
            <Empty title="None of the newest events match">Change the words or the kinds above, or search in History.</Empty>
          )}
        </div>
      ) : (
        <div class="card flush">
          <ul class="events" aria-label="Events, newest first">
            {matching.slice(0, shown).map(({ event, isFilledIn }) => (
              <EventRow key={event.position} event={event} isFilledIn={isFilledIn} />
            ))}
          </ul>
        </div>
      )}
      <div class="row apart muted small">
        <span>
          {many(Math.min(matching.length, shown), "event")} shown; this page keeps the newest {KEPT}, <a href="#/history">History</a> has all.
        </span>
        {matching.length > shown && (
          <button class="button" type="button" onClick={() => setShown(KEPT)}>
            Show all {count(matching.length)}
          </button>
        )}
      </div>
    </>
  )
}

function filtered(kept: Kept[], text: string, off: ReadonlySet<Category>): Kept[] {
  const words = text.toLowerCase().split(/\s+/).filter(Boolean)
  if (words.length === 0 && off.size === 0) return kept
  return kept.filter(({ event }) => !off.has(categoryOf(event.topic)) && matches(event, words))
}

function matches(event: DoorEvent, words: string[]): boolean {
  if (words.length === 0) return true
  const hay = `${plain(event)} ${event.topic}`.toLowerCase()
  return words.every((word) => hay.includes(word))
}

const HEIGHT = 40
const ORDER: Category[] = ["door", "system", "access", "refused", "alarm"]

/** The last five minutes in columns of five seconds. */
function Timeline({ live }: { live: Live }) {
  const now = useNow(1000)
  const last = Math.floor(now / COLUMN_MS)
  const columns = Array.from({ length: COLUMNS }, (_, at) => live.columns.get(last - COLUMNS + 1 + at))
  const totals = columns.map((counts) => (counts ? ORDER.reduce((sum, category) => sum + counts[category], 0) : 0))
  const top = Math.max(4, ...totals)
  const all = totals.reduce((sum, total) => sum + total, 0)
  const minutes = (COLUMN_MS * COLUMNS) / 60_000
  const begins = (last - COLUMNS + 1) * COLUMN_MS
  const over = live.countedSince > begins ? `since ${clock(live.countedSince)}` : `in ${minutes} minutes`
  return (
    <figure class="card timeline">
      <svg viewBox={`0 0 ${COLUMNS * 10} ${HEIGHT}`} preserveAspectRatio="none" aria-hidden="true">
        {columns.map((counts, at) => {
          if (!counts) return null
          let below = 0
          return ORDER.map((category) => {
            const height = (counts[category] / top) * (HEIGHT - 1)
            if (height === 0) return null
            below += height
            return <rect key={`${at}-${category}`} class={category} x={at * 10 + 1} width={8} y={HEIGHT - below} height={height} />
          })
        })}
        <line class="base" x1="0" x2={COLUMNS * 10} y1={HEIGHT} y2={HEIGHT} vector-effect="non-scaling-stroke" />
      </svg>
      <figcaption class="timeline-scale num">
        <span>{minutes} min ago</span>
        <span>
          {many(all, "event")} {over}, at most {count(Math.max(...totals))} in {COLUMN_MS / 1000} s
        </span>
        <span>now</span>
      </figcaption>
    </figure>
  )
}
