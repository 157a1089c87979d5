/** Who is signed in, and at which site they look. */
import { computed, signal } from "@preact/signals"
import { ApiError, call, listAll, said, whenSignedOut } from "./api.ts"
import type { Site, Who } from "./entities.ts"

export type Access = { is: "asking" } | { is: "out"; why: string | null } | { is: "away"; why: string } | { is: "in"; who: Who }

export const access = signal<Access>({ is: "asking" })
export const sites = signal<Site[]>([])
const wanted = signal<string | null>(remembered("doorstream-site"))

/** The site that is looked at; null when there is none. */
export const site = computed<Site | null>(
  () => sites.value.find((each) => each.id === wanted.value) ?? sites.value[0] ?? null,
)

export const who = computed<Who | null>(() => (access.value.is === "in" ? access.value.who : null))

/** Whether who is signed in has a scope at the site (without one: at all sites). */
export function may(scope: string, siteId?: string): boolean {
  const me = who.value
  if (me === null) return false
  if (me.sites !== "all" && (siteId === undefined || !me.sites.includes(siteId))) return false
  return me.scopes.includes(scope) || me.scopes.includes("admin")
}

export function chooseSite(id: string): void {
  wanted.value = id
  remember("doorstream-site", id)
}

/** Look whether there is a session. A one-time code in the address is used up first, and leaves the address. */
export async function open(): Promise<void> {
  const code = /^#\/sign-in\/(.+)$/.exec(location.hash)?.[1]
  if (code !== undefined) {
    history.replaceState(null, "", "#/live")
    try {
      await signIn({ code: decodeURIComponent(code) })
      return
    } catch (error) {
      if (await enter()) return // it was used by this very browser before
      access.value = { is: "out", why: said(error) }
      return
    }
  }
  await enter()
}

/** Begin a session; raises ApiError. */
export async function signIn(credential: { api_key: string } | { code: string }): Promise<void> {
  await call("/api/session", { method: "POST", body: credential })
  await enter()
}

export async function signOut(): Promise<void> {
  await call("/api/session", { method: "DELETE" }).catch(() => undefined)
  access.value = { is: "out", why: null }
}

async function enter(): Promise<boolean> {
  try {
    const me = await call<Who>("/api/session")
    sites.value = await listAll<Site>("/api/sites")
    access.value = { is: "in", who: me }
    endWith(me)
    return true
  } catch (error) {
    access.value =
      error instanceof ApiError && (error.status === 401 || error.status === 403)
        ? { is: "out", why: null }
        : { is: "away", why: said(error) }
    return false
  }
}

/** Try again after the server was away. */
export async function retry(): Promise<void> {
  await enter()
}

function end(): void {
  if (access.value.is === "in") access.value = { is: "out", why: "Your session has ended. Please sign in again." }
}

let ending: ReturnType<typeof setTimeout> | undefined

/** What is on the screen goes with the session. */
function endWith(me: Who): void {
  clearTimeout(ending)
  if (me.expires_at !== null) ending = setTimeout(end, me.expires_at * 1000 - Date.now())
}

whenSignedOut(end)

function remembered(key: string): string | null {
  try {
    return localStorage.getItem(key)
  } catch {
    return null // storage may be forbidden
  }
}

function remember(key: string, value: string): void {
  try {
    localStorage.setItem(key, value)
  } catch {
    // then it is forgotten with the page
  }
}
