/** Calls of the server's public routes, with the session's cookie. */

/** An answer that is no success, or none at all (`status` 0: the server is away). */
export class ApiError extends Error {
  constructor(
    readonly status: number,
    readonly title: string,
    readonly detail: string,
  ) {
    super(detail || title)
  }
}

/** The server takes the cookie only with this header (no form and no link of a foreign page can send it). */
const OURS = { "X-Requested-With": "doorstream" }

/** What is done when the session has ended. */
let onSignedOut: () => void = () => {}

export function whenSignedOut(callback: () => void): void {
  onSignedOut = callback
}

export interface Options {
  method?: string
  body?: unknown
  headers?: Record<string, string>
  signal?: AbortSignal | undefined
}

/** One request; raises ApiError for anything but a success. */
export async function request(path: string, options: Options = {}): Promise<Response> {
  const headers: Record<string, string> = { ...OURS, ...options.headers }
  const init: RequestInit = { method: options.method ?? "GET", headers, credentials: "same-origin", cache: "no-store" }
  if (options.body !== undefined) {
    headers["Content-Type"] ??= "application/json"
    init.body = JSON.stringify(options.body)
  }
  if (options.signal) init.signal = options.signal
  let response: Response
  try {
    response = await fetch(path, init)
  } catch (error) {
    if (error instanceof DOMException && error.name === "AbortError") throw error
    throw new ApiError(0, "The server does not answer", "The server does not answer. Is it running?")
  }
  if (response.ok) return response
  const problem = await problemOf(response)
  // Another dialect's routes have reasons of their own to refuse somebody.
  const isOwn = !path.startsWith("/api/session") && !path.startsWith("/api/engine/")
  if (response.status === 401 && isOwn) onSignedOut()
  throw problem
}

/** The JSON that a request is answered with. */
export async function call<T>(path: string, options: Options = {}): Promise<T> {
  const response = await request(path, options)
  return (response.status === 204 ? undefined : await response.json()) as T
}

async function problemOf(response: Response): Promise<ApiError> {
  try {
    const body = (await response.json()) as Record<string, unknown>
    const title = typeof body["title"] === "string" ? body["title"] : response.statusText
    const detail = [body["detail"], body["message"], body["error_description"], body["error"]].find(
      (each) => typeof each === "string",
    )
    return new ApiError(response.status, title, typeof detail === "string" ? detail : title)
  } catch {
    return new ApiError(response.status, response.statusText, `The server answered ${response.status}.`)
  }
}

/** Everything of a list that comes in pages. */
export async function listAll<T>(path: string, signal?: AbortSignal): Promise<T[]> {
  const items: T[] = []
  let cursor: string | null = null
  do {
    const query: string = `${path.includes("?") ? "&" : "?"}limit=1000${cursor ? `&cursor=${encodeURIComponent(cursor)}` : ""}`
    const page: { items: T[]; next: string | null } = await call(path + query, { signal })
    items.push(...page.items)
    cursor = page.next
  } while (cursor !== null)
  return items
}

/** What to tell a person about a failure. */
export function said(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}
