/** A choice of one: arrow keys go from one to the next. */
import { useRef } from "preact/hooks"

export function Tabs<T extends string>({ label, chosen, choices, onChoose }: { label: string; chosen: T; choices: [T, string][]; onChoose: (choice: T) => void }) {
  const list = useRef<HTMLDivElement>(null)
  const move = (event: KeyboardEvent) => {
    const step = event.key === "ArrowRight" ? 1 : event.key === "ArrowLeft" ? -1 : 0
    if (step === 0) return
    event.preventDefault()
    const at = choices.findIndex(([name]) => name === chosen)
    const to = (at + step + choices.length) % choices.length
    const next = choices[to]
    if (!next) return
    onChoose(next[0])
    const button = list.current?.children[to]
    if (button instanceof HTMLElement) button.focus()
  }
  return (
    <div class="chips" role="radiogroup" aria-label={label} ref={list} onKeyDown={move}>
      {choices.map(([name, text]) => (
        <button key={name} class="chip" type="button" role="radio" aria-checked={name === chosen} tabIndex={name === chosen ? 0 : -1} onClick={() => onChoose(name)}>
          {text}
        </button>
      ))}
    </div>
  )
}
