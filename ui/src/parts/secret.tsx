/** The only time that a secret is seen. */
import type { ComponentChildren } from "preact"
import { Copy, Dialog, Note } from "./common.tsx"

export function Secret({ title, values, children, onClose }: { title: string; values: [string, string][]; children: ComponentChildren; onClose: () => void }) {
  return (
    <Dialog title={title} onClose={onClose}>
      <Note tone="warn">{children}</Note>
      {values.map(([label, value]) => (
        <div key={label + value} class="field">
          <span>{label}</span>
          <div class="secret">
            <code>{value}</code>
            <Copy text={value} />
          </div>
        </div>
      ))}
      <footer>
        <button class="button primary" type="button" onClick={onClose}>
          I have it
        </button>
      </footer>
    </Dialog>
  )
}
