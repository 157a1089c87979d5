/** Doors as modules of the PlaceOS dialect: what can be done with each, if its driver and this person can. */
import { ApiError, call } from "./api.ts"

interface Signature {
  arity?: number
  order?: string[]
}

/** The functions of a door's driver that are for this person, by name. */
export type Functions = Record<string, Signature>

/** Where a door's functions are called, and which there are. */
export interface Control {
  /** The module's name and number among those of its name, as a path has them: `Door_3`. */
  slug: string
  functions: Functions
}

/** What of a module is needed here. */
export interface Module {
  name: string
  index: number
  driver: string
  device_id: string | null
  running: boolean
}

export function systemOf(siteId: string): string {
  return `sys-${siteId}`
}

function path(siteId: string): string {
  return `/api/engine/v2/systems/${systemOf(siteId)}`
}

/** What can be done with each door, by its device's id; without the doors that nothing can be done with. */
export async function doorControls(siteId: string, signal?: AbortSignal): Promise<Map<string, Control>> {
  const { items } = await known<{ items: Module[] }>(`/api/sites/${siteId}/modules`, { items: [] }, signal)
  const controls = new Map<string, Control>()
  await Promise.all(
    byDriver(items).map(async (modules) => {
      const functions = await known<Functions>(`${path(siteId)}/functions/${slugOf(modules[0]!)}`, {}, signal)
      for (const module of modules) controls.set(module.device_id!, { slug: slugOf(module), functions })
    }),
  )
  return controls
}

/** The running modules of doors, those of one driver together: they have the same functions, which are asked for once. */
export function byDriver(modules: Module[]): Module[][] {
  const groups = new Map<string, Module[]>()
  for (const module of modules) {
    if (module.device_id === null || !module.running) continue
    const group = groups.get(module.driver)
    if (group) group.push(module)
    else groups.set(module.driver, [module])
  }
  return [...groups.values()]
}

/** Call a function of a door; `value` is given where the function takes something. Raises ApiError. */
export async function executeAt(siteId: string, { slug, functions }: Control, name: string, value?: unknown): Promise<unknown> {
  const takes = functions[name]?.order?.length ?? functions[name]?.arity ?? 0
  const body = takes > 0 && value !== undefined ? [value] : []
  return call(`${path(siteId)}/${slug}/${name}`, { method: "POST", body })
}

function slugOf(module: Module): string {
  return `${encodeURIComponent(module.name)}_${module.index}`
}

/** What the server says, or what stands for it where this person may not know. */
async function known<Value>(address: string, unknown: Value, signal?: AbortSignal): Promise<Value> {
  try {
    return await call<Value>(address, { signal })
  } catch (error) {
    if (error instanceof ApiError && error.status >= 400 && error.status < 500) return unknown
    throw error
  }
}
