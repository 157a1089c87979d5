/** Doors as modules of the PlaceOS dialect: what can be done with them, if this server and this person can. */
import { ApiError, call } from "./api.ts"
import type { Device } from "./entities.ts"

interface Signature {
  arity?: number
  order?: string[]
}

/** The functions that doors have here, by name; empty where there are none or they are not for this person. */
export type Functions = Record<string, Signature>

export function systemOf(siteId: string): string {
  return `sys-${siteId}`
}

function path(siteId: string): string {
  return `/api/engine/v2/systems/${systemOf(siteId)}`
}

export async function doorFunctions(siteId: string, signal?: AbortSignal): Promise<Functions> {
  try {
    return await call<Functions>(`${path(siteId)}/functions/Door_1`, { signal })
  } catch (error) {
    if (error instanceof ApiError && error.status >= 400 && error.status < 500) return {}
    throw error
  }
}

/** The number of each device among the system's doors: they are counted in the order of their creation. */
export function doorNumbers(devices: Device[]): Map<string, number> {
  const order = (a: Device, b: Device) => compare(a.created, b.created) || compare(a.id, b.id)
  return new Map([...devices].sort(order).map((device, at) => [device.id, at + 1]))
}

/** Call a function of a door; `value` is given where the function takes something. Raises ApiError. */
export async function executeAt(siteId: string, door: number, name: string, functions: Functions, value?: unknown): Promise<unknown> {
  const takes = functions[name]?.order?.length ?? functions[name]?.arity ?? 0
  const body = takes > 0 && value !== undefined ? [value] : []
  return call(`${path(siteId)}/Door_${door}/${name}`, { method: "POST", body })
}

function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0
}
