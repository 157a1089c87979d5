/** Small things that every page is made of. */
import { cloneElement, isValidElement, toChildArray, type ComponentChildren, type JSX, type VNode } from "preact"
import { useEffect, useId, useRef, useState } from "preact/hooks"
import { said } from "../api.ts"

type Tone = "info" | "danger" | "warn" | "ok"

export function Note({ tone = "info", children, action }: { tone?: Tone; children: ComponentChildren; action?: ComponentChildren }) {
  return (
    <div class={`note ${tone}`} role={tone === "danger" ? "alert" : "status"}>
      <div>{children}</div>
      {action}
    </div>
  )
}

export function Failed({ error, onRetry }: { error: unknown; onRetry?: () => void }) {
  return (
    <Note
      tone="danger"
      action={
        onRetry && (
          <button class="button" type="button" onClick={onRetry}>
            Try again
          </button>
        )
      }
    >
      {said(error)}
    </Note>
  )
}

export function Empty({ title, children }: { title: string; children?: ComponentChildren }) {
  return (
    <div class="empty">
      <strong>{title}</strong>
      {children && <p>{children}</p>}
    </div>
  )
}

export function Skeleton({ lines = 5 }: { lines?: number }) {
  return (
    <div class="card stack" role="status" aria-label="Loading">
      {Array.from({ length: lines }, (_, line) => (
        <div key={line} class="skeleton" style={{ width: `${90 - ((line * 17) % 45)}%` }} />
      ))}
    </div>
  )
}

export function Badge({ tone, children }: { tone?: Tone; children: ComponentChildren }) {
  return <span class={`badge ${tone ?? ""}`}>{children}</span>
}

export function Head({ title, children, actions }: { title: string; children?: ComponentChildren; actions?: ComponentChildren }) {
  return (
    <div class="head">
      <div>
        <h1>{title}</h1>
        {children && <p>{children}</p>}
      </div>
      {actions && <div class="row">{actions}</div>}
    </div>
  )
}

/** A control with its label; what is noted is read out as its description, not as part of its name. */
export function Field({ label, note, children }: { label: string; note?: ComponentChildren; children: ComponentChildren }) {
  const id = useId()
  const isNoted = Boolean(note)
  const controls = toChildArray(children).map((child) =>
    isNoted && isValidElement(child) && child.type !== "datalist" ? cloneElement(child as VNode<{ "aria-describedby"?: string }>, { "aria-describedby": id }) : child,
  )
  return (
    <div class="field">
      <label>
        <span>{label}</span>
        {controls}
      </label>
      {isNoted && <small id={id}>{note}</small>}
    </div>
  )
}

type ButtonProps = JSX.IntrinsicElements["button"] & { look?: "primary" | "danger" | "plain" }

/** A button that waits: while what it started is under way it is disabled. */
export function Act({ run, look, children, ...rest }: ButtonProps & { run: () => Promise<unknown> }) {
  const [busy, setBusy] = useState(false)
  const alive = useAlive()
  const start = () => {
    setBusy(true)
    void run().finally(() => {
      if (alive.current) setBusy(false)
    })
  }
  return (
    <button {...rest} type="button" class={`button ${look ?? ""}`} disabled={busy || Boolean(rest.disabled)} aria-busy={busy} onClick={start}>
      {children}
    </button>
  )
}

function useAlive() {
  const alive = useRef(true)
  useEffect(
    () => () => {
      alive.current = false
    },
    [],
  )
  return alive
}

/** Puts a text on the clipboard, where the browser lets it. */
export function Copy({ text, label = "Copy" }: { text: string; label?: string }) {
  const [done, setDone] = useState<string | null>(null)
  const copy = () => {
    const put = navigator.clipboard ? navigator.clipboard.writeText(text) : Promise.reject(new Error("no clipboard"))
    put.then(
      () => setDone("Copied"),
      () => setDone("Select it and copy"),
    )
    setTimeout(() => setDone(null), 2000)
  }
  return (
    <button class="button" type="button" onClick={copy}>
      <span aria-live="polite">{done ?? label}</span>
    </button>
  )
}

export function Code({ text, label }: { text: string; label: string }) {
  return (
    <div class="code">
      <pre tabIndex={0} role="region" aria-label={label}>
        <code>{text}</code>
      </pre>
      <div class="copy">
        <Copy text={text} />
      </div>
    </div>
  )
}

/** A modal dialog; Escape and the backdrop's own button close it, and the focus goes back to where it was. */
export function Dialog({ title, onClose, children }: { title: string; onClose: () => void; children: ComponentChildren }) {
  const element = useRef<HTMLDialogElement>(null)
  useEffect(() => {
    const before = document.activeElement
    element.current?.showModal()
    return () => {
      if (before instanceof HTMLElement && before.isConnected) before.focus()
    }
  }, [])
  return (
    <dialog
      ref={element}
      class="dialog"
      aria-label={title}
      onCancel={(event) => {
        event.preventDefault()
        onClose()
      }}
    >
      <div>
        <h2>{title}</h2>
        {children}
      </div>
    </dialog>
  )
}

interface Deed {
  title: string
  /** What the button says. */
  verb: string
  run: () => Promise<unknown>
  onClose: () => void
  children: ComponentChildren
}

/** Asks what something needs to be done, and does it. When that fails it says why and stays; else `run` or its owner closes it. */
export function FormDialog({ title, verb, look = "primary", isReady = true, run, onClose, children }: Deed & { look?: "primary" | "danger"; isReady?: boolean }) {
  const [error, setError] = useState<unknown>(null)
  const act = () => {
    setError(null)
    return run().catch(setError)
  }
  return (
    <Dialog title={title} onClose={onClose}>
      {children}
      {error !== null && <Failed error={error} />}
      <footer>
        <button class="button" type="button" onClick={onClose}>
          Cancel
        </button>
        <Act look={look} run={act} disabled={!isReady}>
          {verb}
        </Act>
      </footer>
    </Dialog>
  )
}

/** Asks before something that cannot be undone. */
export function Confirm({ run, onClose, children, ...rest }: Deed) {
  return (
    <FormDialog {...rest} look="danger" run={() => run().then(onClose)} onClose={onClose}>
      <p>{children}</p>
    </FormDialog>
  )
}

/** What a page reads from the server: `data` stays while it is read again, also where that fails. */
export interface Loaded<T> {
  data: T | null
  error: unknown
  reload: () => void
  isLoading: boolean
}

/** Reads at once, and again when `reload` is called or what it depends on changes. */
export function useLoaded<T>(read: (signal: AbortSignal) => Promise<T>, inputs: readonly unknown[]): Loaded<T> {
  const [state, setState] = useState<{ data: T | null; error: unknown; isLoading: boolean }>({ data: null, error: null, isLoading: true })
  const [turn, setTurn] = useState(0)
  useEffect(() => {
    const controller = new AbortController()
    setState((old) => ({ ...old, isLoading: true }))
    read(controller.signal).then(
      (data) => {
        if (!controller.signal.aborted) setState({ data, error: null, isLoading: false })
      },
      (error: unknown) => {
        if (!controller.signal.aborted) setState((old) => ({ data: old.data, error, isLoading: false }))
      },
    )
    return () => controller.abort()
  }, [...inputs, turn])
  return { ...state, reload: () => setTurn((old) => old + 1) }
}

/** The time, again every so many milliseconds. */
export function useNow(every: number): number {
  const [now, setNow] = useState(() => Date.now())
  useEffect(() => {
    const timer = setInterval(() => setNow(Date.now()), every)
    return () => clearInterval(timer)
  }, [every])
  return now
}
