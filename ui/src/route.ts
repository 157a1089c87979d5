/** The page that is shown: `#/doors` is the page "doors"; what follows is its own. */
import { signal } from "@preact/signals"

export const PAGES = {
  live: "Live",
  doors: "Doors",
  history: "History",
  webhooks: "Webhooks",
  connections: "Connections",
  connect: "Connect",
  clients: "Clients",
} as const

export type Page = keyof typeof PAGES

export interface Route {
  page: Page
  rest: string[]
}

/** The route of an address's part from `#` on. */
export function parse(hash: string): Route {
  const [name = "", ...rest] = hash.replace(/^#\/?/, "").split("/").map(decoded)
  return { page: name in PAGES ? (name as Page) : "live", rest }
}

export const route = signal<Route>(parse(location.hash))

export function watchRoute(): void {
  addEventListener("hashchange", () => {
    route.value = parse(location.hash)
  })
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text)
  } catch {
    return text
  }
}
