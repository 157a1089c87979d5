/** The way in: an API key. A one-time link needs no page. */
import { useState } from "preact/hooks"
import { said } from "../api.ts"
import { Field, Note } from "../parts/common.tsx"
import { Logo } from "../parts/icons.tsx"
import { signIn } from "../session.ts"

export function SignIn({ why }: { why: string | null }) {
  const [key, setKey] = useState("")
  const [error, setError] = useState<string | null>(null)
  const [busy, setBusy] = useState(false)
  const submit = (event: SubmitEvent) => {
    event.preventDefault()
    setBusy(true)
    setError(null)
    signIn({ api_key: key.trim() }).catch((reason: unknown) => {
      setError(said(reason))
      setBusy(false)
    })
  }
  return (
    <div class="gate">
      <main class="card">
        <div class="brand">
          <Logo /> doorstream
        </div>
        <h1>Sign in</h1>
        {why !== null && error === null && <Note tone="warn">{why}</Note>}
        {error !== null && <Note tone="danger">{error}</Note>}
        <form class="form" onSubmit={submit}>
          <Field label="API key" note="The first start of the server printed one; doorstream client add makes others.">
            <input
              class="input mono"
              type="password"
              name="api-key"
              autoComplete="current-password"
              autoFocus
              required
              spellcheck={false}
              placeholder="ds_…"
              value={key}
              onInput={(event) => setKey(event.currentTarget.value)}
            />
          </Field>
          <button class="button primary" type="submit" disabled={busy}>
            {busy ? "Signing in…" : "Sign in"}
          </button>
        </form>
        <p class="muted small">
          The demo prints a link that signs you in once. The API is described at <a href="/docs">/docs</a>.
        </p>
      </main>
    </div>
  )
}
