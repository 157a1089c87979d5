/** A program for each dialect to copy, and a look at what passes between it and this server. */
import { useEffect, useMemo, useRef, useState } from "preact/hooks"
import { call, said } from "../api.ts"
import { Frames, type Inspector, type Setting } from "../connect/frames.ts"
import { ABOUT, programs, type Credential, type Dialect } from "../connect/programs.ts"
import { clock } from "../format.ts"
import type { Live } from "../live.ts"
import { Act, Code, Failed, Field, Head, Note } from "../parts/common.tsx"
import { Tabs } from "../parts/tabs.tsx"
import { route } from "../route.ts"
import { may } from "../session.ts"

const DIALECTS = Object.keys(ABOUT) as Dialect[]

// Each vendor's client is loaded only when somebody looks.
const INSPECTORS: Record<Dialect, () => Promise<{ inspect: (setting: Setting) => Promise<Inspector> }>> = {
  pdk: () => import("../connect/pdk.ts"),
  placeos: () => import("../connect/placeos.ts"),
  parakey: () => import("../connect/parakey.ts"),
  salto: () => import("../connect/salto.ts"),
  own: () => import("../connect/own.ts"),
}

export function ConnectPage({ live }: { live: Live }) {
  const asked = route.value.rest[0] as Dialect
  const dialect = DIALECTS.includes(asked) ? asked : "pdk"
  const [credentials, setCredentials] = useState<Partial<Record<Dialect, Credential>>>({})
  const credential = credentials[dialect] ?? null
  const keep = (made: Credential) => setCredentials({ ...credentials, [dialect]: made })
  const make = async () => {
    const body = { name: `Connect: ${ABOUT[dialect].name}`, scopes: ABOUT[dialect].scopes, sites: [live.siteId] }
    const made = await call<Credential>("/api/clients", { method: "POST", body })
    keep(made)
    return made
  }
  return (
    <>
      <Head title="Connect">A program written for one of these APIs works with this server when its base address is changed.</Head>
      <Tabs
        label="Dialects"
        chosen={dialect}
        choices={DIALECTS.map((name) => [name, ABOUT[name].name])}
        onChoose={(name) => {
          location.hash = `#/connect/${name}`
        }}
      />
      <p class="about">{ABOUT[dialect].what}</p>
      <CredentialCard key={`credential ${dialect}`} dialect={dialect} credential={credential} make={make} onGiven={keep} />
      <Programs key={`programs ${dialect}`} dialect={dialect} siteId={live.siteId} credential={credential} />
      <InspectorCard key={`inspector ${dialect}`} dialect={dialect} siteId={live.siteId} credential={credential} make={make} />
    </>
  )
}

function CredentialCard({ dialect, credential, make, onGiven }: { dialect: Dialect; credential: Credential | null; make: () => Promise<Credential>; onGiven: (given: Credential) => void }) {
  const [error, setError] = useState<unknown>(null)
  const [key, setKey] = useState("")
  const canMake = may("admin")
  if (credential !== null) {
    return (
      <Note tone="ok">
        The programs below hold the client <code>{credential.id}</code>. Its secret is shown this once: copy what you need now. <a href="#/clients">Clients</a> can revoke it.
      </Note>
    )
  }
  return (
    <section class="card stack" aria-label="Credential">
      {canMake ? (
        <div class="row apart">
          <p class="muted small">
            Make a key for this site with {ABOUT[dialect].scopes.length === 1 ? "the scope" : "the scopes"} {ABOUT[dialect].scopes.join(", ")}, and the programs below run as they stand.
          </p>
          <Act look="primary" run={() => make().catch(setError)}>
            Fill in a fresh credential
          </Act>
        </div>
      ) : (
        <form
          class="row"
          onSubmit={(event) => {
            event.preventDefault()
            const match = /^ds_([^_]+)_(.+)$/.exec(key.trim())
            if (match?.[1] && match[2]) onGiven({ id: match[1], secret: match[2], api_key: key.trim() })
            else setError(new Error("An API key looks like ds_<client id>_<secret>."))
          }}
        >
          <Field label="API key to use" note="Only administrators of all sites can make one here.">
            <input class="input mono" type="password" autoComplete="off" value={key} onInput={(event) => setKey(event.currentTarget.value)} />
          </Field>
          <button class="button" type="submit">
            Fill it in
          </button>
        </form>
      )}
      {error !== null && <Failed error={error} />}
    </section>
  )
}

function Programs({ dialect, siteId, credential }: { dialect: Dialect; siteId: string; credential: Credential | null }) {
  const list = programs(dialect, { url: location.origin, siteId, credential })
  const [language, setLanguage] = useState(list[0]?.language ?? "")
  const program = list.find((each) => each.language === language) ?? list[0]
  return (
    <section class="card stack" aria-labelledby="programs">
      <h2 id="programs">A program to begin with</h2>
      <Tabs label="Languages" chosen={language} choices={list.map((each) => [each.language, each.language])} onChoose={setLanguage} />
      {program && (
        <>
          <p class="muted small">
            First: <code>{program.needs}</code>
          </p>
          <Code text={program.code} label={`Program in ${program.language}`} />
        </>
      )}
    </section>
  )
}

function InspectorCard({ dialect, siteId, credential, make }: { dialect: Dialect; siteId: string; credential: Credential | null; make: () => Promise<Credential> }) {
  const [, setTurn] = useState(0)
  const frames = useMemo(() => new Frames(() => setTurn((old) => old + 1)), [])
  const [inspector, setInspector] = useState<Inspector | null>(null)
  const [text, setText] = useState("")
  const [error, setError] = useState<unknown>(null)
  const current = useRef<Inspector | null>(null)
  const isGone = useRef(false)
  useEffect(
    () => () => {
      isGone.current = true
      current.current?.close()
    },
    [],
  )
  const begin = async () => {
    setError(null)
    try {
      const used = credential ?? (await make())
      const { inspect } = await INSPECTORS[dialect]()
      const made = await inspect({ siteId, credential: used, frames })
      if (isGone.current) made.close()
      else {
        current.current = made
        setInspector(made)
      }
    } catch (reason) {
      setError(reason)
      frames.add("error", said(reason))
    }
  }
  const end = () => {
    current.current?.close()
    current.current = null
    setInspector(null)
  }
  const list = useRef<HTMLUListElement>(null)
  useEffect(() => {
    const element = list.current
    if (element && element.scrollHeight - element.scrollTop - element.clientHeight < 200) element.scrollTop = element.scrollHeight
  })
  return (
    <section class="card stack" aria-labelledby="inspector">
      <div class="row apart">
        <div>
          <h2 id="inspector">Inspector</h2>
          <p class="muted small">Connects from this page as a client of {ABOUT[dialect].name} would, and shows what passes.</p>
        </div>
        <div class="row">
          {frames.list.length > 0 && (
            <button class="button" type="button" onClick={() => frames.clear()}>
              Clear
            </button>
          )}
          {inspector === null ? (
            <Act look="primary" run={begin} disabled={credential === null && !may("admin")}>
              Connect
            </Act>
          ) : (
            <button class="button" type="button" onClick={end}>
              Disconnect
            </button>
          )}
        </div>
      </div>
      {error !== null && <Failed error={error} />}
      {inspector !== null && (
        <div class="row">
          {Object.entries(inspector.actions ?? {}).map(([name, run]) => (
            <Act key={name} run={async () => run()}>
              {name}
            </Act>
          ))}
        </div>
      )}
      {inspector?.send && (
        <form
          class="secret"
          onSubmit={(event) => {
            event.preventDefault()
            inspector.send?.(text)
            setText("")
          }}
        >
          <input class="input mono" aria-label="A command of your own" placeholder='{"id": 9, "cmd": "bind", …}' value={text} onInput={(event) => setText(event.currentTarget.value)} />
          <button class="button" type="submit" disabled={text === ""}>
            Send
          </button>
        </form>
      )}
      {/* A list that scrolls has to be reached by keyboard. */}
      <ul class="frames" ref={list} tabIndex={0} aria-label="Frames, oldest first">
        {frames.list.length === 0 && (
          <li class="muted">
            <span />
            <span />
            <span>Nothing has passed yet.</span>
          </li>
        )}
        {frames.list.map((frame) => (
          <li key={frame.number}>
            <time>{clock(frame.at)}</time>
            <span class={frame.kind} aria-hidden="true">
              {frame.kind === "in" ? "↓" : frame.kind === "out" ? "↑" : "·"}
            </span>
            <span class={frame.kind === "note" ? "note-frame" : frame.kind === "error" ? "error" : ""}>
              <span class="hidden">{frame.kind === "in" ? "received: " : frame.kind === "out" ? "sent: " : ""}</span>
              {frame.text}
            </span>
          </li>
        ))}
      </ul>
    </section>
  )
}
