/** The frame around the pages: navigation, who is signed in, and how the line to the server is. */
import type { ComponentChildren, JSX } from "preact"
import { useEffect, useRef, useState } from "preact/hooks"
import { many, span } from "./format.ts"
import { Live } from "./live.ts"
import { Empty, Note, useNow } from "./parts/common.tsx"
import * as icons from "./parts/icons.tsx"
import { ClientsPage } from "./pages/clients.tsx"
import { ConnectPage } from "./pages/connect.tsx"
import { ConnectionsPage } from "./pages/connections.tsx"
import { DoorsPage } from "./pages/doors.tsx"
import { HistoryPage } from "./pages/history.tsx"
import { LivePage } from "./pages/live.tsx"
import { SignIn } from "./pages/sign-in.tsx"
import { WebhooksPage } from "./pages/webhooks.tsx"
import { PAGES, route, type Page } from "./route.ts"
import { access, chooseSite, retry, signOut, site, sites, who } from "./session.ts"
import { setTheme, theme, type Theme } from "./theme.ts"

const ICONS: Record<Page, () => JSX.Element> = {
  live: icons.LiveIcon,
  doors: icons.DoorIcon,
  history: icons.HistoryIcon,
  webhooks: icons.WebhookIcon,
  connections: icons.ConnectionsIcon,
  connect: icons.ConnectIcon,
  clients: icons.ClientsIcon,
}

export function App() {
  const state = access.value
  if (state.is === "asking") return <div class="gate" role="status" aria-label="Loading" />
  if (state.is === "out") return <SignIn why={state.why} />
  if (state.is === "away") return <Away why={state.why} />
  return <Shell />
}

/** The server was not there when the page opened. */
function Away({ why }: { why: string }) {
  useEffect(() => {
    const timer = setInterval(() => void retry(), 2000)
    return () => clearInterval(timer)
  }, [])
  return (
    <div class="gate">
      <main class="card">
        <div class="brand">
          <icons.Logo /> doorstream
        </div>
        <h1>The server does not answer</h1>
        <Note tone="danger">{why}</Note>
        <p class="muted small">This page tries again every two seconds.</p>
      </main>
    </div>
  )
}

function Shell() {
  const at = site.value
  const live = useLive(at?.id ?? null)
  const { page } = route.value
  const main = useRef<HTMLElement>(null)
  useEffect(() => {
    document.title = `${PAGES[page]} · doorstream`
    main.current?.focus({ preventScroll: true })
    scrollTo(0, 0)
    document.querySelector(".nav [aria-current]")?.scrollIntoView({ block: "nearest", inline: "center" })
  }, [page])
  return (
    <div class="shell">
      <a class="skip button" href="#main" onClick={(event) => { event.preventDefault(); main.current?.focus() }}>
        Skip to the page
      </a>
      <header class="side">
        <div class="brand">
          <icons.Logo /> doorstream
        </div>
        {sites.value.length > 1 && <SiteChoice />}
        <nav class="nav" aria-label="Pages">
          {(Object.keys(PAGES) as Page[]).map((name) => {
            const Icon = ICONS[name]
            return (
              <a key={name} href={`#/${name}`} aria-current={name === page ? "page" : undefined}>
                <Icon /> {PAGES[name]}
              </a>
            )
          })}
        </nav>
        <div class="side-end">
          {live !== null && <LineState live={live} />}
          <Me />
        </div>
      </header>
      <main class="main" id="main" ref={main} tabIndex={-1}>
        {live !== null && <LineBanner live={live} />}
        {at === null || live === null ? <NoSite /> : <Shown page={page} live={live} key={`${at.id} ${page}`} />}
      </main>
    </div>
  )
}

function Shown({ page, live }: { page: Page; live: Live }): JSX.Element {
  switch (page) {
    case "live":
      return <LivePage live={live} />
    case "doors":
      return <DoorsPage live={live} />
    case "history":
      return <HistoryPage live={live} />
    case "webhooks":
      return <WebhooksPage live={live} />
    case "connections":
      return <ConnectionsPage live={live} />
    case "connect":
      return <ConnectPage live={live} />
    case "clients":
      return <ClientsPage live={live} />
  }
}

/** One follower for all pages of a site. */
function useLive(siteId: string | null): Live | null {
  const [live, setLive] = useState<Live | null>(null)
  useEffect(() => {
    if (siteId === null) {
      setLive(null)
      return
    }
    const made = new Live(siteId)
    setLive(made)
    return () => made.close()
  }, [siteId])
  return live
}

function SiteChoice() {
  return (
    <label class="side-site">
      <span class="hidden">Site</span>
      <select class="input" value={site.value?.id} onChange={(event) => chooseSite(event.currentTarget.value)}>
        {sites.value.map((each) => (
          <option key={each.id} value={each.id}>
            {each.name}
          </option>
        ))}
      </select>
    </label>
  )
}

function NoSite() {
  return (
    <div class="card">
      <Empty title="There is no site to look at">
        A site is one building. Create one with <code>POST /api/sites</code> (see <a href="/docs">/docs</a>), or sign in with a key that may see one.
      </Empty>
    </div>
  )
}

function LineState({ live }: { live: Live }) {
  const line = live.line.value
  if (live.loading.value.is === "failed") return null
  const [tone, word] =
    line.is === "away" ? ["danger", "Server away"] : line.is === "opening" ? ["warn", "Connecting"] : ["ok", "Connected"]
  return (
    <div class="line" role="status">
      <span class={`dot ${tone}`} />
      <span class="label">{word}</span>
    </div>
  )
}

/** Says plainly that the server is away, and what was missed when it is back. */
function LineBanner({ live }: { live: Live }) {
  const line = live.line.value
  if (line.is === "away") return <AwayBanner since={line.since} />
  if (line.is !== "back") return null
  if (line.lost) {
    return (
      <div class="banner">
        <Note tone="warn">The server is back, but some events of the time between are no longer kept: there is a gap in what this page shows.</Note>
      </div>
    )
  }
  return (
    <div class="banner">
      <Note tone="ok">
        The server is back after {span(line.away)}. {line.filled === 0 ? "Nothing happened meanwhile" : `${many(line.filled, "event")} of the time between ${line.filled === 1 ? "was" : "were"} filled in`}; nothing is missing.
      </Note>
    </div>
  )
}

function AwayBanner({ since }: { since: number }) {
  const now = useNow(1000)
  return (
    <div class="banner">
      <Note tone="danger">
        The server has not answered for <span aria-live="off">{span(now - since)}</span>. What you see is as of then; this page tries again by itself and fills in what happened meanwhile.
      </Note>
    </div>
  )
}

const THEMES: [Theme, string, () => JSX.Element][] = [
  ["system", "As the system has it", icons.SystemIcon],
  ["light", "Light", icons.SunIcon],
  ["dark", "Dark", icons.MoonIcon],
]

function Me(): ComponentChildren {
  const at = THEMES.findIndex(([value]) => value === theme.value)
  const [, name, Icon] = THEMES[at] ?? THEMES[0]!
  const next = THEMES[(at + 1) % THEMES.length]!
  return (
    <div class="me">
      <strong>{who.value?.name}</strong>
      <div class="row">
        <button class="button square" type="button" title={`Colours: ${name}`} aria-label={`Colours: ${name}. Change to: ${next[1]}`} onClick={() => setTheme(next[0])}>
          <Icon />
        </button>
        <button class="button" type="button" aria-label="Sign out" onClick={() => void signOut()}>
          <icons.SignOutIcon /> <span class="label">Sign out</span>
        </button>
      </div>
    </div>
  )
}
